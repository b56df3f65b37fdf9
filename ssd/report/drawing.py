"""Boxes on pictures, and sheets of pictures. RGB, uint8, (H, W, 3)."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

PALETTE = (  # told apart by most eyes, bright on dark and light pictures; class k has color k - 1
    *((230, 25, 75), (60, 180, 75), (255, 190, 11), (0, 130, 200), (245, 130, 48)),
    *((145, 30, 180), (70, 220, 230), (240, 50, 230), (170, 220, 20), (250, 150, 180)),
    *((0, 128, 128), (190, 150, 255), (154, 99, 36), (128, 0, 0), (100, 230, 160)),
    *((128, 128, 0), (255, 170, 120), (40, 60, 160), (150, 150, 150), (120, 200, 255)),
)
SMALLEST_SIDE = 480  # pixels of the long side; a smaller picture is enlarged to hold its text
BACKGROUND, INK = (245, 245, 245), (40, 40, 40)

Area = tuple[float, float, float, float]  # xyxy, pixels


def color(label: int) -> tuple[int, int, int]:
    return PALETTE[(label - 1) % len(PALETTE)]


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    names: Sequence[str],
    labels: Sequence[int],
    scores: Sequence[float] | None = None,
) -> np.ndarray:
    """`image` with its boxes and their names. The first boxes come first to a free place for text.

    boxes: (N, 4) xyxy, pixels of `image`; names, labels, scores: one for each box, labels from 1
    returns: a copy, enlarged where `image` is small
    """
    picture = Image.fromarray(image)
    scale = max(1.0, SMALLEST_SIDE / max(picture.size))
    if scale > 1:
        larger = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(larger, Image.Resampling.BICUBIC)
    scaled = np.asarray(boxes, dtype=float).reshape(-1, 4) * scale
    areas = [inside(box, picture.size) for box in scaled]
    texts = [printable(name) for name in names]
    if scores is not None:
        texts = [f"{text} {score:.2f}" for text, score in zip(texts, scores, strict=True)]
    draw = ImageDraw.Draw(picture)
    for area, label in reversed([*zip(areas, labels, strict=True)]):  # the first lie on top
        draw.rectangle(area, outline=color(label), width=line_width(area, picture.size))
    taken: list[Area] = []
    largest = max(10, min(max(picture.size) / 36, min(picture.size) / 12))
    for area, label, text in zip(areas, labels, texts, strict=True):
        write_label(draw, picture.size, area, text, color(label), taken, largest)
    return np.asarray(picture)


def inside(box: np.ndarray, size: tuple[int, int]) -> Area:
    """The box inside the picture; Pillow refuses a box whose sides are swapped."""
    x1, x2 = np.clip(box[0::2], 0, size[0] - 1)
    y1, y2 = np.clip(box[1::2], 0, size[1] - 1)
    return float(x1), float(y1), float(max(x1, x2)), float(max(y1, y2))


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu as matplotlib carries it: the names of classes are not always ASCII."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(path, size)


def write_label(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    box: Area,
    text: str,
    paint: tuple[int, int, int],
    taken: list[Area],
    largest: float,
) -> None:
    """Write `text` by its box at the first place that is free, smaller beside a small box.

    largest: pixels of the letters beside a large one
    A small box without a free place stays without text: its color tells the class.
    """
    letters = font(round(np.clip(sides(box)[0] / 5, max(10, 0.6 * largest), largest)))
    left, top, right, bottom = draw.textbbox((0, 0), text, font=letters)
    edge = max(3, letters.size // 6)
    wide, high = right - left + 2 * edge, bottom - top + 2 * edge
    spots = places(box, wide, high, size)
    free = [spot for spot in spots if not any(overlap(spot, other) for other in taken)]
    if not free and (sides(box)[0] < wide or sides(box)[1] < 3 * high):
        return
    spot = (free or spots)[0]
    taken.append(spot)
    draw.rectangle(spot, fill=paint)
    bright = np.dot(paint, (0.299, 0.587, 0.114)) > 140
    corner = (spot[0] + edge - left, spot[1] + edge - top)
    draw.text(corner, text, fill="black" if bright else "white", font=letters)


def sides(box: Area) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def line_width(box: Area, size: tuple[int, int]) -> int:
    """Thick enough for the picture, not so thick that it fills a small box."""
    return max(2, round(min(max(size) / 300, min(size) / 100, min(sides(box)) / 5)))


def places(box: Area, wide: float, high: float, size: tuple[int, int]) -> list[Area]:
    """Where a text may stand: over the box, under it, in a corner; never outside the picture."""
    x1, y1, x2, y2 = box
    corners = [(x1, y1 - high), (x2 - wide, y1 - high), (x1, y2), (x2 - wide, y2)]
    if sides(box)[1] > 3 * high:  # else the text would hide what it names
        corners += [(x1, y1), (x2 - wide, y2 - high)]
    areas = []
    for x, y in corners:
        left = min(max(x, 0), max(size[0] - 1 - wide, 0))
        top = min(max(y, 0), max(size[1] - 1 - high, 0))
        areas.append((left, top, left + wide, top + high))
    return areas


def overlap(a: Area, b: Area) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures of one height with a gap: what is true and what was found."""
    gap = np.full((left.shape[0], 6, 3), BACKGROUND, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def sheet(
    images: Sequence[np.ndarray], columns: int, titles: Sequence[str] | None = None
) -> np.ndarray:
    """A contact sheet: pictures in rows, each centered in its cell under its title."""
    if not images:
        return np.full((SMALLEST_SIDE, SMALLEST_SIDE, 3), BACKGROUND, np.uint8)
    columns = min(columns, len(images))
    wide, high = (max(image.shape[axis] for image in images) for axis in (1, 0))
    margin = max(12, wide // 50)
    head = 2 * margin if titles else 0
    rows = -(-len(images) // columns)
    step_x, step_y = wide + margin, high + head + margin
    canvas = Image.new("RGB", (columns * step_x + margin, rows * step_y + margin), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        x, y = margin + column * step_x, margin + row * step_y
        if titles:
            text = printable(titles[index])
            draw.text((x, y + head // 2), text, fill=INK, font=font(int(1.2 * margin)), anchor="lm")
        left, top = (wide - image.shape[1]) // 2, (high - image.shape[0]) // 2
        canvas.paste(Image.fromarray(image), (x + left, y + head + top))
    return np.asarray(canvas)
