"""Measuring speed: the arithmetic of comparisons, and the verb on a few painted boxes."""

import json
from math import comb
from pathlib import Path

import pytest
from verbs import run
from voc import write_voc

from benchmarks import growth
from benchmarks.timing import OURS, Timed, cut, in_turn, lines

TIMED = Timed("part", "case", "images", 8, {OURS: [1.0, 2, 4], "theirs": [2.0, 6, 8]})


def test_a_rate_is_of_the_median_round() -> None:
    assert TIMED.rate(OURS) == 4


def test_a_ratio_compares_neighbouring_rounds() -> None:
    assert TIMED.ratio("theirs") == 2
    assert TIMED.interval("theirs") == (2, 3)


@pytest.mark.parametrize("count", [1, 5, 6, 7, 15, 40])
def test_the_interval_holds_the_median_as_often_as_it_says(count: int) -> None:
    def missed(outside: int) -> float:
        return 2 * sum(comb(count, k) for k in range(outside + 1)) / 2**count

    outside = cut(count)
    assert outside == 0 or missed(outside) <= 0.05
    assert missed(outside + 1) > 0.05


def test_every_side_runs_once_more_than_it_is_timed() -> None:
    calls: list[str] = []
    sides = {OURS: lambda: calls.append("a"), "theirs": lambda: calls.append("b")}
    timed = in_turn("part", "case", "images", 1, sides, rounds=3)
    assert calls == ["a", "b"] * 4
    assert {len(seconds) for seconds in timed.seconds.values()} == {3}


def test_a_line_names_what_is_compared() -> None:
    head, ours, theirs = lines([TIMED])
    assert head == "part, case"
    assert ours.split() == ["ours", "4", "images/s"]
    assert theirs.endswith("ours is 2.00x (2.00 to 3.00)")


@pytest.mark.parametrize(("axis", "value"), [("classes", 3), ("images of a data set", 50)])
def test_growth_measures_a_point(axis: str, value: int) -> None:
    growth.AXES[axis][1](value)()


def test_the_verb_writes_figures_and_numbers(tmp_path: Path) -> None:
    boxes = [("cat", 8, 5, 32, 34)]
    root = write_voc(tmp_path / "data", {"train": dict.fromkeys("abc", boxes)})
    data = ["data=voc", f"data.root={root}", "data.val_split=null", "data.test_split=null"]
    assert run("benchmark", "part=input", "rounds=1", *data, f"output={tmp_path / 'out'}") == 0
    (result,) = json.loads((tmp_path / "out" / "benchmark.json").read_text())["results"]
    assert result["rates"][OURS] > 0
    assert len(result["ratios"]) == 3
    assert (tmp_path / "out" / "benchmark.png").stat().st_size


def test_an_unknown_part_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("benchmark", "part=los", f"output={tmp_path}") == 2
    assert "part=los: give all, or any of input, inference, loss" in capsys.readouterr().out
