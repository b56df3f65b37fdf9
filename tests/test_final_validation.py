"""Callbacks in real runs of a tiny detector: the validation at the last step."""

from typing import Any

import pytest
from tiny import Tiny, fit

from ssd.callbacks.final_validation import ValidateAtEnd


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_steps": 10}, [4, 8, 10]),
        ({"max_steps": 8}, [4, 8]),
        ({"max_epochs": 3}, [4, 8, 12, 16, 18]),
        ({"max_epochs": 1, "min_epochs": 1}, [4, 6]),
        ({"max_steps": 5, "accumulate_grad_batches": 2, "val_check_interval": 8}, [4, 5]),
    ],
    ids=str,
)
def test_a_run_validates_once_at_its_last_step(options: dict[str, Any], steps: list[int]) -> None:
    module = Tiny()
    fit(module, ValidateAtEnd(), **options)
    assert module.validated_at == steps


def test_a_run_without_validation_ends_at_its_last_step() -> None:
    assert fit(Tiny(validates=False), ValidateAtEnd(), max_steps=5).global_step == 5


def test_a_run_that_time_ends_validates_at_its_last_step() -> None:
    module = Tiny()
    trainer = fit(module, ValidateAtEnd(), max_steps=10**6, max_time={"seconds": 0.3})
    assert module.validated_at[-1] == trainer.global_step
    assert len(module.validated_at) == len(set(module.validated_at))
