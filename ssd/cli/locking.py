"""One run in a folder at a time."""

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig

from ssd.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows has no such locks: there nobody looks
    fcntl = None

log = logging.getLogger(__name__)

LOCK = ".lock"  # in the run folder


class FolderTakenError(ConfigError):
    """Another run is at work in the folder; nothing of it is to be touched."""


def alone_in_its_folder(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """A task that is refused where another process runs in its folder."""

    @wraps(task)
    def guarded(cfg: DictConfig) -> Any:
        from pytorch_lightning.utilities.rank_zero import rank_zero_only

        if rank_zero_only.rank != 0:  # of a run whose first process has the folder
            return task(cfg)
        with locked(Path(cfg.run_dir)):
            return task(cfg)

    return guarded


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process. The system lets go of it when the process ends, however it
    does; forks, as data workers are, do not hold on to it."""
    with (folder / LOCK).open("a+") as file:
        if fcntl:
            take(file, folder)
        yield


def take(file: IO[str], folder: Path) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        raise FolderTakenError(
            f"{folder}: {file.read().strip() or 'another process'} trains in this folder now; wait "
            "until it has ended, or give another hydra.run.dir"
        ) from error
    except OSError as error:  # as of a network file system without locks
        log.warning("%s: a second run here would not be noticed: %s", folder, error)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
