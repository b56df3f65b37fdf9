"""What happens to an image between its file and a batch: its augmentation, and plain resizing.

Geometry is drawn first, on the boxes alone; then only the part of the image that will be seen is
resized, and colour works on that small uint8 picture. Colours, zoom-outs and mirror images are
drawn as torchvision's RandomPhotometricDistort, RandomZoomOut and RandomHorizontalFlip draw them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.nn.functional import interpolate

from ssd.data.crops import Crop, Window


class Augmentation:
    """Mirror images, zoom-outs, crops and colours; every draw is from the generator that is given.

    flip: probability of a mirror image
    zoom_out: probability of laying the image on a canvas up to `zoom_out_side` times its side
    crop: draws the part that is seen of the image, or of its canvas, and says which boxes stay
    colour: probability of each of brightness, contrast, saturation and hue
    brightness, contrast, saturation: largest relative change; hue: largest turn, in turns
    swap_channels: probability of another order of red, green and blue
    fill: RGB around a zoomed-out image
    """

    def __init__(
        self,
        flip: float,
        zoom_out: float,
        zoom_out_side: float,
        crop: Crop,
        colour: float,
        brightness: float,
        contrast: float,
        saturation: float,
        hue: float,
        swap_channels: float,
        fill: Sequence[int],
    ) -> None:
        self.flip = flip
        self.zoom_out = zoom_out
        self.zoom_out_side = zoom_out_side
        self.crop = crop
        self.colour = colour
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.swap_channels = swap_channels
        self.fill = tuple(fill)

    def window(self, boxes: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> Window:
        """Which part of the image's plane is seen. boxes: (G, 4) xyxy pixels, size: (width,
        height)."""
        window = (0, 0, *size)
        if rng.random() < self.zoom_out:
            window = draw_canvas(size, self.zoom_out_side, rng)
        return self.crop.draw(boxes, window, rng) if len(boxes) else window

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
        if rng.random() < self.swap_channels:
            image = np.ascontiguousarray(image[..., rng.permutation(3)])
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
        around = (y1, output[0] - y2, x1, output[1] - x2)
        seen = cv2.copyMakeBorder(seen, *around, cv2.BORDER_CONSTANT, value=tuple(fill))
    return cv2.flip(seen, 1) if view.mirrored else np.ascontiguousarray(seen)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, over as many pixels as become one: torchvision's, and several times as fast as
    OpenCV's mean over areas. image: (H, W, 3) uint8, size: (width, height)"""
    if (image.shape[1], image.shape[0]) == size:
        return image
    pixels = torch.from_numpy(image).unsqueeze(0).permute(0, 3, 1, 2)
    resized = interpolate(pixels, size[::-1], mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1).squeeze(0).numpy()


def place_boxes(boxes: np.ndarray, view: View, output: tuple[int, int]) -> np.ndarray:
    """Boxes as they lie in the input, cut at the border of what is seen of the image.

    boxes: (G, 4) xyxy pixels of the image; returns: (G, 4) float32 xyxy fractions of the input
    """
    left, top, right, bottom = view.source
    x1, y1, x2, y2 = view.target
    height, width = output
    scale = np.array([(x2 - x1) / (right - left), (y2 - y1) / (bottom - top)] * 2)
    low, high = np.array([left, top] * 2), np.array([right, bottom] * 2)
    placed = (boxes.clip(low, high) - low) * scale + (x1, y1, x1, y1)
    placed /= (width, height, width, height)
    if view.mirrored:
        placed[:, [0, 2]] = 1 - placed[:, [2, 0]]
    return placed.astype(np.float32)


def draw_canvas(size: tuple[int, int], most: float, rng: np.random.Generator) -> Window:
    """A larger plane around the image, which lies anywhere on it."""
    width, height = size
    side = rng.uniform(1, most)
    canvas = int(width * side), int(height * side)
    left, top = (int((canvas[i] - size[i]) * rng.random()) for i in (0, 1))
    return -left, -top, canvas[0] - left, canvas[1] - top


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
