"""Which part of an image is seen, and which of its boxes go with it.

Boxes and windows are xyxy in pixels of the image. All attempts of a crop are drawn at once and the
first good one is taken, which is distributed as trying one after another is.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ssd.errors import ConfigError

Window = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the image; may leave it


class Crop(Protocol):
    """What an augmentation asks of its crop."""

    def draw(self, boxes: np.ndarray, window: Window, rng: np.random.Generator) -> Window:
        """A part of `window`, or all of it. boxes: (G, 4), at least one."""

    def keeps(self, boxes: np.ndarray, window: Window) -> np.ndarray:
        """Which boxes stay where `window` is what is seen. boxes: (G, 4); returns: (G,) bool."""


class WholeImage:
    """No crop: everything is seen and every box stays."""

    def draw(self, boxes: np.ndarray, window: Window, rng: np.random.Generator) -> Window:
        return window

    def keeps(self, boxes: np.ndarray, window: Window) -> np.ndarray:
        return np.ones(len(boxes), bool)


class OverlapCrop:
    """The paper's crop (section 2.2), drawn as torchvision's RandomIoUCrop draws it.

    A crop holds the center of some box and overlaps it by a drawn IoU or more; boxes stay whose
    center it holds.
    overlaps: one is picked, and another after `trials` crops in vain; 1 keeps the whole
    scale: smallest side of a crop as a share of the image's; aspect: its largest aspect ratio
    """

    def __init__(self, overlaps: Sequence[float], scale: float, aspect: float, trials: int) -> None:
        if 1 not in overlaps:
            raise ConfigError(
                f"augmentation.crop.overlaps={list(overlaps)} needs a 1, the whole image: an "
                "image on which no crop succeeds must keep something"
            )
        require(
            "overlaps", list(overlaps), 0 <= min(overlaps) <= max(overlaps) <= 1, "IoUs from 0 to 1"
        )
        require("scale", scale, 0 < scale <= 1, "a share of the image's side, above 0, up to 1")
        number = isinstance(aspect, int | float)
        require("aspect", aspect, number and aspect >= 1, "the largest ratio of sides, 1 or more")
        require("trials", trials, trials >= 1, "at least 1")
        self.overlaps = tuple(overlaps)
        self.scale = scale
        self.aspect = aspect
        self.trials = trials

    def draw(self, boxes: np.ndarray, window: Window, rng: np.random.Generator) -> Window:
        while True:
            overlap = self.overlaps[rng.integers(len(self.overlaps))]
            if overlap >= 1:
                return window
            crops = self.draw_crops(window, rng)
            good = overlapping(crops, boxes, overlap)
            if good.any():
                return as_window(crops[good.argmax()])

    def keeps(self, boxes: np.ndarray, window: Window) -> np.ndarray:
        return center_inside(boxes, np.array([window]))[0]

    def draw_crops(self, window: Window, rng: np.random.Generator) -> np.ndarray:
        """All trials of one overlap. returns: (T, 4), those of wrong shape left out."""
        left, top, right, bottom = window
        width, height = right - left, bottom - top
        draws = rng.random((self.trials, 4))
        sides = self.scale + (1 - self.scale) * draws[:, :2]
        sides = (sides * (width, height)).astype(np.int64)
        corner = ((np.array([width, height]) - sides) * draws[:, 2:]).astype(np.int64)
        sides, corner = sides[sides.min(axis=1) > 0], corner[sides.min(axis=1) > 0]
        aspect = sides[:, 0] / sides[:, 1]
        shaped = np.maximum(aspect, 1 / aspect) <= self.aspect
        corner = corner[shaped] + (left, top)
        return np.concatenate([corner, corner + sides[shaped]], axis=1)


class CoveringCrop:
    """TensorFlow's sample_distorted_bounding_box, which its ports of SSD crop with.

    A crop holds at least a share `covered` of some box's area; boxes stay of which it holds more
    than a share `kept`. Where `trials` crops fail, and for an image without boxes, all is seen;
    TensorFlow crops the latter as if it were one box. The ports also leave boxes as long as they
    were, reaching out of the crop; here they end at its border.

    An attempt draws a ratio of width to height uniformly in `aspect`, then a height uniformly among
    the whole pixels that keep the crop's area in `area`, as shares of the image's, and the crop
    inside the image; its width follows, rounded, and its place is uniform. So small areas are
    likelier than large ones, and no crop is the whole of an image longer than `aspect` allows.

    covered: above 0, or a crop of a zoomed-out image could hold nothing of the image
    """

    def __init__(
        self,
        covered: float,
        kept: float,
        aspect: Sequence[float],
        area: Sequence[float],
        trials: int,
    ) -> None:
        require("covered", covered, 0 < covered <= 1, "a share of a box's area, above 0, up to 1")
        require("kept", kept, 0 <= kept < 1, "a share of a box's area, from 0 to below 1")
        require("aspect", aspect, is_range(aspect), "two ratios above 0, the smaller one first")
        shares = is_range(area) and area[1] <= 1
        require("area", area, shares, "two shares above 0, up to 1, the smaller one first")
        require("trials", trials, trials >= 1, "at least 1")
        self.covered = covered
        self.kept = kept
        self.aspect = tuple(aspect)
        self.area = tuple(area)
        self.trials = trials

    def draw(self, boxes: np.ndarray, window: Window, rng: np.random.Generator) -> Window:
        crops = self.draw_crops(window, rng)
        good = (held_shares(boxes, crops) >= self.covered).any(axis=1)
        return as_window(crops[good.argmax()]) if good.any() else window

    def keeps(self, boxes: np.ndarray, window: Window) -> np.ndarray:
        return held_shares(boxes, np.array([window]))[0] > self.kept

    def draw_crops(self, window: Window, rng: np.random.Generator) -> np.ndarray:
        """All attempts. returns: (T, 4), those left out that miss a limit by rounding."""
        left, top, right, bottom = window
        width, height = right - left, bottom - top
        draws = rng.random((self.trials, 4))
        aspect = self.aspect[0] + (self.aspect[1] - self.aspect[0]) * draws[:, 0]
        least, most = (share * width * height for share in self.area)
        high = np.minimum(np.rint(np.sqrt(most / aspect)), (width + 0.5) // aspect).clip(max=height)
        low = np.minimum(np.rint(np.sqrt(least / aspect)), high)
        tall = low + np.floor((high - low + 1) * draws[:, 1])
        tall += tall * np.rint(tall * aspect) < least  # a pixel against what rounding did
        tall -= tall * np.rint(tall * aspect) > most
        sides = np.stack([np.rint(tall * aspect), tall], axis=1)
        areas = sides.prod(axis=1)
        fits = (sides <= (width, height)).all(axis=1) & (least <= areas) & (areas <= most)
        sides = sides[fits]
        corner = np.floor(((width, height) - sides) * draws[fits, 2:])
        corner += left, top
        return np.concatenate([corner, corner + sides], axis=1)


def require(key: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"augmentation.crop.{key}={value}: give {wanted}")


def is_range(values: object) -> bool:
    """Whether these are two positive numbers, the second no smaller than the first."""
    return isinstance(values, Sequence) and len(values) == 2 and 0 < values[0] <= values[1]


def as_window(crop: np.ndarray) -> Window:
    return tuple(int(side) for side in crop)


def overlapping(crops: np.ndarray, boxes: np.ndarray, overlap: float) -> np.ndarray:
    """Crops that hold the center of a box and overlap one such by `overlap` or more.

    crops: (T, 4), boxes: (G, 4); returns: (T,) bool
    """
    inside = center_inside(boxes, crops)
    shared = shared_areas(boxes, crops)
    areas = (crops[:, 2:] - crops[:, :2]).prod(axis=1)[:, None]
    iou = shared / (areas + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared)
    return (inside & (iou >= overlap)).any(axis=1)


def held_shares(boxes: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """The share of each box's area that lies in a window. boxes: (G, 4), windows: (T, 4); returns:
    (T, G)."""
    boxes = boxes.astype(np.float64)  # in float32 a box that is held whole may count as less
    return shared_areas(boxes, windows) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def shared_areas(boxes: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Square pixels that a window and a box share. boxes: (G, 4), windows: (T, 4); returns:
    (T, G)."""
    low = np.maximum(windows[:, None, :2], boxes[:, :2])  # (T, G, 2)
    high = np.minimum(windows[:, None, 2:], boxes[:, 2:])
    return (high - low).clip(0).prod(axis=2)


def center_inside(boxes: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Whether a window holds a box's center. boxes: (G, 4), windows: (T, 4); returns: (T, G)
    bool."""
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((windows[:, None, :2] < center) & (center < windows[:, None, 2:])).all(axis=2)
