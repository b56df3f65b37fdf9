"""Signals to whole runs, as terminals and clusters send them."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from verbs import ROOT, SMALL, last, metrics, run

pytestmark = pytest.mark.usefixtures("hears_ctrl_c")
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(root: Path) -> Iterator[Start]:
    """Starts a run in a process group of its own, as a shell does, and waits for its third step."""
    groups: list[int] = []

    def begin(folder: Path, *words: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, str(ROOT / "train.py"), *SMALL, f"data.root={root}"]
        command += ["save_every=50", f"hydra.run.dir='{folder}'", "trainer.max_steps=100000"]
        with (folder.parent / "printed.txt").open("w") as printed:
            process = subprocess.Popen(
                [*command, "val_every=60", *words], cwd=folder.parent, stdout=printed,
                stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            )  # fmt: skip
        groups.append(process.pid)
        table = folder / "metrics.csv"
        wait_until(lambda: process.poll() is not None or (table.exists() and lines(table) > 3))
        return process

    yield begin
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def lines(path: Path) -> int:
    return path.read_text().count("\n")


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def children(process: subprocess.Popen) -> list[int]:
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    return [int(number) for number in Path(path).read_text().split()]


def printed(folder: Path) -> str:
    return (folder.parent / "printed.txt").read_text()


def test_ctrl_c_in_a_terminal_saves_and_says_how_to_go_on(start: Start, tmp_path: Path) -> None:
    """Every process of the run gets it. The folder has a space, the locale is C, and there is no
    home."""
    folder = tmp_path / "a run ü" / "run"
    folder.parent.mkdir()
    odd = {"LC_ALL": "C", "HOME": "/dev/null/home"}
    process = start(folder, "data.num_workers=2", "precision=32-true", **odd)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130, printed(folder)
    assert "Traceback" not in printed(folder)
    steps = int(metrics(folder)[-1]["step"]) + 1
    assert last(folder)["global_step"] == steps
    command = printed(folder).partition("stopped by SIGINT; this goes on: ")[2].strip()
    words = [*shlex.split(command)[2:], f"trainer.max_steps={steps + 1}", "data.num_workers=0"]
    assert run("train", *words) == 0
    trained = [int(row["step"]) for row in metrics(folder) if row["train/loss"]]
    assert trained == list(range(steps + 1))


@pytest.mark.slow
def test_a_run_whose_output_nobody_reads_goes_on(root: Path, tmp_path: Path) -> None:
    """As `python train.py | head -1`, in which errors go into the pipe as well."""
    words = [*SMALL, f"data.root={root}", f"hydra.run.dir={tmp_path}/run", "logger=tensorboard"]
    reads, writes = os.pipe()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words], cwd=tmp_path, stdout=writes,
        stderr=writes, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    os.close(writes)
    os.read(reads, 10)
    os.close(reads)
    process.wait(120)
    assert last(tmp_path / "run")["global_step"] == 4
    assert (tmp_path / "run" / "results.json").is_file()


@pytest.mark.slow
def test_slurms_signal_saves_and_queues_the_job_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {"JOB_ID": "7", "JOB_NAME": "train", "NTASKS": "1", "PROCID": "0", "LOCALID": "0"}
    for name, value in {**job, "NODEID": "0", "ARRAY_JOB_ID": "5", "ARRAY_TASK_ID": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    folder = tmp_path / "run"
    table = folder / "metrics.csv"

    def time_is_up() -> None:
        wait_until(lambda: table.exists() and lines(table) > 3)
        os.kill(os.getpid(), signal.SIGUSR1)

    words = [f"data.root={root}", f"hydra.run.dir={folder}", "resume=latest", "save_every=500"]
    threading.Thread(target=time_is_up).start()
    assert run("train", *SMALL, *words, "trainer.max_steps=5000") == 128 + signal.SIGUSR1
    assert (tmp_path / "asked").read_text() == "requeue 5_2\n"
    steps = last(folder)["global_step"]
    assert 3 <= steps < 5000
    assert not [*folder.rglob("hpc_ckpt*")]
    assert run("train", *SMALL, *words, f"trainer.max_steps={steps + 1}") == 0
    assert last(folder)["global_step"] == steps + 1


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_sigterm_to_one_of_two_processes_ends_both(start: Start, tmp_path: Path, rank: int) -> None:
    folder = tmp_path / "run"
    process = start(folder, "trainer=ddp", "trainer.accelerator=cpu")
    ranks = [process.pid, *children(process)]
    os.kill(ranks[rank], signal.SIGTERM)
    assert process.wait(60) == 143, printed(folder)
    wait_until(lambda: not Path(f"/proc/{ranks[1]}").exists())
    assert "Traceback" not in printed(folder)
    assert last(folder)["global_step"] == int(metrics(folder)[-1]["step"]) + 1


@pytest.mark.slow
def test_ctrl_c_ends_two_processes(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(folder, "trainer=ddp", "trainer.accelerator=cpu", "data.num_workers=1")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130, printed(folder)
    assert "Traceback" not in printed(folder)
    assert last(folder)["global_step"] == int(metrics(folder)[-1]["step"]) + 1


FAILING = """
import pytorch_lightning as pl

class Fail(pl.Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 3 and trainer.global_rank == 1:
            raise RuntimeError("rank 1 has had enough")
"""


@pytest.mark.slow
def test_a_process_that_fails_ends_the_run_and_says_why(start: Start, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    words = ["trainer=ddp", "trainer.accelerator=cpu", "+callbacks.fail._target_=failing.Fail"]
    process = start(tmp_path / "run", *words, PYTHONPATH=str(tmp_path))
    assert process.wait(60)
    assert "RuntimeError: rank 1 has had enough" in printed(tmp_path / "run")


HANGING = """
import time
import pytorch_lightning as pl

class Hang(pl.Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 5 and trainer.global_rank == 1:
            time.sleep(1000)
"""


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_run_and_says_why(start: Start, tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    words = ["trainer=ddp", "trainer.accelerator=cpu", "+callbacks.hang._target_=hanging.Hang"]
    words += ["trainer.strategy.timeout.seconds=15"]
    process = start(tmp_path / "run", *words, PYTHONPATH=str(tmp_path))
    others = children(process)
    assert process.wait(60) == 1
    assert "error: another process of this run did not answer for" in printed(tmp_path / "run")
    assert not any(Path(f"/proc/{other}").exists() for other in others)
