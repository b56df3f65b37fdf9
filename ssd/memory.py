"""The memory that a process has freed: kept for what comes next, or given back to the system."""

import ctypes
import sys

# of mallopt, from glibc's malloc.h
TRIM_THRESHOLD, MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Keep what is freed, where the C library is glibc. returns: whether it is

    A step frees and asks for the same hundreds of MB as the one before. By itself glibc gives
    blocks over 32 MiB back at once, and the system hands every new page out zeroed, at its first
    touch: an eighth of a training step of SSD300 on a CPU, a quarter of a prediction. The process
    then stays as large as it has been at its largest.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, -1))
