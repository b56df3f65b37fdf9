"""Learning-rate schedules as closed formulas of the optimizer step, each with a linear warm-up.

Every one is a factor on the optimizer's own rate, so a resumed run, which restores the step, is
back on the formula whatever happened before, and groups of weights keep the ratio of their rates.
`total_steps` comes from the trainer, `steps_per_epoch` is training images over batch size.
"""

import logging
import math
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ssd.errors import ConfigError
from ssd.optim.warmup import check_positive, check_share, steps_of_epochs, steps_of_run, warmed_up

log = logging.getLogger(__name__)


def constant(
    optimizer: Optimizer,
    total_steps: float,
    steps_per_epoch: float,
    warmup_steps: int,
    warmup_factor: float,
) -> LambdaLR:
    """The optimizer's own rate throughout."""
    return warmed_up(optimizer, lambda step: 1.0, warmup_steps, warmup_factor)


def multistep(
    optimizer: Optimizer,
    total_steps: float,
    steps_per_epoch: float,
    milestones: Sequence[int],
    gamma: float,
    warmup_steps: int,
    warmup_factor: float,
) -> LambdaLR:
    """Times `gamma` from each milestone on, in optimizer steps."""
    milestones = tuple(milestones)
    check_positive("gamma", gamma)
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


def exponential(
    optimizer: Optimizer,
    total_steps: float,
    steps_per_epoch: float,
    decay_factor: float,
    decay_epochs: float,
    staircase: bool,
    warmup_steps: int,
    warmup_factor: float,
) -> LambdaLR:
    """Times `decay_factor` in every `decay_epochs`, at once at their end where `staircase`
    (tf.train.exponential_decay)."""
    check_positive("decay_factor", decay_factor)
    period = steps_of_epochs(decay_epochs, steps_per_epoch)

    def factor(step: int) -> float:
        return decay_factor ** (step // period if staircase else step / period)

    return warmed_up(optimizer, factor, warmup_steps, warmup_factor)


def polynomial(
    optimizer: Optimizer,
    total_steps: float,
    steps_per_epoch: float,
    end_lr: float,
    power: float,
    cycle: bool,
    decay_epochs: float | None,
    warmup_steps: int,
    warmup_factor: float,
) -> LambdaLR:
    """Down to `end_lr` with (1 - share of `decay_epochs` that is done) ** `power`, and on at
    `end_lr` (tf.train.polynomial_decay).

    end_lr: of a group at the optimizer's own rate; other groups end in proportion
    cycle: where the end is passed, the decay becomes as many periods long as it takes to lie ahead
    decay_epochs: None is the whole run
    """
    check_positive("power", power)
    rate = optimizer.defaults["lr"]
    if not 0 <= end_lr < rate:
        raise ConfigError(
            f"scheduler.end_lr={end_lr}: give at least 0, and less than optimizer.lr={rate}"
        )
    end = end_lr / rate
    if decay_epochs is None:
        period = steps_of_run(total_steps)
    else:
        period = steps_of_epochs(decay_epochs, steps_per_epoch)

    def factor(step: int) -> float:
        periods = max(1, math.ceil(step / period)) if cycle else 1
        done = min(1.0, step / (period * periods))
        return (1 - end) * (1 - done) ** power + end

    return warmed_up(optimizer, factor, warmup_steps, warmup_factor)


def cosine(
    optimizer: Optimizer,
    total_steps: float,
    steps_per_epoch: float,
    final_factor: float,
    warmup_steps: int,
    warmup_factor: float,
) -> LambdaLR:
    """Half a cosine from the whole rate to `final_factor` of it at the last step (SGDR, eq. 5)."""
    check_share("final_factor", final_factor)
    length = steps_of_run(total_steps)

    def factor(step: int) -> float:
        return between(1.0, final_factor, step / length)

    return warmed_up(optimizer, factor, warmup_steps, warmup_factor)


def one_cycle(
    optimizer: Optimizer,
    total_steps: float,
    steps_per_epoch: float,
    rise: float,
    start_factor: float,
    final_factor: float,
    warmup_steps: int,
    warmup_factor: float,
) -> LambdaLR:
    """Half a cosine up from `start_factor` of the optimizer's rate to all of it over the share
    `rise` of the run, and another down to `final_factor` of it (Smith and Topin 2017, as torch's
    OneCycleLR in two phases). Momentum is left alone."""
    if not 0 < rise < 1:
        raise ConfigError(f"scheduler.rise={rise}: give a share of the run between 0 and 1")
    check_share("start_factor", start_factor)
    check_share("final_factor", final_factor)
    last = steps_of_run(total_steps) - 1
    peak = rise * (last + 1) - 1  # a step, not always a whole one

    def factor(step: int) -> float:
        if step < peak:
            return between(start_factor, 1.0, step / peak)
        return between(1.0, final_factor, (step - peak) / (last - peak))

    return warmed_up(optimizer, factor, warmup_steps, warmup_factor)


def between(start: float, end: float, done: float) -> float:
    """On half a cosine from `start` to `end`, where the share `done` of it is done."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, done))) / 2
