"""The two checkpoints that a run keeps: best.ckpt and last.ckpt."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor


class BestCheckpoint(ModelCheckpoint):
    """Keeps best.ckpt, the state at the best validation; the earlier of two equal ones."""

    def __init__(self, dirpath: str | Path, monitor: str, mode: str) -> None:
        super().__init__(
            dirpath=dirpath,
            filename="best",
            monitor=monitor,
            mode=mode,
            auto_insert_metric_name=False,
            enable_version_counter=False,  # a resumed run writes best.ckpt, not best-v1.ckpt
            save_on_train_epoch_end=False,  # at validations, which are when `monitor` is new
        )

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        """Whether the score is the best so far. Lightning would keep a first nan for ever."""
        if current is not None and current.isnan():
            return False
        return super().check_monitor_top_k(trainer, current)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score, also in a run folder that was moved or copied.

        Lightning drops the score where the folder has another name, and the first validation
        would replace a better best.ckpt. Without a best.ckpt here there is nothing to protect: a
        run that starts from another run's checkpoint finds its own best.
        """
        best = os.path.join(self.dirpath, os.path.basename(state_dict["best_model_path"]))
        if not os.path.isfile(best):
            return
        score = state_dict["best_model_score"]
        moved = {"dirpath": self.dirpath, "best_model_path": best, "kth_best_model_path": best}
        super().load_state_dict({**state_dict, **moved, "best_k_models": {best: score}})


class LastCheckpoint(Checkpoint):
    """Keeps last.ckpt, always the newest: every N optimizer steps, after validations, at the end.

    Not a ModelCheckpoint: its save_last follows its best, so last.ckpt is as old as the last
    record. As a Checkpoint it still runs after the other callbacks.
    """

    def __init__(self, dirpath: str | Path, every_n_train_steps: int) -> None:
        self.path = Path(dirpath).resolve() / "last.ckpt"
        self.every_n_train_steps = every_n_train_steps
        self.saved_step = 0

    def setup(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        # the file holds the state of the other checkpoint callbacks: they must have done their work
        trainer.callbacks = [c for c in trainer.callbacks if c is not self] + [self]

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.saved_step = trainer.global_step

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        # Lightning's step for loggers stays one behind after a resume from a checkpoint that was
        # saved in a validation out of turn, as the one at the end of a run is
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        due = trainer.global_step % self.every_n_train_steps == 0 or trainer.should_stop
        # Lightning, resumed from between a step and its validation, leaves the validation out
        if due and not validation_follows(trainer):
            self.save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        # no checkpoint holds gradients: between the batches of one step is no place to resume from
        if fitting and not trainer.fit_loop._should_accumulate():
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.save(trainer)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, error: Any) -> None:
        # raised between two batches, of training or of a validation; any other error comes mid-step
        stopped = isinstance(error, SIGTERMException) and trainer.training
        if stopped and not trainer.fit_loop._should_accumulate():
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step != self.saved_step and not trainer.fast_dev_run:
            trainer.save_checkpoint(self.path)
            self.saved_step = trainer.global_step


def validation_follows(trainer: pl.Trainer) -> bool:
    """Whether Lightning validates right after the batch that ends now."""
    loop = trainer.fit_loop.epoch_loop
    return not loop.val_loop.skip and loop._should_check_val_fx(trainer.fit_loop._data_fetcher)
