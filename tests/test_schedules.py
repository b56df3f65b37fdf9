import math

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from ssd.errors import ConfigError
from ssd.optim.schedules import constant, cosine, multistep

NO_WARMUP = {"warmup_steps": 0, "warmup_factor": 0.1}


def optimizer() -> SGD:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)


def rates(scheduler: LRScheduler, steps: int) -> list[float]:
    values = []
    for _ in range(steps):
        values.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    return values


def test_constant_stays() -> None:
    assert rates(constant(optimizer(), 10, **NO_WARMUP), 10) == [0.5] * 10


def test_multistep_equals_torchs() -> None:
    ours = multistep(optimizer(), 30, [7, 19], 0.1, **NO_WARMUP)
    theirs = MultiStepLR(optimizer(), [7, 19], 0.1)
    assert rates(ours, 30) == pytest.approx(rates(theirs, 30))


def test_cosine_equals_torchs() -> None:
    ours = cosine(optimizer(), 30, final_factor=0.1, **NO_WARMUP)
    theirs = CosineAnnealingLR(optimizer(), 30, eta_min=0.05)
    assert rates(ours, 30) == pytest.approx(rates(theirs, 30))


@pytest.mark.parametrize("step", [0, 3, 9, 10, 25])
def test_warm_up_rises_in_a_line_to_the_schedule(step: int) -> None:
    scheduler = cosine(optimizer(), 40, final_factor=0, warmup_steps=10, warmup_factor=0.2)
    line = min(1, 0.2 + 0.8 * step / 10)
    expected = 0.5 * line * (1 + math.cos(math.pi * step / 40)) / 2
    assert rates(scheduler, step + 1)[step] == pytest.approx(expected)


def test_a_resumed_schedule_is_on_its_formula() -> None:
    whole = rates(multistep(optimizer(), 30, [7, 19], 0.1, **NO_WARMUP), 30)
    first = multistep(optimizer(), 30, [7, 19], 0.1, **NO_WARMUP)
    rates(first, 12)
    resumed_optimizer = optimizer()
    resumed = multistep(resumed_optimizer, 30, [7, 19], 0.1, **NO_WARMUP)
    resumed_optimizer.load_state_dict(first.optimizer.state_dict())
    resumed.load_state_dict(first.state_dict())
    assert rates(resumed, 18) == pytest.approx(whole[12:])


def test_milestones_must_rise() -> None:
    with pytest.raises(ConfigError, match=r"milestones=\[9, 3\] must rise"):
        multistep(optimizer(), 30, [9, 3], 0.1, **NO_WARMUP)


def test_milestones_beyond_the_run_are_said(caplog: pytest.LogCaptureFixture) -> None:
    multistep(optimizer(), 30, [40, 50], 0.1, **NO_WARMUP)
    assert "lie beyond the 30 steps" in caplog.text


@pytest.mark.parametrize("warmup", [(-1, 0.1), (5, 2.0)])
def test_a_warm_up_that_cannot_be_is_refused(warmup: tuple[int, float]) -> None:
    with pytest.raises(ConfigError, match="warmup_steps="):
        constant(optimizer(), 10, *warmup)
