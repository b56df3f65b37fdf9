"""Callbacks in real runs of a tiny detector: metrics.csv."""

from pathlib import Path

import pytest
import torch
from tiny import Kill, Tiny, fit, pair, rows

from ssd.callbacks.final_validation import ValidateAtEnd
from ssd.callbacks.metrics_file import MetricsFile


def test_the_metrics_file_has_a_row_a_step_and_a_column_a_metric(tmp_path: Path) -> None:
    module = Tiny((0.25, 0.5))
    fit(module, ValidateAtEnd(), max_steps=5, logger=MetricsFile(tmp_path, keep_until=None))
    table = rows(tmp_path / "metrics.csv")
    assert [row["step"] for row in table] == ["0", "1", "2", "3", "4"]
    assert [row["val/map"] for row in table] == ["", "", "", "0.25", "0.5"]
    assert all(row["train/loss"] for row in table)


def test_the_metrics_file_continues_at_the_resumed_step(tmp_path: Path) -> None:
    """From the save of the validation at step 4, three rows before the kill."""

    def run(folder: Path, steps: int, resumed: bool = False, kill: int = -1) -> None:
        torch.manual_seed(0)
        logger = MetricsFile(folder, keep_until=4 if resumed else None)
        path = folder / "last.ckpt" if resumed else None
        callbacks = (*pair(folder, every=10), Kill(kill))
        fit(Tiny(), *callbacks, max_steps=steps, logger=logger, ckpt_path=path)

    run(tmp_path / "whole", steps=11)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "killed", steps=11, kill=7)
    run(tmp_path / "killed", steps=11, resumed=True)
    whole, killed = ((tmp_path / name / "metrics.csv").read_text() for name in ("whole", "killed"))
    assert whole == killed


def test_a_longer_run_goes_on_counting_after_the_last_step(tmp_path: Path) -> None:
    for steps, start in ((5, None), (9, 5)):
        path = None if start is None else tmp_path / "last.ckpt"
        logger = MetricsFile(tmp_path, keep_until=start)
        fit(Tiny(), *pair(tmp_path), max_steps=steps, logger=logger, ckpt_path=path)
    assert [int(row["step"]) for row in rows(tmp_path / "metrics.csv")] == [*range(9)]


def test_a_new_run_replaces_the_metrics_file(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,epoch,old\n7,0,1.0\n")
    MetricsFile(tmp_path, keep_until=None).log_metrics({"epoch": 0, "new": 1.5}, step=0)
    assert (tmp_path / "metrics.csv").read_text() == "step,epoch,new\n0,0,1.5\n"


def test_a_line_that_a_kill_cut_off_does_not_survive_a_resume(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,epoch,a\n0,0,1.0\n1,0,2.")
    MetricsFile(tmp_path, keep_until=2).log_metrics({"epoch": 0, "a": 3.0}, step=2)
    assert (tmp_path / "metrics.csv").read_text() == "step,epoch,a\n0,0,1.0\n2,0,3.0\n"
