"""No network, a data set of a few painted boxes, and a run that learned it by heart."""

import gc
import os
import runpy
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# before torch: many small tests side by side only wait for each other's threads
os.environ.setdefault("OMP_NUM_THREADS", "1")

from verbs import SMALL, run
from voc import write_voc

OFFLINE = Path(__file__).parent / "offline"
# it takes this process's network away; processes that tests start find it by themselves
ATTEMPTS = runpy.run_path(str(OFFLINE / "sitecustomize.py"))["ATTEMPTS"]


def pytest_collection_finish() -> None:
    """The libraries' objects stay: a search for cycles takes a second if it goes through them."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()  # libraries look for leaks at the end


@pytest.fixture(scope="session", autouse=True)
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where this process and those that tests start note what they asked the network for."""
    file = tmp_path_factory.mktemp("network") / "attempts"
    file.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ATTEMPTS, str(file))
        patch.setenv("PYTHONPATH", str(OFFLINE), prepend=os.pathsep)
        yield file


@pytest.fixture(autouse=True)
def offline(attempts: Path) -> Iterator[None]:
    """Fails a test that asked the network for anything."""
    yield
    asked = attempts.read_text()
    attempts.write_text("")
    assert not asked


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """A shell has what it starts in the background ignore it, and so do what those start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
    words += ["report=true", "bootstrap=50"]
    assert run("train", *SMALL, *words) == 0
    return folder
