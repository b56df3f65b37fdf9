"""Callbacks in real runs of a tiny detector: what the terminal and the log show."""

from pathlib import Path

import pytest
from tiny import Tiny, fit, pair

from ssd.callbacks.final_validation import ValidateAtEnd
from ssd.callbacks.progress import Progress


def test_a_log_file_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    fit(Tiny(), Progress(monitor="val/map", every_seconds=1000), ValidateAtEnd(), max_steps=5)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step")]
    assert len(lines) == 2
    assert lines[0].startswith("step 4/5, loss ")
    assert "val/map 0.500" in lines[0]
    assert lines[0].endswith(" left")


def test_a_terminal_gets_one_bar_over_the_whole_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(Tiny(), *pair(tmp_path), max_steps=7)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bar = Progress(monitor="val/map", every_seconds=1000)
    fit(Tiny(), *pair(tmp_path), bar, max_steps=14, ckpt_path=tmp_path / "last.ckpt")
    text = capsys.readouterr().err
    assert "training:  50%" in text
    assert "training: 100%" in text
    assert "14/14" in text
