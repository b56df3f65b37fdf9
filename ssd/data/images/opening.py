"""The images of annotations, opened as far as their headers: what every format asks of them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssd.data.checks import Report
from ssd.data.images.headers import Header
from ssd.data.images.reading import read_header
from ssd.data.images.turning import turned_box
from ssd.data.paths import check_link

TURNED = "images have boxes of before EXIF turns them; the boxes are turned too"


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
    if annotated in (None, header.size):
        return Opened(header, False)
    if annotated == header.stored:
        report.note(TURNED)
        return Opened(header, True)
    sides = ["{}x{}".format(*size) for size in (annotated, header.size)]
    message = f"{where}: size is {sides[0]}, but {Path(file).name} is {sides[1]}"
    report.fault("size_mismatch", message, file)
    return None
