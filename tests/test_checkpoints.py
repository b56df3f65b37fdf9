from pathlib import Path

import pytest
import torch
from networks import arguments, make_network

from ssd.weights.checkpoints import (
    FORMAT,
    build_network,
    find_checkpoint,
    read_checkpoint,
)

MODEL = arguments("small", image_size=64, width=0.5)


def checkpoint(step: int = 7, **changes: object) -> dict:
    network = make_network("small", 3, image_size=64, width=0.5)
    described = {
        "format": FORMAT,
        "classes": ["cat", "dog"],
        "model": MODEL,
        "normalisation": {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]},
        **changes,
    }
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    return {"ssd": described, "state_dict": weights, "global_step": step}


def save(folder: Path, name: str, step: int = 7) -> Path:
    path = folder / "checkpoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint(step), path)
    return path


def test_a_network_comes_back_with_its_weights_and_normalisation() -> None:
    saved = checkpoint()
    network = build_network(saved)
    for name, value in network.state_dict().items():
        assert torch.equal(value, saved["state_dict"][f"network.{name}"])
    assert network.normalize.mean.flatten().tolist() == [1, 2, 3]
    assert not network.training


def test_an_unknown_model_is_never_called() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'os\.system'"):
        build_network(checkpoint(model={"name": "os.system"}))


def test_weights_that_are_missing_are_an_error() -> None:
    saved = checkpoint()
    name = next(iter(saved["state_dict"]))
    del saved["state_dict"][name]
    with pytest.raises(ValueError, match=rf"does not fit its own .*{name.split('.', 1)[1]}"):
        build_network(saved)


def test_another_format_is_refused(tmp_path: Path) -> None:
    torch.save(checkpoint(format=99), tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"a\.ckpt: checkpoint of format 99, this is format"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_a_run_folder_means_its_best_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, "last.ckpt")
    best = save(tmp_path, "best.ckpt")
    assert find_checkpoint(tmp_path) == find_checkpoint(tmp_path / "checkpoints") == best


def test_a_run_that_scored_nothing_means_its_last(tmp_path: Path) -> None:
    last = save(tmp_path, "last.ckpt")
    assert find_checkpoint(tmp_path) == last


def test_a_folder_without_checkpoints_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds neither checkpoints/best\.ckpt nor"):
        find_checkpoint(tmp_path)


def test_a_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    path = save(tmp_path, "last.ckpt")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"last\.ckpt: damaged"):
        read_checkpoint(path)


def test_weights_of_another_project_are_named_as_such(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="not a checkpoint of this project"):
        read_checkpoint(tmp_path / "a.ckpt")
