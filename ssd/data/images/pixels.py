"""Every image decoded to its last pixel: reading annotations goes no further than headers."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ssd.data.checks import DROP, Report
from ssd.data.columns import Records
from ssd.data.images.reading import read_image, read_size
from ssd.data.progress import Progress, progress


def without_damaged(records: Records, report: Report) -> Records:
    """The images that can be decoded, where the others are to be left out. Else they are all that
    there are, and training stops at the first damaged one."""
    if report.collect or report.policies["bad_image"] != DROP:
        return records
    with progress("pixels") as show:
        found = damaged(records.files, show)
    for file, message in found.items():
        report.fault("bad_image", message, file)
    if not found:
        return records
    return records.subset(np.array([file not in found for file in records.files]))


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
