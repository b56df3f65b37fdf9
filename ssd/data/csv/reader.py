"""Data sets in CSV files: a row is an object; `dialects` says what the columns are.

Boxes are pixels, 0-based and half-open unless data.first_pixel says otherwise, of the image as it
is shown, or as the camera stored it where only that has the width and height of the row.
"""

import csv
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssd.data.boxes import Place, checked, corners
from ssd.data.checks import Report
from ssd.data.columns import ALL, Columns, Records, renamed
from ssd.data.csv.dialects import CORNERS, Dialect, dialect_of, twice
from ssd.data.csv.images import ImageFinder
from ssd.data.csv.rows import NO_OBJECT, Reading, Rows, split_names
from ssd.data.images.opening import Opened, note_unnamed, open_image
from ssd.data.paths import check_link, shown
from ssd.errors import ConfigError

STAGE = re.compile(r"(?<![a-z])(train(ing|val)?|val(id|idation)?|test(ing)?)\d*(?![a-z])", re.I)
DESCRIPTIONS = "*class-descriptions*.csv"  # what Open Images' classes are called


class Source(NamedTuple):
    """A file, or its rows of a split where it has a column of splits."""

    path: Path
    dialect: Dialect
    split: str | None


class Picture(NamedTuple):
    file: Path
    opened: Opened


def recognises(root: Path) -> bool:
    """Whether a folder, or one below it, has a CSV file with the columns of objects."""
    return bool(tables(root))


def splits(root: Path) -> list[str]:
    """What the column of splits says, or the names of files: none where there is a single one that
    is not called after a split."""
    return list(dict.fromkeys(source.split for source in sources(root) if source.split))


def read(root: Path, split: str, report: Report, columns: Columns, first_pixel: int | None) -> None:
    """The images of a split, or of ALL, in the order of the file.

    first_pixel: what files call it, 0 where None: see `boxes.counted_from_0`
    """
    every = sources(root)
    chosen = [source for source in every if split in (ALL, source.split)]
    if not chosen:
        known = ", ".join(source.split for source in every if source.split)
        there = f"there are {known}" if known else "no file or column names splits"
        raise ValueError(f"{root}: no split {split}; {there}, and {ALL} is every image")
    for source in chosen:
        if source.dialect.fractions and first_pixel is not None:
            raise ConfigError(
                f"data.first_pixel={first_pixel}: the boxes of {source.path} are fractions of "
                "their images, where no pixel is counted; give null"
            )
        with report.skipping():
            read_source(root, source, report, columns, first_pixel or 0)
    note_unnamed(root, split, columns, report)


def read_source(
    root: Path, source: Source, report: Report, columns: Columns, first_pixel: int
) -> None:
    rows = Reading(source.path, source.dialect, source.split, report, first_pixel).rows()
    pictures = open_pictures(root, source, rows, report)
    found = records(root, rows, pictures, source, report, first_pixel)
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
        check_link(root, path)
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


def open_pictures(root: Path, source: Source, rows: Rows, report: Report) -> dict[int, Picture]:
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
    opened = open_image(finder.root, str(file), size, where, report)
    return opened and Picture(file, opened)


def records(
    root: Path,
    rows: Rows,
    pictures: dict[int, Picture],
    source: Source,
    report: Report,
    first_pixel: int,
) -> Records:
    """Columns of the images that were opened, and of all that is in them."""
    found = list(pictures.values())
    place = np.full(len(rows.images), -1)
    place[list(pictures)] = np.arange(len(found))
    sizes = np.array([picture.opened.header.size for picture in found], np.int64).reshape(-1, 2)
    kept = np.flatnonzero((rows.name != NO_OBJECT) & (place[rows.image] >= 0))
    kept = kept[np.argsort(place[rows.image[kept]], kind="stable")]
    image = place[rows.image[kept]]

    def place_of(index: int) -> Place:
        row = kept[index]
        where = f"{source.path}:{rows.lines[row]}: {rows.names[rows.name[row]]}"
        x, y, *ends = rows.boxes[row]
        written = corners((x + first_pixel, y + first_pixel, *ends))
        return Place(where, written, str(found[image[index]].file))

    boxes = rows.boxes[kept]
    if source.dialect.fractions:
        boxes = boxes * sizes[image][:, [0, 1, 0, 1]]
    for number, picture in enumerate(found):
        if picture.opened.stored:
            mine = slice(*np.searchsorted(image, (number, number + 1)))
            boxes[mine] = picture.opened.shown(boxes[mine])
    inclusive = first_pixel == 1 and source.dialect.box == CORNERS
    boxes, good = checked(boxes, sizes[image], place_of, report, inclusive)
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


def described(root: Path, source: Source) -> dict[str, str]:
    """What Open Images' classes are called, by their ids as /m/01g317, where a file says it."""
    if not source.dialect.fractions:
        return {}
    found = {}
    for path in [*root.glob(DESCRIPTIONS), *source.path.parent.glob(DESCRIPTIONS)]:
        check_link(root, path)
        if not path.is_file():
            continue
        with path.open(newline="", encoding="utf-8-sig") as file:
            found.update(row[:2] for row in csv.reader(file) if len(row) > 1)
    return found
