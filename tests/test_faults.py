"""Files that are no weights, each in one line that says what it is."""

import os
import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ssd.weights.files import read_file


class Bomb:
    def __reduce__(self) -> tuple:
        return os.system, ("touch exploded",)


def torch_save(content: Any, **options: Any) -> Any:
    return lambda path: torch.save(content, path, **options)


def raw_pickle(path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump(Bomb(), file)


def torn(path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-500])


def text(words: str) -> Any:
    return lambda path: path.write_text(words)


FILES = {
    "empty": (text(""), "empty"),
    "web page": (text("\n<!DOCTYPE html><html>"), "a web page"),
    "pointer": (text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "words": (text("weights " * 100), "damaged, or no checkpoint"),
    "torn": (torn, "damaged, or no checkpoint"),
    "bomb": (
        torch_save({"state_dict": {}, "args": Bomb()}),
        "system, but nothing in a file is run",
    ),
    "old bomb": (torch_save(Bomb(), _use_new_zipfile_serialization=False), "nothing in a file is"),
    "raw bomb": (raw_pickle, "damaged, or no checkpoint"),
    "module": (torch_save(nn.Linear(2, 2)), r"asks for torch\.nn\.modules\.linear\.Linear"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_holds_no_weights_is_named_in_one_line_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write, expected = FILES[name]
    path = tmp_path / "a.pth"
    write(path)
    with pytest.raises(ValueError, match=expected) as caught:
        read_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("exploded").exists()


def test_an_archive_of_other_things_is_told_by_what_is_in_it(tmp_path: Path) -> None:
    program = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))
    program.save(tmp_path / "a.pth")
    with pytest.raises(ValueError, match="a TorchScript archive"):
        read_file(tmp_path / "a.pth")


def test_the_arguments_that_training_scripts_keep_do_no_harm(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(1)}, "args": Namespace(lr=0.1)}, tmp_path / "a.pth")
    assert read_file(tmp_path / "a.pth")["args"].lr == 0.1
