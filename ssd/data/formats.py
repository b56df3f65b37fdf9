"""The formats of annotations, and which one a folder is in.

A format is a module with
    recognises(root) -> bool                       whether a folder is in it
    splits(root) -> list[str]                      the names of the splits that there are
    read(root, split, report, columns, first_pixel) -> None
        the images of a split, or of ALL, into columns; first_pixel: 0 or 1 as files count, or None
        for the format's own way
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from ssd.data.checks import Report
from ssd.data.coco import reader as coco
from ssd.data.columns import Columns, Records, count_twice, joined
from ssd.data.csv import reader as csv
from ssd.data.images.pixels import without_damaged
from ssd.data.voc import reader as voc
from ssd.data.yolo import reader as yolo
from ssd.errors import ConfigError

AUTO = "auto"
FORMATS: dict[str, ModuleType] = {"voc": voc, "coco": coco, "yolo": yolo, "csv": csv}
LOOKS = {  # what tells each format
    "voc": "Annotations/*.xml with JPEGImages/",
    "coco": "annotations/instances_*.json, or other JSON files of COCO",
    "yolo": "data.yaml, images/ with labels/, or label files beside the images",
    "csv": "a CSV file with columns as filename,class,xmin,ymin,xmax,ymax",
}
TWICE = "objects are in their image twice, and kept"

Split = str | Sequence[str] | None


def format_of(root: Path, format: str) -> str:
    """The name of a format, given or recognised."""
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; data.root is where the data set lies")
    if format != AUTO:
        if format not in FORMATS:
            raise ConfigError(f"data.format={format}: give one of {AUTO}, {', '.join(FORMATS)}")
        return format
    found = [name for name, reader in FORMATS.items() if reader.recognises(root)]
    if len(found) == 1:
        return found[0]
    looks = "; ".join(f"{name}: {look}" for name, look in LOOKS.items())
    what = f"in several formats: {', '.join(found)}" if found else "in no format that is known"
    raise ValueError(f"{root}: {what}; data.format= says which ({looks})")


def check_split(key: str, split: object) -> None:
    names = split if isinstance(split, list | tuple) else [] if split is None else [split]
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(
                f"data.{key}={split}: {name} is no text but {type(name).__name__}; put it in quotes"
            )


def names_of(split: Split) -> list[str]:
    """The splits that are joined to one: none, one, or several."""
    if split is None:
        return []
    return [split] if isinstance(split, str) else list(split)


def read_split(
    root: Path, format: str, split: Split, report: Report, first_pixel: int | None
) -> Records:
    """The images of a split, or of several one after another; none for None."""
    columns = [Columns() for _ in names_of(split)]
    for name, part in zip(names_of(split), columns, strict=True):
        with report.skipping():
            FORMATS[format].read(root, name, report, part, first_pixel)
    records = joined([part.close() for part in columns])
    seen: dict[str, int] = {}
    for index, id in enumerate(records.ids):
        if seen.setdefault(id, index) < index:
            message = f"{split} of {root}: image {id} is listed twice"
            report.fault("bad_annotation", message, records.files[index])
    if len(seen) < len(records.ids):
        records = records.subset(np.array(list(seen.values())))
    if twice := count_twice(records):
        report.note(TWICE, twice)
    return without_damaged(records, report)
