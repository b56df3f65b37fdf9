"""Files that weights are read from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from saved import checkpoint, make, same, save, start

from ssd.weights.checkpoints import FORMAT


def test_a_run_folder_gives_its_best(tmp_path: Path) -> None:
    best, new = make(), make()
    save(tmp_path / "checkpoints" / "last.ckpt", checkpoint(make()))
    path = save(tmp_path / "checkpoints" / "best.ckpt", checkpoint(best))
    assert str(path) in start(new, str(tmp_path))[0]
    assert same(new, best.state_dict())


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_a_plain_state_dict_is_read_as_it_is_or_under_its_key(
    tmp_path: Path, key: str | None
) -> None:
    old, new = make(), make()
    weights = old.state_dict()
    content = weights if key is None else {key: weights, "epoch": 3}
    report = start(new, save(tmp_path / "a.pth", content))
    assert same(new, weights)
    assert "step" not in report[0]
    assert report[1:] == ["class names of the file are unknown: class layers count by shape alone"]


def test_a_file_in_half_precision_is_widened(tmp_path: Path) -> None:
    old, new = make().half(), make()
    start(new, save(tmp_path / "a.ckpt", checkpoint(old)))
    assert same(
        new, {name: value.to(new.state_dict()[name]) for name, value in old.state_dict().items()}
    )


@pytest.mark.parametrize(
    "content",
    [
        [torch.ones(1)],
        {},
        {"state_dict": {}},
        {"epoch": 3},
        {"ssd": {}},
        {"state_dict": {"a": torch.ones(1), "b": "text"}},
    ],
)
def test_what_holds_no_weights_is_named_in_one_line(tmp_path: Path, content: Any) -> None:
    path = save(tmp_path / "a.pth", content)
    with pytest.raises(ValueError, match=r"a\.pth: neither a checkpoint of this project nor"):
        start(make(), path)


def test_a_damaged_or_missing_file_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", checkpoint(make()))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"a\.ckpt: damaged"):
        start(make(), path)
    with pytest.raises(ValueError, match=r"b\.ckpt: no such checkpoint"):
        start(make(), tmp_path / "b.ckpt")


class Bomb:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("exploded"),)


def test_code_in_a_weights_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "bomb.pth", {"state_dict": make().state_dict(), "args": Bomb()})
    with pytest.raises(ValueError, match=r"bomb\.pth: asks for getattr"):
        start(make(), path)
    assert not Path("exploded").exists()


def test_weights_of_a_later_format_are_refused_and_of_an_earlier_one_taken(tmp_path: Path) -> None:
    old, new = make(), make()
    later = save(tmp_path / "later.ckpt", checkpoint(old, format=FORMAT + 1))
    with pytest.raises(ValueError, match=f"checkpoint of format {FORMAT + 1}, this is"):
        start(new, later)
    start(new, save(tmp_path / "earlier.ckpt", checkpoint(old, format=1)))
    assert same(new, old.state_dict())
