"""Images per second of training."""

import time
from typing import Any

import pytorch_lightning as pl
import torch

from ssd.records import Batch


class Throughput(pl.Callback):
    """Logs train/images_per_second: end to end, waiting for data included.

    Validation, the writing of checkpoints and the first `warm_up` batches are left out. The wait
    for the batch after such a pause is left out too: it was loaded meanwhile.
    """

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.images = 0
        self.seconds = 0.0
        self.batches = 0
        self.uncounted = 0  # images since `mark`
        self.mark: float | None = None  # when the clock was last read; None while it stands still
        self.logged = (0, 0.0, 0)  # images, seconds, step

    @property
    def images_per_second(self) -> float | None:
        """Of the whole run; None where it ended within the warm-up."""
        return self.images / self.seconds if self.seconds else None

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.mark is None:
            self.mark = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        index: int,
    ) -> None:
        self.batches += 1
        self.uncounted += len(batch["images"]) * trainer.world_size
        if self.batches == self.warm_up:
            self.mark, self.uncounted = now(module), 0
        # an accumulated batch ends without a step, hence without a log entry
        due = trainer.global_step % trainer.log_every_n_steps == 0
        if due and trainer.global_step > self.logged[2]:
            self.log_rate(trainer.global_step, module)

    def log_rate(self, step: int, module: pl.LightningModule) -> None:
        self.read(module)
        images, seconds = self.images - self.logged[0], self.seconds - self.logged[1]
        self.logged = (self.images, self.seconds, step)
        if seconds:
            module.log("train/images_per_second", images / seconds)

    def read(self, module: pl.LightningModule) -> None:
        """Add what passed since the clock was last read."""
        if self.mark is None:
            return
        moment = now(module)
        if self.batches > self.warm_up:
            self.images += self.uncounted
            self.seconds += moment - self.mark
        self.mark, self.uncounted = moment, 0

    def pause(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        self.read(module)
        self.mark = None

    on_validation_start = on_save_checkpoint = on_train_end = pause


def now(module: pl.LightningModule) -> float:
    """The time at which the device has done what it was given."""
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)
    return time.perf_counter()
