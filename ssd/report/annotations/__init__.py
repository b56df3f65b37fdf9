"""Detections as annotations of their pictures, in the formats that data sets come in.

A format is a module with `write(folder, found, classes)`. What it writes is a data set of one
split, `train`, for which the pictures need only lie where `PICTURES` says: `write` links them.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ssd.errors import ConfigError
from ssd.report.annotations import coco, csv, voc, yolo
from ssd.report.annotations.found import Found

log = logging.getLogger(__name__)

FORMATS: dict[str, ModuleType] = {"coco": coco, "voc": voc, "yolo": yolo, "csv": csv}
PICTURES = {"coco": "images", "voc": "JPEGImages", "yolo": "images", "csv": "images"}
BY_STEM = ("voc", "yolo")  # formats that tell pictures by their names without suffix

__all__ = ["FORMATS", "Found", "check_formats", "write"]


def check_formats(
    formats: Sequence[str], names: Sequence[str], classes: Sequence[str], video: bool
) -> None:
    """Refuse, before any work, formats that there are not or that cannot hold these pictures.

    names: of the pictures; video: whether they are frames
    """
    given = f"formats={list(formats)}"
    for format in formats:
        if format not in FORMATS:
            raise ConfigError(f"{given}: {format} is none of {', '.join(FORMATS)}")
        if format in BY_STEM and video:
            raise ConfigError(
                f"{given}: {format} has a file for each picture file, and frames are none; give "
                "coco or csv"
            )
    if len(set(formats)) < len(formats):
        raise ConfigError(f"{given}: names a format twice; give each once")
    odd = next((name for name in (*names, *classes) if not name.isprintable()), None)
    if odd is not None and set(formats) - {"coco"}:
        raise ConfigError(f"{given}: only coco can hold the name {odd!r}; rename it, or give coco")
    stems: dict[str, str] = {}
    for name in names if set(formats) & set(BY_STEM) else ():
        other = stems.setdefault(os.path.splitext(name)[0], name)
        if other != name:
            raise ConfigError(
                f"{given}: {other} and {name} are one name in {', '.join(BY_STEM)}, which know no "
                "suffix; rename one, or give coco or csv"
            )


def write(
    folder: Path,
    formats: Sequence[str],
    found: Sequence[Found],
    classes: Sequence[str],
    pictures: Path | None,
) -> None:
    """Every format in a folder of its own below `folder`, there when it is whole.

    pictures: where their names begin; None for frames, which are no files
    """
    for format in formats:
        part = folder / f".{format}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        FORMATS[format].write(part, found, classes)
        if pictures:
            names = [one.name for one in found]
            links = yolo.links(names) if format == "yolo" else {"": PICTURES[format]}
            for below, place in links.items():
                link(part / place, pictures / below)
        part.rename(folder / format)


def link(place: Path, pictures: Path) -> None:
    """Nothing is copied; who moves the pictures, or the results to another machine, links them
    anew."""
    place.parent.mkdir(exist_ok=True)
    try:
        place.symlink_to(pictures.resolve(), target_is_directory=True)
    except OSError as error:  # Windows asks for a right to do that
        log.warning("%s: no link could be made (%s); put the pictures there", place, error.strerror)
