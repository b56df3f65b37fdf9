"""The checkpoints that a run keeps: best.ckpt, last.ckpt and some of those in between."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor

from ssd.errors import ConfigError


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

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        # Lightning's step for loggers stays one behind after a resume from a checkpoint that was
        # saved in a validation out of turn, as the one at the end of a run is
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        # Lightning, resumed from between a step and its validation, leaves the validation out
        if not mid_step(trainer) and not validation_follows(trainer) and self.due(trainer):
            self.save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        if fitting and not mid_step(trainer):
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.save(trainer)
        trainer.strategy.barrier()  # every device may look for the file now

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, error: Any) -> None:
        # raised between two batches, of training or of a validation; any other error comes mid-step
        stopped = isinstance(error, SIGTERMException) and trainer.training
        if stopped and not mid_step(trainer):
            self.save(trainer)

    def due(self, trainer: pl.Trainer) -> bool:
        steps = self.every_n_train_steps
        if trainer.should_stop or (steps and trainer.global_step % steps == 0):
            return True
        if self.every_minutes is None:
            return False
        # all devices take part in a save, and their clocks differ
        passed = time.monotonic() - self.saved_at
        return trainer.strategy.broadcast(passed >= 60 * self.every_minutes)

    def save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step == self.saved_step or trainer.fast_dev_run:
            return
        names = [f"step_{trainer.global_step}.ckpt"] if self.keep > 1 else []
        if self.hour_passes():
            names.append(f"kept_{trainer.global_step}.ckpt")
        # a new file under a name that is no checkpoint's: Lightning writes in place, and a kill
        # must neither tear last.ckpt nor a file that is linked to it
        written = self.path.with_suffix(".part")
        if trainer.is_global_zero:
            written.unlink(missing_ok=True)
        trainer.save_checkpoint(written)
        if trainer.is_global_zero:
            self.place(written, names)
            self.prune(trainer.global_step)
        self.saved_step = trainer.global_step

    def hour_passes(self) -> bool:
        """Move the clock on to now. returns: whether one of `keep_every_hours` ended meanwhile."""
        before, now = self.trained, time.monotonic()
        self.trained += now - self.saved_at
        self.saved_at = now
        period = 3600 * (self.keep_every_hours or float("inf"))
        return self.trained // period > before // period

    def place(self, written: Path, names: list[str]) -> None:
        """Give a whole file its names, a link each; last.ckpt is never missing."""
        for name in names:
            link = self.path.with_name(name)
            link.unlink(missing_ok=True)
            try:
                os.link(written, link)
            except OSError:  # not every file system has links
                shutil.copyfile(written, link)
        os.replace(written, self.path)

    def prune(self, step: int) -> None:
        """Delete what is more than `keep`; first those of a run that was taken back to earlier."""
        if self.keep > 1:
            found = [(step_in(path), path) for path in self.path.parent.glob("step_*.ckpt")]
            found.sort(key=lambda file: (file[0] <= step, file))
            for _, path in found[: -self.keep]:
                path.unlink()


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
