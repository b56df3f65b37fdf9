"""What a network draws depends on seed, step, batch and device, and on nothing else."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from tiny import Tiny, fit

from ssd.callbacks.randomness import SeedSteps


class Draws(pl.Callback):
    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.found.append(float(torch.rand(1, dtype=torch.float64)))


def drawn(seed: int, before: int = 0, parts: int = 1) -> list[float]:
    torch.manual_seed(before)
    draws = Draws()
    fit(Tiny(), SeedSteps(seed), draws, max_steps=8, accumulate_grad_batches=parts)
    return draws.found


def test_draws_are_the_seeds_and_those_of_every_batch_differ(tmp_path: Path) -> None:
    assert drawn(0) == drawn(0, before=5)
    assert set(drawn(0)).isdisjoint(drawn(1))
    parts = drawn(0, parts=2)
    assert len(set(parts)) == len(parts) == 16
