"""A data set of a few painted boxes, and a run that learned it by heart."""

from pathlib import Path

import pytest
from verbs import SMALL, run
from voc import write_voc


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = {
        f"{name}{x}": [(name, x, 5, x + 24, 34)] for name in ("cat", "dog") for x in (1, 12, 24, 36)
    }
    validation = {"v": [("cat", 6, 5, 30, 34)], "w": [("dog", 30, 8, 54, 37)], "x": []}
    test = {"t": [("cat", 8, 5, 32, 34)], "u": [("dog", 33, 8, 57, 37)], "empty": []}
    folder = tmp_path_factory.mktemp("data") / "voc"
    return write_voc(folder, {"train": images, "val": validation, "test": test})


@pytest.fixture(scope="session")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that learned its eight images by heart."""
    folder = tmp_path_factory.mktemp("run")
    words = [f"data.root={root}", f"hydra.run.dir={folder}", "logger=tensorboard", "val_every=60"]
    words += ["trainer.max_steps=90", "data.batch_size=8", "optimizer.lr=4e-3", "scheduler=cosine"]
    assert run("train", *SMALL, *words) == 0
    return folder
