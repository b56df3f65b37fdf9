"""Boxes as files have them, counted from 0 and checked against their images: every reader's last
step."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ssd.data.checks import Report
from ssd.data.columns import Object
from ssd.errors import ConfigError

VOC_PIXEL = 1  # what VOC calls the first pixel
CLIPPED = "boxes reach over their image and are clipped to it"
ROUNDING = 1e-6  # pixels; the sum of x and width misses the border by less


class Place(NamedTuple):
    """Where a box stands, for messages."""

    where: str  # file, and line or record
    written: str  # the box as it is written there
    file: str  # of its image


def check_first_pixel(first_pixel: int | None) -> None:
    if first_pixel is not None and (type(first_pixel) is not int or first_pixel not in (0, 1)):
        raise ConfigError(
            f"data.first_pixel={first_pixel}: give null for the format's own way, 0, or 1 as VOC"
        )


def counted_from_0(boxes: np.ndarray, first_pixel: int) -> np.ndarray:
    """0-based and half-open boxes; nothing else subtracts one. (N, 4), both

    boxes: left, top, and either right and bottom, the last pixels inside where the first pixel is
    1, or width and height
    """
    return boxes - (first_pixel, first_pixel, 0, 0)


def checked(
    boxes: np.ndarray,
    sizes: np.ndarray,
    place: Callable[[int], Place],
    report: Report,
    inclusive: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes clipped to their images, and which hold something of them; the others are faults.

    boxes: (N, 4) xyxy pixels of the images as they are shown, 0-based and half-open; sizes: (N, 2)
    of their images, or (2,) of the one that has them all; place: of box i
    inclusive: whether files name the last pixel inside, as VOC's; where it is the first one too,
    that is a slip of a tool, and not one pixel wide
    returns: (N, 4) and (N,) bool
    """
    report.boxes += len(boxes)
    inside = boxes.clip(0, np.concatenate([sizes, sizes], axis=-1))
    flat = (boxes[:, :2] + inclusive >= boxes[:, 2:]).any(axis=1)
    good = ~flat & (inside[:, :2] < inside[:, 2:]).all(axis=1)
    for index in np.flatnonzero(~good).tolist():
        where, written, file = place(index)
        width, height = sizes[index] if sizes.ndim > 1 else sizes
        why = "no width or height" if flat[index] else f"outside the {width}x{height} image"
        box = tuple(boxes[index].tolist())
        report.fault("bad_box", f"{where}: {why} ({written})", file, box)
    clipped = good & (np.abs(inside - boxes) > ROUNDING).any(axis=1)
    if clipped.any():
        report.note(CLIPPED, int(clipped.sum()))
    return inside, good


def boxes_of(objects: Sequence[Object]) -> np.ndarray:
    """(N, 4)"""
    return np.array([item.box for item in objects], np.float64).reshape(-1, 4)


def with_boxes(objects: Sequence[Object], boxes: np.ndarray, chosen: np.ndarray) -> list[Object]:
    """The chosen ones of the objects, with other boxes. boxes: (N, 4); chosen: (N,) bool"""
    return [
        item._replace(box=tuple(box))
        for item, box, kept in zip(objects, boxes.tolist(), chosen.tolist(), strict=True)
        if kept
    ]


def corners(box: Sequence[float]) -> str:
    """xyxy, as messages have it."""
    return "xmin {:g}, ymin {:g}, xmax {:g}, ymax {:g}".format(*box)
