"""A validation at the last step of every run."""

from typing import Any

import pytorch_lightning as pl


class ValidateAtEnd(pl.Callback):
    """Validates after the last optimizer step, and once where that is a regular validation too.

    Wants Trainer(check_val_every_n_epoch=None), or Lightning skips the epochs between. A run that
    `max_time` or early stopping ends validates by itself.
    """

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        # negative where neither the steps nor the length of an epoch are known; Lightning then
        # validates at the end of the epoch
        if 0 < trainer.estimated_stepping_batches <= trainer.global_step:
            trainer.should_stop = True  # Lightning validates before it stops
            trainer.fit_loop.min_epochs = 0  # and neither stops nor validates below the minimum
