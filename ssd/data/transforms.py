"""What happens to an image between its file and a batch: the SSD augmentation, and plain resizing.

Geometry is drawn first, on the boxes alone; then only the part of the image that will be seen is
resized, and colour works on that small uint8 picture. The draws are those of torchvision's
RandomPhotometricDistort, RandomZoomOut, RandomIoUCrop and flip, in that order.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ssd.errors import ConfigError

Window = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the image; may leave it


class Augmentation:
    """The paper's data augmentation (section 2.2): every draw is from the generator that is given.

    flip: probability of a mirror image
    zoom_out: probability of laying the image on a canvas up to `zoom_out_side` times its side
    crop_overlaps: one is picked; a crop must overlap some object that much, 1 keeps the whole
    crop_scale: smallest side of a crop as a share of the image's; crop_aspect: largest aspect ratio
    crop_trials: draws for one overlap before another is picked
    colour: probability of each of brightness, contrast, saturation and hue
    brightness, contrast, saturation: largest relative change; hue: largest turn, in turns
    fill: RGB around a zoomed-out image
    """

    def __init__(
        self,
        flip: float,
        zoom_out: float,
        zoom_out_side: float,
        crop_overlaps: Sequence[float],
        crop_scale: float,
        crop_aspect: float,
        crop_trials: int,
        colour: float,
        brightness: float,
        contrast: float,
        saturation: float,
        hue: float,
        fill: Sequence[int],
    ) -> None:
        if 1 not in crop_overlaps:
            raise ConfigError(
                f"augmentation.crop_overlaps={list(crop_overlaps)} needs a 1, the whole image: an "
                "image on which no crop succeeds must keep something"
            )
        self.flip = flip
        self.zoom_out = zoom_out
        self.zoom_out_side = zoom_out_side
        self.crop_overlaps = tuple(crop_overlaps)
        self.crop_scale = crop_scale
        self.crop_aspect = crop_aspect
        self.crop_trials = crop_trials
        self.colour = colour
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.fill = tuple(fill)

    def window(self, boxes: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> Window:
        """Which part of the image's plane is seen. boxes: (G, 4) xyxy pixels, size: (width,
        height)."""
        window = (0, 0, *size)
        if rng.random() < self.zoom_out:
            window = draw_canvas(size, self.zoom_out_side, rng)
        return self.crop(boxes, window, rng) if len(boxes) else window

    def crop(self, boxes: np.ndarray, window: Window, rng: np.random.Generator) -> Window:
        """A part of `window` that overlaps some box whose center it holds, by a drawn overlap."""
        while True:
            overlap = self.crop_overlaps[rng.integers(len(self.crop_overlaps))]
            if overlap >= 1:
                return window
            crops = self.draw_crops(window, rng)
            good = accepted(crops, boxes, overlap)
            if good.any():
                return tuple(int(side) for side in crops[good.argmax()])

    def draw_crops(self, window: Window, rng: np.random.Generator) -> np.ndarray:
        """All trials of one overlap at once. returns: (trials, 4), those of wrong shape left
        out."""
        left, top, right, bottom = window
        width, height = right - left, bottom - top
        draws = rng.random((self.crop_trials, 4))
        sides = self.crop_scale + (1 - self.crop_scale) * draws[:, :2]
        sides = (sides * (width, height)).astype(np.int64)
        corner = ((np.array([width, height]) - sides) * draws[:, 2:]).astype(np.int64)
        sides, corner = sides[sides.min(axis=1) > 0], corner[sides.min(axis=1) > 0]
        aspect = sides[:, 0] / sides[:, 1]
        shaped = np.maximum(aspect, 1 / aspect) <= self.crop_aspect
        corner = corner[shaped] + (left, top)
        return np.concatenate([corner, corner + sides[shaped]], axis=1)

    def mirrored(self, rng: np.random.Generator) -> bool:
        return rng.random() < self.flip

    def recolour(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Photometric distortion. image: (h, w, 3) uint8 RGB; returns: likewise, a new array."""
        chances = rng.random(5)
        changes = rng.uniform(-1, 1, 4)
        bright, contrasted, saturated, hued = chances[:4] < self.colour
        first = chances[4] < 0.5  # contrast comes before or after saturation and hue
        if bright:
            image = cv2.LUT(image, table(1 + self.brightness * changes[0], 0))
        if contrasted and first:
            image = contrast(image, 1 + self.contrast * changes[1])
        if saturated:
            image = saturate(image, 1 + self.saturation * changes[2])
        if hued:
            image = turn_hue(image, self.hue * changes[3])
        if contrasted and not first:
            image = contrast(image, 1 + self.contrast * changes[1])
        return image


class View(NamedTuple):
    """How an image lands in the network's input: `source` of the image is resized to `target`."""

    source: Window
    target: Window  # pixels of the input
    mirrored: bool


def make_view(
    window: Window, size: tuple[int, int], output: tuple[int, int], mirrored: bool
) -> View:
    """The view that shows `window` of an image. size: (width, height), output: (height, width)."""
    height, width = output
    left, top, right, bottom = window
    source = (max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1]))
    across, down = width / (right - left), height / (bottom - top)
    x1, x2 = span(source[0] - left, source[2] - left, across, width)
    y1, y2 = span(source[1] - top, source[3] - top, down, height)
    return View(source, (x1, y1, x2, y2), mirrored)


def span(start: int, end: int, scale: float, limit: int) -> tuple[int, int]:
    """A stretch in whole pixels of the input, at least one of them."""
    first = min(round(start * scale), limit - 1)
    return first, max(round(end * scale), first + 1)


def render(
    image: np.ndarray,
    view: View,
    output: tuple[int, int],
    fill: Sequence[int],
    recolour: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """What the network sees of an image. image: (H, W, 3) uint8; returns: (*output, 3) uint8."""
    left, top, right, bottom = view.source
    x1, y1, x2, y2 = view.target
    seen = resize(image[top:bottom, left:right], (x2 - x1, y2 - y1))
    if recolour:
        seen = recolour(seen)
    if seen.shape[:2] != output:
        canvas = np.empty((*output, 3), np.uint8)
        canvas[:] = fill
        canvas[y1:y2, x1:x2] = seen
        seen = canvas
    return cv2.flip(seen, 1) if view.mirrored else np.ascontiguousarray(seen)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, or the mean over each new pixel's area where the image shrinks to less than
    half."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    shrinks = image.shape[1] > 2 * size[0] or image.shape[0] > 2 * size[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def seen_boxes(
    boxes: np.ndarray, window: Window, view: View, output: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes whose center lies in the window, as they lie in the input, cut at its border.

    boxes: (G, 4) xyxy pixels of the image
    returns: (K, 4) float32 xyxy fractions of the input, and (G,) bool, which were kept
    """
    kept = center_inside(boxes, np.array([window]))[0]
    left, top, right, bottom = view.source
    x1, y1, x2, y2 = view.target
    height, width = output
    scale = np.array([(x2 - x1) / (right - left), (y2 - y1) / (bottom - top)] * 2)
    low, high = np.array([left, top] * 2), np.array([right, bottom] * 2)
    placed = (boxes[kept].clip(low, high) - low) * scale + (x1, y1, x1, y1)
    placed /= (width, height, width, height)
    if view.mirrored:
        placed[:, [0, 2]] = 1 - placed[:, [2, 0]]
    return placed.astype(np.float32), kept


def draw_canvas(size: tuple[int, int], most: float, rng: np.random.Generator) -> Window:
    """A larger plane around the image, which lies anywhere on it."""
    width, height = size
    side = rng.uniform(1, most)
    canvas = int(width * side), int(height * side)
    left, top = (int((canvas[i] - size[i]) * rng.random()) for i in (0, 1))
    return -left, -top, canvas[0] - left, canvas[1] - top


def accepted(crops: np.ndarray, boxes: np.ndarray, overlap: float) -> np.ndarray:
    """Crops that hold the center of a box and overlap one such by `overlap` or more.

    crops: (T, 4), boxes: (G, 4), both xyxy pixels; returns: (T,) bool
    """
    inside = center_inside(boxes, crops)
    low = np.maximum(crops[:, None, :2], boxes[:, :2])  # (T, G, 2)
    high = np.minimum(crops[:, None, 2:], boxes[:, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas = (crops[:, 2:] - crops[:, :2]).prod(axis=1)[:, None]
    iou = shared / (areas + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared)
    return (inside & (iou >= overlap)).any(axis=1)


def center_inside(boxes: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Whether a window holds a box's center. boxes: (G, 4), windows: (T, 4); returns: (T, G)
    bool."""
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((windows[:, None, :2] < center) & (center < windows[:, None, 2:])).all(axis=2)


def table(factor: float, shift: float) -> np.ndarray:
    """The 256 values of factor * pixel + shift."""
    return (np.arange(256) * factor + shift).clip(0, 255).round().astype(np.uint8)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Away from the mean gray of the image, or towards it."""
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    return cv2.LUT(image, table(factor, (1 - factor) * mean))


def saturate(image: np.ndarray, factor: float) -> np.ndarray:
    """Away from each pixel's gray, or towards it."""
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, gray, 1 - factor, 0)


def turn_hue(image: np.ndarray, turns: float) -> np.ndarray:
    """Every colour further round the wheel."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(round(turns * 256) % 256)  # wraps around, as hues do
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
