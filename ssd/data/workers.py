"""The processes that load batches: what they do on signals, and what they need of the system."""

import logging
import multiprocessing
import os
import shutil
import signal
import threading

try:
    import resource
except ImportError:  # Windows, which has no such limits
    resource = None

log = logging.getLogger(__name__)

SHARED = "/dev/shm"  # where batches pass from the workers
AHEAD = 2  # batches that each worker has ready
LOADERS = 2  # of training and of validation, whose workers stay
FILES = 16  # open at once for each worker: its pipes, and the columns of its batches
BASE_FILES = 64  # of the process itself
LOOK_EVERY = 5  # seconds, whether the process that trains is alive


def start_worker(_: int) -> None:
    """Leave signals to the process that trains, which ends its step and then its workers.

    Ctrl-C, `timeout` and clusters signal all processes of a run: a worker that ended by it would
    take the step at work with it. From its own parent a worker takes SIGTERM, which ends one that
    hangs. Samples are pure functions of their keys, so there is nothing to seed.
    """
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "sigtimedwait"):  # macOS does not say who sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # by threads that do not block it
        threading.Thread(target=end_by_parent, daemon=True).start()


def end_by_parent() -> None:
    """End by a SIGTERM of the process that trains, or without it.

    torch asks whether the process is alive that a worker was forked from. Where a server forks them
    (Python's default from 3.14 on) that is the server, which lives as long as any of them: a run
    that was killed would leave them for ever.
    """
    trains = multiprocessing.parent_process()
    while trains.is_alive():
        came = signal.sigtimedwait({signal.SIGTERM}, LOOK_EVERY)
        if came and came.si_pid == trains.pid:
            break
    os._exit(0)


def check_limits(workers: int, batch_size: int, image_size: tuple[int, int]) -> None:
    """Warn where the system gives the workers too little memory to share, or too few open files:
    the one ends in a bus error, the other in a worker that cannot speak.

    batch_size: of one device and part; image_size: (height, width)
    """
    if not workers:
        return
    needed = workers * AHEAD * LOADERS * batch_size * 3 * image_size[0] * image_size[1]
    if os.path.isdir(SHARED) and (free := shutil.disk_usage(SHARED).free) < needed:
        log.warning(
            "data.num_workers=%d of this batch and image size may need %d MB of %s, which has %d "
            "MB; give it more (docker run --shm-size=%dm), or take fewer workers",
            workers, needed // 2**20 + 1, SHARED, free // 2**20, needed // 2**19 + 64,
        )  # fmt: skip
    if resource is None:
        return
    limit, needed = resource.getrlimit(resource.RLIMIT_NOFILE)[0], BASE_FILES + FILES * workers
    if 0 <= limit < needed:
        log.warning(
            "data.num_workers=%d may open %d files at once, and this shell allows %d: "
            "ulimit -n 4096, or fewer workers",
            workers, needed, limit,
        )  # fmt: skip
