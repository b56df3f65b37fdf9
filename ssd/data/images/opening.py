"""The images of annotations, opened as far as their headers: what every format asks of them."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssd.data.checks import Report
from ssd.data.columns import ALL, Columns
from ssd.data.images.folders import is_image
from ssd.data.images.headers import Header
from ssd.data.images.reading import read_header
from ssd.data.images.turning import turned_box
from ssd.data.listings import files_of
from ssd.data.paths import check_link

TURNED = "images have boxes of before EXIF turns them; the boxes are turned too"
EITHER = "images are turned by EXIF, and nothing tells if their boxes are; they are taken as shown"
MISNAMED = "images are of another format than their names say, and are read as what they are"
UNNAMED = "images have no annotation and are left out; one without objects has an empty annotation"
NAMES = {".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}  # others are as called


class Opened(NamedTuple):
    """An image that annotations fit."""

    header: Header
    stored: bool  # whether its boxes are of the picture as the camera stored it

    def shown(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes of the annotated picture in the one that is seen. (N, 4) xyxy pixels, both"""
        if not self.stored:
            return boxes
        stored, orientation = self.header.stored, self.header.orientation
        turned = [turned_box(box, orientation, stored) for box in map(tuple, boxes.tolist())]
        return np.array(turned, np.float64).reshape(-1, 4)


def open_image(
    root: Path, file: str, annotated: tuple[float, float] | None, where: str, report: Report
) -> Opened | None:
    """An image, or None for a fault.

    root: the data folder; annotated: width and height, of the image as it is shown or else as it
    is stored, or None where nothing states them; where: what does, its file and line
    """
    try:
        check_link(root, file)
    except ValueError as error:
        report.fault("bad_annotation", str(error))
        return None
    try:
        header = read_header(file)
    except ValueError as error:
        report.fault("bad_image", str(error), file)
        return None
    suffix = os.path.splitext(file)[1].lower()
    if NAMES.get(suffix, suffix[1:].upper()) != header.format:
        report.note(MISNAMED)
    if annotated in (None, header.size):
        if header.orientation > 1 and annotated in (None, header.stored):
            report.note(EITHER)
        return Opened(header, False)
    if annotated == header.stored:
        report.note(TURNED)
        return Opened(header, True)
    sides = ["{}x{}".format(*size) for size in (annotated, header.size)]
    message = f"{where}: size is {sides[0]}, but {Path(file).name} is {sides[1]}"
    report.fault("size_mismatch", message, file)
    return None


def note_unnamed(root: Path, split: str, columns: Columns, report: Report) -> None:
    """Count the images beside those of a split that no annotation names: of every folder where all
    images were asked for, else of those that are called after the split. The others may be of
    other splits.
    """
    folders = {os.path.dirname(file) for file in columns.files}
    if split != ALL:
        folders = {folder for folder in folders if split in Path(folder).relative_to(root).parts}
    named = {*columns.files, *(fault.file for fault in report.faults)}
    left = sum(
        is_image(name) and os.path.join(folder, name) not in named
        for folder in folders
        for name in files_of(Path(folder))
    )
    if left:
        report.note(UNNAMED, left)
