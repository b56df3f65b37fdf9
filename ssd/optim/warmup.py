"""What every schedule has in common: a factor on the optimizer's own rate, and a linear warm-up."""

import logging
import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ssd.errors import ConfigError
from ssd.optim.tensorflow import Ftrl

log = logging.getLogger(__name__)

FAR = 10**9  # a step after all


def warmed_up(
    optimizer: Optimizer, factor: Callable[[int], float], warmup_steps: int, warmup_factor: float
) -> LambdaLR:
    """A schedule whose first `warmup_steps` rise in a line from `warmup_factor` of it to all of
    it."""
    if warmup_steps < 0 or not 0 <= warmup_factor <= 1:
        raise ConfigError(
            f"scheduler.warmup_steps={warmup_steps}, warmup_factor={warmup_factor}: give at least "
            "0 steps and a factor from 0 to 1"
        )

    def warmed(step: int) -> float:
        done = min(1.0, step / warmup_steps) if warmup_steps else 1.0
        return factor(step) * (warmup_factor + (1 - warmup_factor) * done)

    if isinstance(optimizer, Ftrl) and warmed(0) != warmed(FAR):
        log.warning(
            "optimizer=ftrl scales all weights with the rate, which this schedule moves; "
            "scheduler=constant scheduler.warmup_steps=0 does not"
        )
    return LambdaLR(optimizer, warmed)


def steps_of_run(total_steps: float) -> int:
    """The length that a schedule over the whole run divides by."""
    if math.isinf(total_steps):
        raise ConfigError(
            "scheduler: this one follows the run to its last step, and this run has none; give "
            "trainer.max_steps, or scheduler=constant"
        )
    return max(1, int(total_steps))


def steps_of_epochs(decay_epochs: float, steps_per_epoch: float) -> int:
    """Whole steps of so many epochs, as TensorFlow's trainers round them."""
    check_positive("decay_epochs", decay_epochs)
    return max(1, int(steps_per_epoch * decay_epochs))


def check_positive(key: str, value: float | None) -> None:
    if value is None or value <= 0:
        raise ConfigError(f"scheduler.{key}={value}: give a number above 0")


def check_share(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"scheduler.{key}={value}: give a share of the rate, from 0 to 1")
