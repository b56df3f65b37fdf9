"""The formats of annotations, and which one a folder is in.

A format is a module with
    recognises(root) -> bool                       whether a folder is in it
    splits(root) -> list[str]                      the names of the splits that there are
    read(root, split, report, columns) -> None     the images of a split, or of ALL, into columns
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ssd.data.checks import Report
from ssd.data.coco import reader as coco
from ssd.data.columns import Columns, Records, joined
from ssd.data.csv import reader as csv
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


def names_of(split: Split) -> list[str]:
    """The splits that are joined to one: none, one, or several."""
    if split is None:
        return []
    return [split] if isinstance(split, str) else list(split)


def read_split(root: Path, format: str, split: Split, report: Report) -> Records:
    """The images of a split, or of several one after another; none for None."""
    columns = [Columns() for _ in names_of(split)]
    for name, part in zip(names_of(split), columns, strict=True):
        FORMATS[format].read(root, name, report, part)
    records = joined([part.close() for part in columns])
    seen: set[str] = set()
    for id in records.ids:
        if id in seen:
            raise ValueError(f"{split} of {root}: image {id} is listed twice")
        seen.add(id)
    return records
