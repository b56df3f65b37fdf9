"""Data sets in CSV files: a row is an object; `csv_dialects` says what the columns are.

Boxes are pixels, 0-based and half-open, of the image as it is shown, or as the camera stored it
where only that has the width and height of the row.
"""

import csv
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssd.data.boxes import CLIPPED
from ssd.data.checks import Report
from ssd.data.columns import ALL, Columns, Records, renamed
from ssd.data.csv.dialects import Dialect, dialect_of, twice
from ssd.data.csv.images import ImageFinder
from ssd.data.csv.rows import NO_OBJECT, Reading, Rows, split_names
from ssd.data.images.headers import Header
from ssd.data.images.reading import agreed_size, found_header
from ssd.data.images.turning import turned_box
from ssd.data.paths import shown

STAGE = re.compile(r"(?<![a-z])(train(ing|val)?|val(id|idation)?|test(ing)?)\d*(?![a-z])", re.I)
DESCRIPTIONS = "*class-descriptions*.csv"  # what Open Images' classes are called
ROUNDING = 1e-6  # pixels; the sum of x and width misses the border by less
STORED = "images have boxes of before EXIF turns them; the boxes are turned too"


class Source(NamedTuple):
    """A file, or its rows of a split where it has a column of splits."""

    path: Path
    dialect: Dialect
    split: str | None


class Picture(NamedTuple):
    file: Path
    header: Header
    turned: bool  # whether its boxes are of the picture before EXIF turns it


def recognises(root: Path) -> bool:
    """Whether a folder, or one below it, has a CSV file with the columns of objects."""
    return bool(tables(root))


def splits(root: Path) -> list[str]:
    """What the column of splits says, or the names of files: none where there is a single one that
    is not called after a split."""
    return list(dict.fromkeys(source.split for source in sources(root) if source.split))


def read(root: Path, split: str, report: Report, columns: Columns) -> None:
    """The images of a split, or of ALL, in the order of the file."""
    every = sources(root)
    chosen = [source for source in every if split in (ALL, source.split)]
    if not chosen:
        known = ", ".join(source.split for source in every if source.split)
        there = f"there are {known}" if known else "no file or column names splits"
        raise ValueError(f"{root}: no split {split}; {there}, and {ALL} is every image")
    for source in chosen:
        rows = Reading(source.path, source.dialect, source.split, report).rows()
        found = records(root, rows, opened(root, source, rows, report), source, report)
        columns.extend(renamed(found, described(root, source)))


def tables(root: Path) -> list[tuple[Path, Dialect]]:
    """The files that list objects: at the root, or else in the folders there."""
    for pattern in ("[!.]*.[ct]sv", "[!.]*/[!.]*.[ct]sv"):
        files = [path for path in sorted(root.glob(pattern)) if path.is_file()]
        found = [(path, dialect_of(path)) for path in files]
        known = [(path, dialect) for path, dialect in found if dialect]
        if known:
            return known
    return []


def sources(root: Path) -> list[Source]:
    found = tables(root)
    if not found:
        raise ValueError(
            f"{root}: no CSV file has columns for the image, the class and the box, as "
            "filename,class,xmin,ymin,xmax,ymax"
        )
    every = []
    for path, dialect in found:
        if columns := twice(dialect):
            raise ValueError(f"{path}:1: columns {columns} mean the same; which? Rename the other")
        if "split" in dialect.places:
            every += [Source(path, dialect, split) for split in split_names(path, dialect)]
        else:
            own = path.stem if len(found) > 1 else None
            every.append(Source(path, dialect, called(root, path) or own))
    return every


def called(root: Path, path: Path) -> str | None:
    """The split in the name of a file, as in train_labels.csv, or of its folder."""
    match = STAGE.search(path.stem)
    if match is None and path.parent != root:
        match = STAGE.search(path.parent.name)
    return match and match[0]


def opened(root: Path, source: Source, rows: Rows, report: Report) -> dict[int, Picture]:
    """The images whose header can be read, by their place in `rows.images`."""
    finder = ImageFinder(root, source.path, source.split)
    firsts = np.unique(rows.image, return_index=True)[1]
    for row in np.flatnonzero((rows.sizes != rows.sizes[firsts][rows.image]).any(axis=1)):
        said = f"width and height are not those of line {rows.lines[firsts[rows.image[row]]]}"
        report.fault(
            "bad_annotation", f"{source.path}:{rows.lines[row]}: {said}, of the same image"
        )
    found = {}
    for number, (name, first) in enumerate(zip(rows.images, firsts.tolist(), strict=True)):
        where = f"{source.path}:{rows.lines[first]}"
        width, height = map(int, rows.sizes[first].tolist())
        size = (width, height) if width > 0 and height > 0 else None  # some tools write 0 for none
        picture = open_picture(finder, name, size, where, report)
        if picture:
            found[number] = picture
    return found


def open_picture(
    finder: ImageFinder, name: str, size: tuple[int, int] | None, where: str, report: Report
) -> Picture | None:
    """An image, or None where it is a fault. size: as the row has it; where: file:line"""
    try:
        file = finder.find(name, where)
    except ValueError as error:
        report.fault("bad_annotation", str(error))
        return None
    if file is None:
        homes = ", ".join(map(str, finder.homes))
        report.fault("bad_image", f"{where}: no image {shown(name)} in {homes}")
        return None
    header = found_header(file, report)
    if header is None:
        return None
    if size == header.stored != header.size:
        report.note(STORED)
        return Picture(file, header, True)
    if agreed_size(header, file, size, Path(where), report) is None:
        return None
    return Picture(file, header, False)


def records(
    root: Path, rows: Rows, pictures: dict[int, Picture], source: Source, report: Report
) -> Records:
    """Columns of the images that were opened, and of all that is in them."""
    found = list(pictures.values())
    place = np.full(len(rows.images), -1)
    place[list(pictures)] = np.arange(len(found))
    sizes = np.array([picture.header.size for picture in found], np.int64).reshape(-1, 2)
    kept = np.flatnonzero((rows.name != NO_OBJECT) & (place[rows.image] >= 0))
    kept = kept[np.argsort(place[rows.image[kept]], kind="stable")]
    image = place[rows.image[kept]]
    boxes = rows.boxes[kept]
    if source.dialect.fractions:
        boxes = boxes * sizes[image][:, [0, 1, 0, 1]]
    for row in np.flatnonzero(np.array([picture.turned for picture in found], bool)[image]):
        header = found[image[row]].header
        boxes[row] = turned_box(tuple(boxes[row]), header.orientation, header.stored)
    boxes, good = checked(boxes, sizes[image], kept, rows, source, report)
    kept, counts = kept[good], np.bincount(image[good], minlength=len(found))
    return Records(
        ids=[picture.file.relative_to(root).as_posix() for picture in found],
        files=[str(picture.file) for picture in found],
        sizes=sizes,
        starts=np.concatenate([[0], counts.cumsum()]).astype(np.int64),
        boxes=boxes[good],
        names=rows.name[kept],
        difficult=rows.crowd[kept],
        crowd=rows.crowd[kept],
        vocabulary=rows.names,
    )


def checked(
    boxes: np.ndarray,
    sizes: np.ndarray,
    kept: np.ndarray,
    rows: Rows,
    source: Source,
    report: Report,
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes clipped to their images, and which hold something of them; the others are faults.

    boxes: (N, 4) xyxy pixels; sizes: (N, 2) of their images; kept: (N,) which of `rows` they are
    returns: (N, 4) and (N,) bool
    """
    report.boxes += len(boxes)
    inside = boxes.clip(0, sizes[:, [0, 1, 0, 1]])
    flat = (boxes[:, :2] >= boxes[:, 2:]).any(axis=1)
    good = ~flat & (inside[:, :2] < inside[:, 2:]).all(axis=1)
    for index in np.flatnonzero(~good):
        row = kept[index]
        where = f"{source.path}:{rows.lines[row]}: {rows.names[rows.name[row]]}"
        width, height = sizes[index]
        why = "no width or height" if flat[index] else f"outside the {width}x{height} image"
        corners = ", ".join(f"{value:g}" for value in boxes[index])
        report.fault("bad_box", f"{where}: {why} (xmin, ymin, xmax, ymax {corners})")
    clipped = good & (np.abs(inside - boxes) > ROUNDING).any(axis=1)
    if clipped.any():
        report.note(CLIPPED, int(clipped.sum()))
    return inside, good


def described(root: Path, source: Source) -> dict[str, str]:
    """What Open Images' classes are called, by their ids as /m/01g317, where a file says it."""
    if not source.dialect.fractions:
        return {}
    found = {}
    for path in [*root.glob(DESCRIPTIONS), *source.path.parent.glob(DESCRIPTIONS)]:
        with path.open(newline="", encoding="utf-8-sig") as file:
            found.update(row[:2] for row in csv.reader(file) if len(row) > 1)
    return found
