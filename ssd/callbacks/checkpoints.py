"""The newest checkpoints of a run: last.ckpt, and some of those before it."""

import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from ssd.callbacks.metrics_file import log_step, sync_rows
from ssd.errors import ConfigError
from ssd.weights.files import copy_file

ASK_EVERY = 10  # steps


class LastCheckpoint(Checkpoint):
    """Keeps last.ckpt, always the newest, and beside it as many earlier ones as are asked for.

    Saves every `every_n_train_steps` optimizer steps, when `every_minutes` have passed since it
    last did, after validations and at the end.
    keep: so many of the newest stay, as step_<optimizer steps>.ckpt; 1 is last.ckpt alone
    keep_every_hours: of so many hours of training, one stays for good, as kept_<steps>.ckpt

    Not a ModelCheckpoint: its save_last follows its best, so last.ckpt is as old as the last
    record. As a Checkpoint it still runs after the other callbacks.
    """

    def __init__(
        self,
        dirpath: str | Path,
        every_n_train_steps: int | None,
        every_minutes: float | None,
        keep: int,
        keep_every_hours: float | None,
    ) -> None:
        options = {"every_minutes": every_minutes, "keep_every_hours": keep_every_hours}
        for name, value in options.items():
            if value is not None and value <= 0:
                raise ConfigError(f"callbacks.last.{name}={value}: give more than 0, or null")
        if keep < 1 or keep != int(keep):
            raise ConfigError(f"callbacks.last.keep={keep}: give 1, last.ckpt alone, or 2, 3, …")
        self.path = Path(dirpath).resolve() / "last.ckpt"
        self.every_n_train_steps = every_n_train_steps
        self.every_minutes = every_minutes
        self.keep = keep
        self.keep_every_hours = keep_every_hours
        self.saved_step = 0
        self.saved_at = 0.0
        self.stop_asked = False  # in the middle of a step
        self.trained = 0.0  # seconds, up to the last save and over all the run's resumes

    def state_dict(self) -> dict[str, Any]:
        return {"trained": self.trained} if self.keep_every_hours else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.trained = state_dict["trained"]

    def setup(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        # the file holds the state of the other checkpoint callbacks: they must have done their work
        trainer.callbacks = [c for c in trainer.callbacks if c is not self] + [self]

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.saved_step = trainer.global_step
        self.saved_at = time.monotonic()
        self.stop_asked = False

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        count_epoch(trainer)
        step_of_loggers(trainer)

    def on_test_start(self, trainer: pl.Trainer, *_: Any) -> None:
        step_of_loggers(trainer)  # the test of a run that had nothing left to train

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if mid_step(trainer):  # a run that is to stop, as by max_time, ends its step first
            self.stop_asked |= trainer.should_stop
            trainer.should_stop = False
            return
        trainer.should_stop |= self.stop_asked
        # Lightning, resumed from between a step and its validation, leaves the validation out
        if not validation_follows(trainer) and self.due(trainer):
            log_step(trainer)
            self.save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        if fitting and not mid_step(trainer):
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.save(trainer)
        trainer.strategy.barrier()  # every device may look for the file now

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, error: Any) -> None:
        # raised between two batches, of training or of a validation, see `stopping`; other errors
        # come mid-step. Nothing would make up for the validation after the last step
        ended = isinstance(error, SIGTERMException) and not mid_step(trainer)
        if ended and (trainer.training or (trainer.validating and not trainer.should_stop)):
            self.save(trainer)
            trainer.strategy.barrier()  # no device leaves before the file is there

    def due(self, trainer: pl.Trainer) -> bool:
        steps = self.every_n_train_steps
        stops = trainer.should_stop or trainer.received_sigterm
        if stops or (steps and trainer.global_step % steps == 0):
            return True
        if self.every_minutes is None:
            return False
        passed = time.monotonic() - self.saved_at >= 60 * self.every_minutes
        if trainer.world_size == 1:
            return passed
        # all devices take part in a save, and their clocks differ; to ask the first makes GPUs wait
        return trainer.global_step % ASK_EVERY == 0 and trainer.strategy.broadcast(passed)

    def save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step == self.saved_step or trainer.fast_dev_run:
            return
        names = [f"step_{trainer.global_step}.ckpt"] if self.keep > 1 else []
        if self.hour_passes():
            names.append(f"kept_{trainer.global_step}.ckpt")
        sync_rows(trainer)
        trainer.save_checkpoint(self.path)
        if trainer.is_global_zero:
            for name in names:
                place(self.path, self.path.with_name(name))
            self.prune()
        self.saved_step = trainer.global_step

    def hour_passes(self) -> bool:
        """Move the clock on to now. returns: whether one of `keep_every_hours` ended meanwhile."""
        before, now = self.trained, time.monotonic()
        self.trained += now - self.saved_at
        self.saved_at = now
        period = 3600 * (self.keep_every_hours or float("inf"))
        return self.trained // period > before // period

    def prune(self) -> None:
        """Delete what is more than `keep`."""
        if self.keep > 1:
            found = sorted(self.path.parent.glob("step_*.ckpt"), key=step_in)
            for path in found[: -self.keep]:
                path.unlink()


def place(path: Path, name: Path) -> None:
    """Give a whole file a second name: a link, or on a file system without links a copy."""
    name.unlink(missing_ok=True)
    try:
        os.link(path, name)
    except OSError:
        copy_file(path, name)


def mid_step(trainer: pl.Trainer) -> bool:
    """Whether gradients are accumulated. No checkpoint holds them: no place to resume from."""
    return trainer.fit_loop._should_accumulate()


def step_in(path: Path) -> int:
    """The optimizer step in the name of a checkpoint; before all others where there is none."""
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else -1


def validation_follows(trainer: pl.Trainer) -> bool:
    """Whether Lightning validates right after the batch that ends now."""
    loop = trainer.fit_loop.epoch_loop
    return not loop.val_loop.skip and loop._should_check_val_fx(trainer.fit_loop._data_fetcher)


def count_epoch(trainer: pl.Trainer) -> None:
    """Count the epoch at work as begun. Lightning, resumed from an epoch's last batch, does not
    count those that follow so, and resumed again from the last batch of one of them, trains that
    one twice (compare Lightning-AI/pytorch-lightning issue 19815)."""
    progress = trainer.fit_loop.epoch_progress
    for counted in (progress.total, progress.current):
        counted.ready = counted.started = counted.processed + 1


def step_of_loggers(trainer: pl.Trainer) -> None:
    """Lightning's step for loggers stays one behind after a resume from a checkpoint that was saved
    in a validation out of turn, as the one at the end of a run is."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
