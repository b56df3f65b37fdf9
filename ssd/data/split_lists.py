"""Splits that were made once, as lists of ids beside the run that they were made for."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssd.data.checks import Report
from ssd.data.columns import Records

FOLDER = "splits"  # of a run; a text file for each stage
LEFT_OUT = "images are in no list of the run's splits and left out: they came after it began"

Lists = Mapping[str, Sequence[str]]  # the ids of each stage


def write_lists(run_dir: Path, lists: Lists | None) -> None:
    """Write a run's lists all at once, in place of those that an earlier start left. None for a run
    whose splits are named by files."""
    folder = run_dir / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    if lists is None:
        return
    making = run_dir / f"{FOLDER}.new"
    making.mkdir(parents=True, exist_ok=True)
    for stage, ids in lists.items():
        lines = "".join(f"{id}\n" for id in ids)
        (making / f"{stage}.txt").write_bytes(os.fsencode(lines))
    making.rename(folder)


def read_lists(run_dir: Path, stages: Sequence[str]) -> dict[str, list[str]] | None:
    """A run's lists, or None where files name its splits."""
    folder = run_dir / FOLDER
    if not folder.is_dir():
        return None
    found = {}
    for stage in stages:
        path = folder / f"{stage}.txt"
        try:
            found[stage] = os.fsdecode(path.read_bytes()).split("\n")[:-1]
        except OSError as error:
            raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    return found


def apart(lists: Lists, fronts: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """The lists of each of several data sets, by what their ids begin with, and without it."""
    for stage, ids in lists.items():
        other = next((id for id in ids if not id.startswith(tuple(fronts))), None)
        if other is not None:
            raise ValueError(
                f"the run's {FOLDER}/{stage}.txt has the image {other} of a data set that is not "
                "given; give data.root= and data.more= as the run has them, or begin a new run"
            )
    return {
        front: {
            stage: [id.removeprefix(front) for id in ids if id.startswith(front)]
            for stage, ids in lists.items()
        }
        for front in fronts
    }


def select(records: Records, lists: Lists, root: Path, report: Report) -> dict[str, Records]:
    """The images of each stage as they are listed, and in that order; all must be there.

    records: all images of a data set; root: its folder
    """
    place = {id: index for index, id in enumerate(records.ids)}
    for stage, ids in lists.items():
        gone = [id for id in ids if id not in place]
        if gone:
            more = f" and {len(gone) - 1} more" if gone[1:] else ""
            raise ValueError(
                f"{root}: the run's {FOLDER}/{stage}.txt has the image {gone[0]}{more}, which the "
                "data set has no more; put it back, or begin a new run"
            )
    listed = {id for ids in lists.values() for id in ids}
    left_out = sum(id not in listed for id in place)
    if left_out:
        report.note(LEFT_OUT, left_out)
    return {
        stage: records.subset(np.array([place[id] for id in ids], np.int64))
        for stage, ids in lists.items()
    }
