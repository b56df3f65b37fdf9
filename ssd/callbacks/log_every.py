"""Logging by the clock instead of by steps."""

import sys
import time
from typing import Any

import pytorch_lightning as pl

from ssd.callbacks.checkpoints import mid_step
from ssd.errors import ConfigError

NEVER = sys.maxsize  # a multiple of it is no step of any run; 0 cannot be divided by


class LogEverySeconds(pl.Callback):
    """Logs the first step, then one whenever `seconds` have passed; the last, where it stops at it.

    Steers trainer.log_every_n_steps, so that whatever goes by it follows. Each device has its own
    clock, and loggers write on the first alone: what waits for other devices cannot go by it.
    """

    def __init__(self, seconds: float) -> None:
        if seconds < 0:
            raise ConfigError(f"callbacks.log_every_seconds.seconds={seconds}: give 0 or more")
        self.seconds = seconds
        self.logged = float("-inf")

    def on_train_start(self, *_: Any) -> None:
        self.logged = float("-inf")

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        due = time.monotonic() - self.logged >= self.seconds
        trainer.log_every_n_steps = 1 if due else NEVER

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        # only the last batch of an accumulated step is logged
        if trainer.log_every_n_steps == 1 and not mid_step(trainer):
            self.logged = time.monotonic()
