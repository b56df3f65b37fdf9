"""Learning-rate schedules as closed formulas of the optimizer step, each with a linear warm-up.

Every one is a factor on the optimizer's own rate, so a resumed run, which restores the step, is
back on the formula whatever happened before. `total_steps` comes from the trainer.
"""

import logging
import math
from collections.abc import Callable, Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ssd.errors import ConfigError

log = logging.getLogger(__name__)


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

    return LambdaLR(optimizer, warmed)


def constant(
    optimizer: Optimizer, total_steps: int, warmup_steps: int, warmup_factor: float
) -> LambdaLR:
    """The optimizer's own rate throughout."""
    return warmed_up(optimizer, lambda step: 1.0, warmup_steps, warmup_factor)


def multistep(
    optimizer: Optimizer,
    total_steps: int,
    milestones: Sequence[int],
    gamma: float,
    warmup_steps: int,
    warmup_factor: float,
) -> LambdaLR:
    """Times `gamma` from each milestone on, in optimizer steps."""
    milestones = tuple(milestones)
    if list(milestones) != sorted(set(milestones)):
        raise ConfigError(f"scheduler.milestones={list(milestones)} must rise")
    if milestones and milestones[0] >= total_steps > 0:
        log.warning(
            "scheduler.milestones=%s lie beyond the %d steps of this run: its rate stays",
            list(milestones),
            total_steps,
        )

    def factor(step: int) -> float:
        return gamma ** sum(step >= milestone for milestone in milestones)

    return warmed_up(optimizer, factor, warmup_steps, warmup_factor)


def cosine(
    optimizer: Optimizer,
    total_steps: int,
    final_factor: float,
    warmup_steps: int,
    warmup_factor: float,
) -> LambdaLR:
    """Half a cosine from the whole rate to `final_factor` of it at the last step (SGDR, eq. 5)."""

    def factor(step: int) -> float:
        done = min(1.0, step / total_steps)
        return final_factor + (1 - final_factor) * (1 + math.cos(math.pi * done)) / 2

    return warmed_up(optimizer, factor, warmup_steps, warmup_factor)
