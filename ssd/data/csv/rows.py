"""The rows of a CSV file as columns of numbers, a block at a time."""

import csv
import math
from collections.abc import Iterator, Sequence
from itertools import compress, islice, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssd.data.boxes import counted_from_0
from ssd.data.checks import Report
from ssd.data.csv.dialects import CORNERS, Dialect
from ssd.data.paths import is_name, shown

BLOCK = 2**9  # rows; fewer than Python's garbage collector would walk through again and again
NO_OBJECT = -1  # the class of a row that names an image alone
CROWD = {"1": 1, "true": 1, "0": 0, "false": 0, "-1": 0, "": 0}  # Open Images' -1: unknown
LARGEST = 2.0**63  # that is a number of a box; sums and products of larger ones overflow
WHAT = {"image": "an image's name", "class": "a class's name", "crowd": "0 or 1"}  # or a number


class Rows(NamedTuple):
    """What the rows of a file say, R of them; the images and classes are numbered as they come."""

    images: list[str]
    names: list[str]
    image: np.ndarray  # (R,) int64 index into `images`
    name: np.ndarray  # (R,) int64 index into `names`, or NO_OBJECT
    boxes: np.ndarray  # (R, 4) float64 xyxy from 0, pixels or fractions as the dialect has it
    crowd: np.ndarray  # (R,) bool
    sizes: np.ndarray  # (R, 2) float64 width and height of the image; 0 where not said
    lines: np.ndarray  # (R,) int64 line of the file


class Block(NamedTuple):
    first: int  # line of the file
    rows: list[list[str]]


def blocks(path: Path, dialect: Dialect) -> Iterator[Block]:
    """The rows below the header, every line of the file one."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=dialect.delimiter, strict=True)
        first = 1
        try:
            if dialect.header:
                next(reader)
                first = 2
            while rows := list(islice(reader, BLOCK)):
                check_lines(path, first, rows, reader.line_num)
                yield Block(first, rows)
                first += len(rows)
        except csv.Error as error:
            raise ValueError(f"{path}:{reader.line_num}: {error}") from None
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}: after line {first}: not UTF-8 text ({error.reason}); save it as UTF-8"
            ) from None


def check_lines(path: Path, first: int, rows: list[list[str]], last: int) -> None:
    """Every row is one line, or nothing that is said of a line would be right."""
    if last == first + len(rows) - 1:
        return
    for line, row in enumerate(rows, start=first):
        if any("\n" in cell or "\r" in cell for cell in row):
            raise ValueError(f"{path}:{line}: a quote is not closed on its line")


def split_names(path: Path, dialect: Dialect) -> list[str]:
    """What the column of splits says, in the order of the file."""
    place = dialect.places["split"]
    found: dict[str, None] = {}
    for _, rows in blocks(path, dialect):
        found.update(dict.fromkeys(row[place].strip() for row in rows if len(row) > place))
    if "" in found:
        raise ValueError(f"{path}: column {dialect.names[place].strip()} is empty in some rows")
    return list(found)


class Reading:
    """The rows of a file, or those of a split, in the making."""

    def __init__(
        self,
        path: Path,
        dialect: Dialect,
        split: str | None,
        report: Report,
        first_pixel: int,
    ) -> None:
        self.path = path
        self.dialect = dialect
        self.split = split
        self.report = report
        self.first_pixel = first_pixel
        self.images: dict[str, int] = {}
        self.names: dict[str, int] = {}
        self.parts: list[tuple[np.ndarray, ...]] = []
        self.largest = 0.0  # number of a box

    def rows(self) -> Rows:
        for block in blocks(self.path, self.dialect):
            lines, rows = self.chosen(block)
            if rows:
                self.add(lines, list(zip(*rows, strict=True)))
        if not self.images:
            raise ValueError(f"{self.path}: names no images")
        if 0 < self.largest <= 1 and not self.dialect.fractions:
            raise ValueError(
                f"{self.path}: no number of a box is above 1, so they look like fractions; give "
                "pixels, or name the columns as Open Images does: ImageID, LabelName, XMin, XMax, "
                "YMin, YMax"
            )
        columns = [np.concatenate(column) for column in zip(*self.parts, strict=True)]
        return Rows(list(self.images), list(self.names), *columns)

    def chosen(self, block: Block) -> tuple[np.ndarray, list[list[str]]]:
        """The lines and rows of the split, but empty lines and those of other lengths."""
        lines, rows = np.arange(block.first, block.first + len(block.rows)), block.rows
        width = len(self.dialect.names)
        if set(map(len, rows)) != {width}:
            for line, row in zip(lines, rows, strict=True):
                if len(row) != width and any(map(str.strip, row)):
                    self.fault(line, f"has {len(row)} fields, not {width}")
            kept = [index for index, row in enumerate(rows) if len(row) == width]
            lines, rows = lines[kept], [rows[index] for index in kept]
        if "split" in self.dialect.places:
            place = self.dialect.places["split"]
            kept = [index for index, row in enumerate(rows) if row[place].strip() == self.split]
            lines, rows = lines[kept], [rows[index] for index in kept]
        return lines, rows

    def fault(self, line: int, why: str) -> None:
        self.report.fault("bad_annotation", f"{self.path}:{line}: {why}")

    def add(self, lines: np.ndarray, columns: list[tuple[str, ...]]) -> None:
        """Rows of the right length."""
        cells = {role: columns[place] for role, place in self.dialect.places.items()}
        images, names = (list(map(str.strip, cells[role])) for role in ("image", "class"))
        values = {role: numbers(cells[role]) for role in (*self.dialect.box, *self.dialect.size)}
        crowd = [CROWD.get(cell.strip().casefold(), -1) for cell in cells.get("crowd", ())]
        bare = np.array([not name for name in names])  # rows that name an image alone
        for row in np.flatnonzero(bare):
            bare[row] = not any(cells[role][row].strip() for role in self.dialect.box)
        wrong = {
            "image": np.array([not image for image in images]),
            "class": unfit(names) & ~bare,
            "crowd": np.array(crowd, np.int64) < 0,
            **{role: ~np.isfinite(values[role]) & ~bare for role in self.dialect.box},
            **{role: ~np.isfinite(values[role]) for role in self.dialect.size},
        }
        good = self.refuse(wrong, cells, lines)
        box = np.stack([values[role] for role in self.dialect.box], axis=1)
        self.largest = box[good & ~bare].max(initial=self.largest)
        box = counted_from_0(box, self.first_pixel)
        if self.dialect.box != CORNERS:
            box[:, 2:] += box[:, :2]
        size = [values[role] for role in self.dialect.size] or [np.zeros(len(lines))] * 2
        part = (
            numbered(images, self.images, good),
            numbered(names, self.names, good & ~bare),
            box,
            np.array(crowd or [0] * len(lines), bool),
            np.stack(size, axis=1),
            lines,
        )
        self.parts.append(tuple(column[good] for column in part))

    def refuse(
        self, wrong: dict[str, np.ndarray], cells: dict[str, tuple[str, ...]], lines: np.ndarray
    ) -> np.ndarray:
        """Which rows have no wrong cell; each wrong one is a fault. wrong: (R,) bool by role"""
        good = np.ones(len(lines), bool)
        for role, rows in wrong.items():
            for row in np.flatnonzero(rows):
                column = self.dialect.names[self.dialect.places[role]].strip()
                what = WHAT.get(role, "a number that fits an image")
                self.fault(lines[row], f"column {column} is {shown(cells[role][row])}, not {what}")
                good[row] = False
        return good


def unfit(names: Sequence[str]) -> np.ndarray:
    """Which are no names of classes: (R,) bool"""
    wrong = {name for name in set(names) if not is_name(name)}
    return np.fromiter(map(wrong.__contains__, names), np.bool_, len(names))


def numbered(texts: Sequence[str], places: dict[str, int], chosen: np.ndarray) -> np.ndarray:
    """The place of each text among those that there are so far; -1 where it is not chosen."""
    for text in dict.fromkeys(compress(texts, chosen)):
        places.setdefault(text, len(places))
    found = np.fromiter(map(places.get, texts, repeat(-1)), np.int64, len(texts))
    return np.where(chosen, found, -1)


def numbers(cells: Sequence[str]) -> np.ndarray:
    """float64; NaN where a cell is no number of a box or an image."""
    values = parsed(cells)
    return np.where(np.abs(values) <= LARGEST, values, math.nan)


def parsed(cells: Sequence[str]) -> np.ndarray:
    """float64; NaN where a cell is no number."""
    text = "".join(cells)
    if text.isascii() and "_" not in text:  # float() takes other digits, and 1_000
        try:
            return np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            pass
    return np.array([number(cell) for cell in cells])


def number(cell: str) -> float:
    try:
        return float(cell) if cell.isascii() and "_" not in cell else math.nan
    except ValueError:
        return math.nan
