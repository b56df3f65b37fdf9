"""Checkpoints as Lightning saves and loads them, in runs of a tiny detector."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import Tiny, fit, pair, step_of

from ssd.checkpointing import SafeCheckpointIO
from ssd.weights.files import MARK


def test_both_checkpoints_of_a_run_are_sealed(tmp_path: Path) -> None:
    fit(Tiny(), *pair(tmp_path), max_steps=5)
    for name in ("best.ckpt", "last.ckpt"):
        assert MARK in (tmp_path / name).read_bytes()


def test_nothing_is_written_outside_the_folder_of_the_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, moved = os.replace, []

    def noted(source: Any, target: Any) -> None:
        moved.append((Path(source).parent, Path(target).parent))
        real(source, target)

    monkeypatch.setenv("TMPDIR", str(tmp_path / "not there"))
    monkeypatch.setattr("os.replace", noted)
    fit(Tiny(), *pair(tmp_path / "run"), max_steps=5)
    assert {folder for pair in moved for folder in pair} == {tmp_path / "run"}


def test_a_file_is_on_the_disk_before_it_takes_anothers_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1]
        )
    SafeCheckpointIO().save_checkpoint({"a": torch.ones(3)}, tmp_path / "a.ckpt")
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder


def test_a_run_does_not_go_on_from_a_damaged_checkpoint(tmp_path: Path) -> None:
    fit(Tiny(), *pair(tmp_path), max_steps=5)
    last = tmp_path / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.ckpt: damaged, its SHA-256 is another"):
        fit(Tiny(), *pair(tmp_path), max_steps=9, ckpt_path=last)


def test_a_best_checkpoint_that_is_damaged_or_anothers_is_found_anew(tmp_path: Path) -> None:
    fit(Tiny((0.9, 0.1)), *pair(tmp_path), max_steps=8)
    best, last = tmp_path / "best.ckpt", tmp_path / "last.ckpt"
    best.write_bytes(last.read_bytes())  # of step 8
    callbacks = pair(tmp_path)
    fit(Tiny((0.3,)), *callbacks, max_steps=12, ckpt_path=last)
    assert float(callbacks[1].best_model_score) == pytest.approx(0.3)
    assert step_of(best) == 12
    best.write_bytes(b"torn")
    fit(Tiny((0.2,)), *pair(tmp_path), max_steps=16, ckpt_path=last)
    assert step_of(best) == 16


def test_a_save_clears_away_what_a_kill_left(tmp_path: Path) -> None:
    (tmp_path / ".best.ckpt.ssd-part").write_bytes(b"half")
    fit(Tiny(validates=False), *pair(tmp_path), max_steps=3)
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_file_system_without_links_gets_whole_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refused)
    fit(Tiny(validates=False), *pair(tmp_path, every=2, keep=2), max_steps=6)
    assert {file.name: step_of(file) for file in tmp_path.iterdir()} == {
        "last.ckpt": 6,
        "step_4.ckpt": 4,
        "step_6.ckpt": 6,
    }
