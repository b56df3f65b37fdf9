"""Workers that load data, as they die and hang, and what they need of the system."""

import logging
import multiprocessing
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from test_dataset import dataset
from voc import write_voc

from ssd import cli
from ssd.data.dataset import DetectionDataset, collate
from ssd.data.samplers import ResumableLoader, TrainSampler
from ssd.data.workers import check_limits, start_worker
from ssd.records import Sample

IDS = [f"i{number}" for number in range(8)]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_voc(tmp_path, {"train": {id: [("cat", 1, 1, 30, 40)] for id in IDS}})


class Disturbed(DetectionDataset):
    """Something happens in the worker that reads image i5."""

    what: Callable[[], object]

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        if self.annotations.ids[key[1]] == "i5":
            self.what()
        return super().__getitem__(key)


def load(root: Path, what: Callable[[], object], timeout: float = 20) -> list[int]:
    """The images of an epoch, in batches of 2 from 2 workers."""
    data = dataset(root)
    data.__class__, data.what = Disturbed, what
    sampler = TrainSampler(len(IDS), 2, seed=0, rank=0, world_size=1)
    options = {"collate_fn": collate, "worker_init_fn": start_worker, "timeout": timeout}
    loader = ResumableLoader(data, sampler=sampler, batch_size=2, num_workers=2, **options)
    return [index for batch in loader for index in batch["indices"].tolist()]


@pytest.mark.parametrize(
    "what",
    [
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        lambda: os.kill(os.getpid(), signal.SIGSEGV),
        lambda: os._exit(3),
    ],
)
def test_a_worker_that_dies_is_said_in_a_line(root: Path, what: Callable[[], object]) -> None:
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    process = fork.Process(target=say_error, args=(theirs, root, what))
    process.start()
    theirs.close()
    is_users, line = ours.recv()
    process.join()
    assert is_users
    assert line.startswith("a data worker died, most often for want of mem")


def say_error(pipe: Connection, root: Path, what: Callable[[], object]) -> None:
    """In a process of its own: torch raises the error of a dead worker wherever Python is then."""
    try:
        load(root, what, timeout=3)
    except RuntimeError as error:
        pipe.send((cli.is_users(error), cli.one_line(error)))
    finally:
        os._exit(0)


def test_a_worker_that_hangs_ends_the_run_and_its_images_are_named(root: Path) -> None:
    with pytest.raises(TimeoutError, match=r"no batch came for 3 seconds \(data.timeout\)") as hung:
        load(root, lambda: time.sleep(1000), timeout=3)
    order = [IDS[index] for _, index in TrainSampler(8, 2, seed=0, rank=0, world_size=1)]
    first = order.index("i5") // 2 * 2
    assert f"its images are {', '.join(order[first : first + 2])}:" in str(hung.value)


def test_workers_go_on_where_a_signal_strikes_all_processes(root: Path) -> None:
    def strike() -> None:
        for number in SIGNALS:
            os.kill(os.getpid(), number)
        time.sleep(0.1)

    assert sorted(load(root, strike)) == list(range(8))


def hang() -> None:
    start_worker(0)
    while True:
        time.sleep(1)


def test_a_worker_that_hangs_ends_with_its_parent() -> None:
    worker = multiprocessing.get_context("fork").Process(target=hang)
    worker.start()
    time.sleep(0.5)
    worker.terminate()
    worker.join(20)
    assert worker.exitcode is not None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(24, "Too many open files"), "too many open files; ulimit -n 4096"),
        (RuntimeError("received 0 items of ancdata"), "too many open files; ulimit -n 4096"),
        (RuntimeError("DataLoader worker (pid 9) is killed by signal: Bus error. It is possible"),
         "a data worker found no shared memory; give more of /dev/shm"),
    ],
)  # fmt: skip
def test_what_the_system_lacks_is_said_in_a_line(error: Exception, message: str) -> None:
    assert cli.is_users(error)
    assert cli.one_line(error).startswith(message)


def test_too_little_shared_memory_is_said_before_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10 * 2**20))
    check_limits(workers=0, batch_size=32, image_size=(300, 300))
    check_limits(workers=1, batch_size=4, image_size=(300, 300))  # 4.3 MB
    assert not caplog.records
    check_limits(workers=4, batch_size=32, image_size=(300, 300))
    # of 4 workers, with 2 batches each of training and of validation
    assert "data.num_workers=4 of this batch and image size may need 132 MB of /d" in caplog.text
    assert "has 10 MB; give it more (docker run --shm-size=" in caplog.text


def test_too_few_open_files_are_said_before_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    check_limits(workers=2, batch_size=1, image_size=(64, 64))
    assert "this shell allows 64: ulimit -n 4096" in caplog.text


def test_an_image_that_goes_while_training_is_named(root: Path) -> None:
    data = dataset(root)
    file = Path(data.annotations.files[3])
    file.unlink()
    with pytest.raises(ValueError, match=rf"{file}: cannot be read \(No such file"):
        data[0, 3]


def test_an_image_that_changes_while_training_is_named(root: Path) -> None:
    data = dataset(root)
    file = data.annotations.files[3]
    cv2.imwrite(file, np.zeros((50, 70, 3), np.uint8))
    with pytest.raises(ValueError, match=rf"{file}: 70x50 pixels, but 60x40 when this run began"):
        data[0, 3]
