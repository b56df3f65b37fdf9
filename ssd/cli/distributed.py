"""Runs in several processes, also within a sweep."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import read_write

RANKS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


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


def forget_children() -> None:
    """End what is left of a failed run's processes, and the thread that watches them.

    Lightning's watcher kills this process, and so the rest of a sweep, when a child has failed.
    """
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            for child in thread._child_processes:
                if sys.exc_info()[0]:
                    child.terminate()
                child.wait()
            thread._child_processes.clear()


def leave_process_group() -> None:
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
