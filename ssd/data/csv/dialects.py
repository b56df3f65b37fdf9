"""What the columns of a CSV file mean, told from its first line, never guessed from values."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ssd.data.images.folders import is_image

DELIMITERS = ",;\t"
MOST_HEADER_BYTES = 2**16

# The names of each column, the likeliest first, without capitals, spaces and signs
ROLES = {
    "image": ("filename", "file", "image", "imagefilename", "imagename", "imagepath", "imgpath",
              "filepath", "path", "imageid"),
    "class": ("class", "classname", "label", "labelname", "name", "category", "categoryname"),
    "x1": ("xmin", "x1", "left", "bboxxmin", "bboxx1"),
    "y1": ("ymin", "y1", "top", "bboxymin", "bboxy1"),
    "x2": ("xmax", "x2", "right", "bboxxmax", "bboxx2"),
    "y2": ("ymax", "y2", "bottom", "bboxymax", "bboxy2"),
    "x": ("x", "bboxx"),
    "y": ("y", "bboxy"),
    "w": ("w", "bboxw", "bboxwidth"),
    "h": ("h", "bboxh", "bboxheight"),
    "width": ("width", "imagewidth", "imgwidth", "imgw"),
    "height": ("height", "imageheight", "imgheight", "imgh"),
    "split": ("split", "set", "subset"),
    "crowd": ("isgroupof", "iscrowd"),
}  # fmt: skip
CORNERS = ("x1", "y1", "x2", "y2")
OPEN_IMAGES = {"ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"}  # fractions, not pixels
RETINANET = ("image", *CORNERS, "class")  # the columns of its files, which have no header


class Dialect(NamedTuple):
    delimiter: str
    header: bool  # whether the first line names the columns
    names: list[str]  # of all columns, to be shown
    places: dict[str, int]  # of the columns that mean something: image, class and others of ROLES
    box: tuple[str, ...]  # roles of the box: two corners, or a corner and the sizes
    size: tuple[str, ...]  # roles of the image's width and height, or none
    fractions: bool  # whether boxes are fractions of the image


def dialect_of(path: Path) -> Dialect | None:
    """How a file is to be read; None where its columns are not those of objects."""
    with path.open("rb") as file:
        line = file.readline(MOST_HEADER_BYTES).decode("utf-8-sig", errors="replace")
    for delimiter in DELIMITERS:
        try:
            row = next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:
            continue
        dialect = named(row, delimiter) or unnamed(row, delimiter)
        if dialect:
            return dialect
    return None


def named(row: Sequence[str], delimiter: str) -> Dialect | None:
    """The dialect of a header."""
    keys = [re.sub(r"[\W_]", "", name.casefold()) for name in row]
    places = {
        role: keys.index(key)
        for role, names in ROLES.items()
        for key in reversed(names)
        if key in keys
    }
    box = box_roles(places)
    if not box or not {"image", "class"} <= places.keys():
        return None
    size = ("width", "height")
    if "width" in box or not set(size) <= places.keys():
        size = ()
    return Dialect(delimiter, True, list(row), places, box, size, set(row) >= OPEN_IMAGES)


def box_roles(places: dict[str, int]) -> tuple[str, ...] | None:
    """The columns of boxes: corners, or left and top with sizes, which width and height are where
    nothing else is a size."""
    if set(CORNERS) <= places.keys():
        return CORNERS
    for left in (("x", "y"), ("x1", "y1")):
        for size in (("w", "h"), ("width", "height")):
            if {*left, *size} <= places.keys():
                return left + size
    return None


def unnamed(row: Sequence[str], delimiter: str) -> Dialect | None:
    """The dialect of a first row of RetinaNet's: path,x1,y1,x2,y2,class, the last five empty where
    an image has no objects."""
    if len(row) != len(RETINANET) or not is_image(Path(row[0]).name or "."):
        return None
    numbers = [re.fullmatch(r"\s*-?\d+(\.\d*)?\s*", cell) for cell in row[1:5]]
    if not all(numbers) and any(cell.strip() for cell in row[1:]):
        return None
    places = {role: place for place, role in enumerate(RETINANET)}
    return Dialect(delimiter, False, list(RETINANET), places, CORNERS, (), False)


def twice(dialect: Dialect) -> str | None:
    """Two columns of one meaning, or None; which of them is meant nobody can tell."""
    for role in ("class", *dialect.box):
        names = [n for n in dialect.names if re.sub(r"[\W_]", "", n.casefold()) in ROLES[role]]
        if len(names) > 1:
            return " and ".join(names)
    return None
