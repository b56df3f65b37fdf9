"""Runs in several processes, also within a sweep."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import read_write

from ssd.errors import ConfigError

FOLDER = "outputs/%Y-%m-%d/%H-%M-%S"  # Hydra's own hydra.run.dir
RANKS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
GRACE = 5  # seconds that a process has to leave by itself, and then after a signal


@contextlib.contextmanager
def children_run_this_job() -> Iterator[None]:
    """Make the processes that Lightning's DDP starts run this job of a sweep, and nothing else.

    Lightning starts them with this process's command line, and under -m that is the whole sweep:
    every rank would run its own, with its own folders and, where a sweeper draws, its own values
    (Lightning-AI/pytorch-lightning issues 2727 and 18175). They get this job's overrides and
    folder.
    """
    config = HydraConfig.get()
    argv = sys.argv
    before = {name: os.environ.get(name) for name in RANKS}
    if config.mode == RunMode.MULTIRUN:
        flags = [word for word in argv[1:] if word.startswith("--config-")]
        sys.argv = [argv[0], *flags, *config.overrides.task, "hydra.mode=RUN"]
        with read_write(config):
            config.run.dir = config.runtime.output_dir  # Lightning passes it on as hydra.run.dir
    try:
        yield
    finally:
        sys.argv = argv
        for name, value in before.items():  # the next job of the sweep starts from a clean slate
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        leave_process_group()
        forget_children()


def within_torchrun(words: list[str]) -> list[str]:
    """The command line of one of torchrun's processes, or the words as they are without torchrun.

    All processes have one run folder, and rank 0 alone writes the configuration there, as where
    Lightning starts them.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["WORLD_SIZE"] == "1":
        return words
    if {"-m", "--multirun"} & set(words):
        raise ConfigError(
            "-m under torchrun would be a sweep of its own in every process; leave torchrun out: "
            "trainer=ddp starts the processes of each run itself"
        )
    if not any(word.startswith("hydra.run.dir=") for word in words):
        words = [*words, f"hydra.run.dir={shared_folder()}"]
    if os.environ["RANK"] == "0":
        return words
    name = f"hydra.job.name=train_ddp_process_{os.environ['RANK']}"
    return [*words, name, "hydra.output_subdir=null"]


def shared_folder() -> str:
    """The run folder that rank 0 names after its clock; the others' may be a second ahead."""
    from torch.distributed import TCPStore

    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise ConfigError(
            "the processes of this torchrun share nothing yet; give hydra.run.dir=DIR"
        )
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    key = f"run folder of start {os.environ['TORCHELASTIC_RESTART_COUNT']}"
    if os.environ["RANK"] == "0":
        store.set(key, time.strftime(FOLDER))
    return store.get(key).decode()


def is_first_process() -> bool:
    """Whether this process speaks for its run: torchrun, Lightning and srun number them."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
    return next((os.environ[name] for name in names if name in os.environ), "0") == "0"


def requeue() -> None:
    """Have SLURM start this job again, now that its checkpoint is written."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    subprocess.run(["scontrol", "requeue", job], check=True)


def forget_children() -> None:
    """End what is left of a failed run's processes, and the thread that watches them.

    Lightning's watcher kills this process, and so the rest of a sweep, when a child has failed.
    """
    failed = isinstance(sys.exc_info()[1], Exception)  # after a signal they leave too
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            for child in thread._child_processes:
                end(child) if failed else child.wait()
            thread._child_processes.clear()


def end(child: subprocess.Popen) -> None:
    """One that fails, or finds the others gone, leaves by itself and says why, if it is let."""
    for push in (child.terminate, child.kill):
        try:
            child.wait(GRACE)
            return
        except subprocess.TimeoutExpired:
            push()
    child.wait()


def leave_process_group() -> None:
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
