"""The speed of training: images per second, seconds per optimizer step."""

import time
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch

from ssd.callbacks.checkpoints import mid_step
from ssd.records import Batch


class Work(NamedTuple):
    """What was done in which time."""

    images: int
    steps: int  # of the optimizer
    seconds: float


NOTHING = Work(0, 0, 0.0)


class Throughput(pl.Callback):
    """Logs train/images_per_second and train/seconds_per_step: end to end, waiting for data too.

    Validation, the writing of checkpoints and the first `warm_up` batches are left out. The wait
    for the batch after such a pause is left out too: it was loaded meanwhile.
    """

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.batches = 0
        self.done = self.logged = NOTHING  # in the whole run, and as of the last log entry
        self.images = self.steps = 0  # since `mark`
        self.mark: float | None = None  # when the clock was last read; None while it stands still

    @property
    def images_per_second(self) -> float | None:
        """Of the whole run; None where it ended within the warm-up."""
        return self.done.images / self.done.seconds if self.done.seconds else None

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
        stepped = not mid_step(trainer)
        self.batches += 1
        self.images += len(batch["images"]) * trainer.world_size
        self.steps += stepped
        if self.batches == self.warm_up:
            self.mark, self.images, self.steps = now(module), 0, 0
        # an accumulated batch ends without a step, hence without a log entry
        if stepped and trainer.global_step % trainer.log_every_n_steps == 0:
            self.log_rates(module)

    def log_rates(self, module: pl.LightningModule) -> None:
        self.read(module)
        images, steps, seconds = (a - b for a, b in zip(self.done, self.logged, strict=True))
        self.logged = self.done
        if seconds:
            module.log("train/images_per_second", images / seconds)
        if steps:
            module.log("train/seconds_per_step", seconds / steps)

    def read(self, module: pl.LightningModule) -> None:
        """Add what passed since the clock was last read."""
        if self.mark is None:
            return
        moment = now(module)
        if self.batches > self.warm_up:
            images, steps, seconds = self.done
            seconds += moment - self.mark
            self.done = Work(images + self.images, steps + self.steps, seconds)
        self.mark, self.images, self.steps = moment, 0, 0

    def pause(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        self.read(module)
        self.mark = None

    on_validation_start = on_save_checkpoint = on_train_end = pause


def now(module: pl.LightningModule) -> float:
    """The time at which the device has done what it was given."""
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)
    return time.perf_counter()
