import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
)

from ssd.errors import ConfigError
from ssd.optim import schedules
from ssd.optim.tensorflow import Ftrl

RATE = 0.5
STEPS = 60
STEPS_PER_EPOCH = 3.7
DECAY_STEPS = 7  # int(2 epochs of 3.7 steps)
NO_WARMUP = {"warmup_steps": 0, "warmup_factor": 0.1}
DECAY = {"decay_factor": 0.8, "decay_epochs": 2.0}
POLYNOMIAL = {"end_lr": 0.05, "power": 2.0}
ONE_CYCLE = {"rise": 0.3, "start_factor": 0.04, "final_factor": 0.01}


def stairs_by_hand(step: int) -> float:
    """tf.train.exponential_decay with staircase."""
    return RATE * 0.8 ** math.floor(step / DECAY_STEPS)


def polynomial_by_hand(step: int, cycle: bool) -> float:
    """tf.train.polynomial_decay."""
    decay_steps = DECAY_STEPS
    if cycle:
        decay_steps *= 1 if step == 0 else math.ceil(step / DECAY_STEPS)
    else:
        step = min(step, decay_steps)
    return (RATE - 0.05) * (1 - step / decay_steps) ** 2 + 0.05


def optimizer() -> SGD:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)


def two_groups() -> SGD:
    """The second at a fifth of the optimizer's rate."""
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    return SGD([{"params": weights[:1]}, {"params": weights[1:], "lr": RATE / 5}], lr=RATE)


def rates(scheduler: LRScheduler, steps: int) -> list[tuple[float, ...]]:
    """The rates of each group."""
    values = []
    for step in range(steps):
        values.append([group["lr"] for group in scheduler.optimizer.param_groups])
        scheduler.optimizer.step()
        if step < steps - 1:  # torch's own end with the run
            scheduler.step()
    return list(zip(*values, strict=True))


def stepped(scheduler: Callable[..., LRScheduler], **options: Any) -> Callable[[int], float]:
    """The rates of one of torch's schedulers."""
    values = rates(scheduler(optimizer(), **options), STEPS)[0]
    return lambda step: values[step]


# name: schedule, its options, the rate at a step
SCHEDULES: dict[str, tuple[Callable[..., LRScheduler], dict[str, Any], Callable[[int], float]]] = {
    "constant": (schedules.constant, {}, lambda step: RATE),
    "multistep": (
        schedules.multistep,
        {"milestones": [7, 19], "gamma": 0.1},
        stepped(MultiStepLR, milestones=[7, 19], gamma=0.1),
    ),
    "cosine": (
        schedules.cosine,
        {"final_factor": 0.1},
        stepped(CosineAnnealingLR, T_max=STEPS, eta_min=0.05),
    ),
    "exponential": (
        schedules.exponential,
        {**DECAY, "staircase": False},
        stepped(ExponentialLR, gamma=0.8 ** (1 / DECAY_STEPS)),
    ),
    "exponential in stairs": (
        schedules.exponential,
        {**DECAY, "staircase": True},
        stairs_by_hand,
    ),
    "polynomial over the run": (
        schedules.polynomial,
        {"end_lr": 0.0, "power": 2.0, "cycle": False, "decay_epochs": None},
        stepped(PolynomialLR, total_iters=STEPS, power=2.0),
    ),
    "polynomial": (
        schedules.polynomial,
        {**POLYNOMIAL, "cycle": False, "decay_epochs": 2.0},
        partial(polynomial_by_hand, cycle=False),
    ),
    "polynomial in cycles": (
        schedules.polynomial,
        {**POLYNOMIAL, "cycle": True, "decay_epochs": 2.0},
        partial(polynomial_by_hand, cycle=True),
    ),
    "one cycle": (
        schedules.one_cycle,
        ONE_CYCLE,
        stepped(
            OneCycleLR, max_lr=RATE, total_steps=STEPS, cycle_momentum=False, final_div_factor=4
        ),
    ),
}


def made(name: str, of: SGD, total_steps: float = STEPS, **changed: Any) -> LRScheduler:
    schedule, options, _ = SCHEDULES[name]
    return schedule(of, total_steps, STEPS_PER_EPOCH, **{**NO_WARMUP, **options, **changed})


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_step_is_on_the_formula(name: str) -> None:
    formula = SCHEDULES[name][2]
    expected = [formula(step) for step in range(STEPS)]
    [ours] = rates(made(name, optimizer()), STEPS)
    assert ours == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_resumed_schedule_is_on_its_formula_in_every_group(name: str) -> None:
    warmup = {"warmup_steps": 5, "warmup_factor": 0.2}
    whole = rates(made(name, two_groups(), **warmup), STEPS)
    first = made(name, two_groups(), **warmup)
    rates(first, 24)
    resumed = made(name, two_groups(), **warmup)
    resumed.optimizer.load_state_dict(first.optimizer.state_dict())
    resumed.load_state_dict(first.state_dict())
    for ours, theirs in zip(rates(resumed, STEPS - 23), whole, strict=True):
        assert ours == theirs[23:]


@pytest.mark.parametrize("name", SCHEDULES)
def test_groups_keep_the_ratio_of_their_rates(name: str) -> None:
    whole, fifth = rates(made(name, two_groups()), STEPS)
    assert [5 * rate for rate in fifth] == pytest.approx(whole)


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_rises_in_a_line_to_the_schedule(name: str) -> None:
    formula = SCHEDULES[name][2]
    expected = [formula(step) * min(1, 0.2 + 0.8 * step / 10) for step in range(STEPS)]
    [ours] = rates(made(name, optimizer(), warmup_steps=10, warmup_factor=0.2), STEPS)
    assert ours == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("total_steps", [0, 1, 2, 3])
def test_short_runs_have_rates(name: str, total_steps: int) -> None:
    [ours] = rates(made(name, optimizer(), total_steps), total_steps + 1)
    assert all(0 <= rate <= RATE for rate in ours)


def test_a_period_is_at_least_a_step() -> None:
    [ours] = rates(made("exponential in stairs", optimizer(), decay_epochs=0.01), 3)
    assert ours == pytest.approx([RATE, RATE * 0.8, RATE * 0.64])


def test_one_cycle_leaves_momentum_alone() -> None:
    of = SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE, momentum=0.9)
    rates(made("one cycle", of), 20)
    assert of.param_groups[0]["momentum"] == 0.9


def test_ftrl_is_told_that_a_schedule_scales_its_weights(caplog: pytest.LogCaptureFixture) -> None:
    numbers = {"lr": 0.1, "lr_power": -0.5, "initial_accumulator_value": 0.1}
    weights = [torch.nn.Parameter(torch.zeros(1))]
    optimizer = Ftrl(weights, **numbers, l1=0, l2=0, weight_decay=0)
    schedules.constant(optimizer, 10, 5.0, warmup_steps=0, warmup_factor=0.1)
    assert not caplog.text
    schedules.constant(optimizer, 10, 5.0, warmup_steps=2, warmup_factor=0.1)
    assert "scales all weights with the rate" in caplog.text


def test_milestones_must_rise() -> None:
    with pytest.raises(ConfigError, match=r"milestones=\[9, 3\] must rise"):
        made("multistep", optimizer(), milestones=[9, 3])


def test_milestones_beyond_the_run_are_said(caplog: pytest.LogCaptureFixture) -> None:
    made("multistep", optimizer(), 30, milestones=[40, 50])
    assert "lie beyond the 30 steps" in caplog.text


@pytest.mark.parametrize("name", ["cosine", "one cycle", "polynomial over the run"])
def test_a_schedule_over_a_run_without_end_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"give trainer\.max_steps"):
        made(name, optimizer(), math.inf)


def test_an_end_needs_a_rate_to_be_in_proportion_to() -> None:
    of = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.0)
    with pytest.raises(
        ConfigError, match=r"scheduler\.end_lr=0\.05: give at least 0, and less than"
    ):
        made("polynomial", of)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("constant", "warmup_steps", -1),
        ("multistep", "gamma", 0),
        ("cosine", "final_factor", 1.5),
        ("exponential", "decay_factor", 0),
        ("exponential", "decay_epochs", 0),
        ("polynomial", "decay_epochs", -1.0),
        ("polynomial", "power", 0),
        ("polynomial", "end_lr", -0.1),
        ("one cycle", "rise", 0),
        ("one cycle", "rise", 1.0),
        ("one cycle", "start_factor", -0.1),
        ("one cycle", "final_factor", 2),
    ],
)
def test_a_value_that_cannot_be_is_refused(name: str, key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"scheduler\.{key}={value}.*give"):
        made(name, optimizer(), **{key: value})


def test_a_warm_up_from_above_the_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"warmup_factor=2\.0"):
        made("constant", optimizer(), warmup_factor=2.0)
