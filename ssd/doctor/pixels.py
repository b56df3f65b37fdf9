"""Every image decoded to its last pixel: reading before training goes no further than headers."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ssd.data.images.reading import read_image, read_size
from ssd.doctor.progress import Progress


def damaged(files: Sequence[str], progress: Progress) -> dict[str, str]:
    """The images that cannot be decoded, and why."""
    found = {}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # decoders let go of the GIL
        for done, (file, fault) in enumerate(zip(files, pool.map(why, files), strict=True), 1):
            if fault:
                found[file] = fault
            progress(done, len(files))
    return found


def why(file: str) -> str | None:
    try:
        height, width, _ = read_image(file).shape
    except ValueError as error:
        return str(error)
    if (width, height) == read_size(file):
        return None
    return f"{file}: its pixels are {width}x{height}, its header says another size"
