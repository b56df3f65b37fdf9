"""Callbacks in real runs of a tiny detector: the speed of training."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from tiny import IMAGES, Tiny, fit, rows

from ssd.callbacks.metrics_file import MetricsFile
from ssd.callbacks.throughput import Throughput


class Clock(pl.Callback):
    """A clock that a second passes on with every training batch, an hour with every other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("ssd.callbacks.throughput.time", self)

    def perf_counter(self) -> float:
        return self.now

    def on_before_zero_grad(self, *_: Any) -> None:
        self.now += 1

    def on_validation_batch_end(self, *_: Any) -> None:
        self.now += 3600


def test_throughput_leaves_out_validation_and_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    throughput = Throughput(warm_up=2)
    fit(Tiny(), Clock(monkeypatch), throughput, max_steps=6)
    assert throughput.done == ((6 - 2) * IMAGES, 6 - 2, 6 - 2)
    assert throughput.images_per_second == IMAGES


def test_throughput_is_two_metrics(tmp_path: Path) -> None:
    logger = MetricsFile(tmp_path, keep_until=None)
    fit(Tiny(), Throughput(warm_up=1), max_steps=6, log_every_n_steps=3, logger=logger)
    logged = [row for row in rows(tmp_path / "metrics.csv") if row["train/images_per_second"]]
    assert len(logged) == 2
    for row in logged:
        rate, duration = (
            float(row[f"train/{name}"]) for name in ("images_per_second", "seconds_per_step")
        )
        assert rate * duration == pytest.approx(IMAGES)


def test_the_seconds_of_an_accumulated_step_are_those_of_all_its_batches() -> None:
    throughput = Throughput(warm_up=2)
    fit(Tiny(), throughput, max_steps=6, accumulate_grad_batches=2, val_check_interval=12)
    assert throughput.done[:2] == ((12 - 2) * IMAGES, 6 - 1)
