"""Callbacks in real runs of a tiny detector: logging by the clock."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from tiny import Tiny, fit, rows

from ssd.callbacks.final_validation import ValidateAtEnd
from ssd.callbacks.log_every import LogEverySeconds
from ssd.callbacks.metrics_file import MetricsFile
from ssd.callbacks.throughput import Throughput


class Clock(pl.Callback):
    """A clock that a second passes on with every batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("ssd.callbacks.log_every.time", self)

    def monotonic(self) -> float:
        return self.now

    def on_train_batch_start(self, *_: Any) -> None:
        self.now += 1


def logged_steps(folder: Path, *callbacks: pl.Callback, **options: Any) -> list[int]:
    logger = MetricsFile(folder, keep_until=None)
    fit(Tiny(validates=False), *callbacks, ValidateAtEnd(), logger=logger, **options)
    return [int(row["step"]) for row in rows(folder / "metrics.csv") if row["train/loss"]]


def test_steps_are_logged_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callbacks = Clock(monkeypatch), LogEverySeconds(seconds=4)
    assert logged_steps(tmp_path, *callbacks, max_steps=12) == [0, 4, 8, 11]


def test_accumulated_steps_are_logged_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callbacks = Clock(monkeypatch), LogEverySeconds(seconds=5)
    options = {"max_steps": 9, "accumulate_grad_batches": 2}
    assert logged_steps(tmp_path, *callbacks, **options) == [0, 3, 6, 8]


def test_the_speed_is_logged_where_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callbacks = Clock(monkeypatch), LogEverySeconds(seconds=4), Throughput(warm_up=1)
    logged_steps(tmp_path, *callbacks, max_steps=9)
    table = {int(row["step"]): row for row in rows(tmp_path / "metrics.csv")}
    assert [step for step, row in table.items() if row["train/seconds_per_step"]] == [4, 8]


def test_a_short_run_logs_its_first_and_last_step(tmp_path: Path) -> None:
    assert logged_steps(tmp_path, LogEverySeconds(seconds=1e9), max_steps=7) == [0, 6]
