"""Photographs as cameras store them, turned as EXIF says they are seen."""

from collections.abc import Callable

import numpy as np

# EXIF's orientations, and what makes the shown picture of the stored one.
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, 3) as stored to what is shown; the same array where nothing turns."""
    turn = TURNS.get(orientation)
    return np.ascontiguousarray(turn(pixels)) if turn else pixels


def turned_box(
    box: tuple[float, float, float, float], orientation: int, stored: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A box of the stored picture to one of the shown picture. xyxy pixels

    stored: width and height before the picture is turned
    """
    width, height = stored
    x1, y1, x2, y2 = box
    if orientation in (2, 3, 7, 8):
        x1, x2 = width - x2, width - x1
    if orientation in (3, 4, 6, 7):
        y1, y2 = height - y2, height - y1
    return (x1, y1, x2, y2) if orientation < 5 else (y1, x1, y2, x2)
