"""The embedded data set: drawn shapes in VOC format, made in seconds on first use.

Every picture is a pure function of (seed, split, index). A box holds what is visible of an object.
"""

import json
import logging
import math
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator, SeedSequence, default_rng

SPLITS = ("train", "val", "test")  # the position seeds a split's pictures: append, never reorder
COUNTS = {"train": 3000, "val": 200, "test": 200}
VERSION = 1  # to be raised with any change of what is drawn
RECIPE = "shapes.json"

SIZES = ((192, 160), (160, 192), (176, 176))  # width, height of pictures
OBJECT_SIZES = (13.0, 110.0)  # longer side, pixels
TINY = 24.0  # smaller shapes are nearly upright, on top, whole: few pixels must tell the class
HIDDEN = 0.4  # less of an object visible: difficult
FAINT, CLEAR = 20.0, 70.0  # contrast with what lies beneath: below is difficult; what others get
LUMA = np.array([0.114, 0.587, 0.299], dtype=np.float32)  # BGR; most of a JPEG's detail is in it

log = logging.getLogger(__name__)


def ring(*radii: float, start: float = -90) -> np.ndarray:
    """Corners, (n, 2), around the origin, with equal angles between them; -90 is upwards."""
    angles = np.radians(start + 360 / len(radii) * np.arange(len(radii)))
    return np.array(radii)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


ARM = ((1, -0.3), (1, 0.3), (0.3, 0.3))  # corners of a quarter of a cross
QUARTERS = ring(1, 1, 1, 1, start=0)
OUTLINES = {
    "circle": ring(*[1] * 60),
    "cross": np.vstack([[(x, y) @ np.array([q, (-q[1], q[0])]) for x, y in ARM] for q in QUARTERS]),
    "square": ring(1, 1, 1, 1, start=-45),
    "star": ring(*[1, 0.42] * 5),
    "triangle": ring(1, 1, 1),
}
CLASSES = tuple(OUTLINES)


class Shape(NamedTuple):
    """An object in its picture."""

    name: str
    mask: np.ndarray  # (h, w) uint8 coverage, cut to the picture
    corner: tuple[int, int]  # left, top of the mask in the picture
    box: tuple[int, int, int, int]  # xyxy pixels, 0-based and half-open, of the visible pixels
    visible: float  # share of the whole shape that is neither covered nor outside
    truncated: bool


def draw_shapes(root: Path, counts: Mapping[str, int] = COUNTS, seed: int = 0) -> None:
    """Draw `counts[split]` pictures of each split into the folder `root`, unless they are there.

    The folder appears whole or not at all, also where several processes draw it at once.
    """
    if unknown := set(counts) - set(SPLITS):
        raise ValueError(f"shapes has the splits {', '.join(SPLITS)}, not {', '.join(unknown)}")
    root = Path(root)
    recipe = json.dumps({"version": VERSION, "seed": seed, "counts": dict(counts)}, sort_keys=True)
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        check_recipe(root, recipe)
        return
    log.info("drawing %d pictures of shapes into %s", sum(counts.values()), root)
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as parent:
        folder = Path(parent) / root.name  # has the usual permissions, unlike its parent
        write_voc(folder, counts, seed)
        (folder / RECIPE).write_text(recipe)
        try:
            folder.rename(root)
        except OSError:  # another process was faster, and equal recipes give equal files
            if not (root / RECIPE).exists():
                raise
            check_recipe(root, recipe)


def check_recipe(root: Path, recipe: str) -> None:
    """Raise where `root` holds anything but the data set of this recipe."""
    file = root / RECIPE
    found = file.read_text() if file.is_file() else f"no {RECIPE}"
    if found != recipe:
        raise ValueError(
            f"{root} must hold the shapes {recipe} but holds {found}; "
            "delete that folder or name another one"
        )


def write_voc(folder: Path, counts: Mapping[str, int], seed: int) -> None:
    """Write pictures, annotations and image sets."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    ids = {split: [f"{split}_{i:05d}" for i in range(count)] for split, count in counts.items()}
    ids["trainval"] = ids.get("train", []) + ids.get("val", [])
    for split, names in ids.items():
        (folder / f"ImageSets/Main/{split}.txt").write_text("".join(f"{n}\n" for n in names))
    for split, count in counts.items():
        for index in range(count):
            name = ids[split][index]
            picture, objects = draw_picture(seed, split, index)
            _, jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 92))
            (folder / f"JPEGImages/{name}.jpg").write_bytes(jpeg)
            (folder / f"Annotations/{name}.xml").write_text(voc_xml(name, picture, objects))


def voc_xml(name: str, picture: np.ndarray, objects: list[tuple[Shape, bool]]) -> str:
    """An annotation as VOC has it: corners are 1-based and inclusive."""
    height, width, depth = picture.shape
    lines = [
        f"<annotation>\n<folder>shapes</folder>\n<filename>{name}.jpg</filename>",
        f"<size><width>{width}</width><height>{height}</height><depth>{depth}</depth></size>",
        "<segmented>0</segmented>",
    ]
    for shape, difficult in objects:
        left, top, right, bottom = shape.box
        lines.append(
            f"<object>\n<name>{shape.name}</name><pose>Unspecified</pose>"
            f"<truncated>{shape.truncated:d}</truncated><difficult>{difficult:d}</difficult>\n"
            f"<bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin>"
            f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>\n</object>"
        )
    return "\n".join([*lines, "</annotation>\n"])


def draw_picture(seed: int, split: str, index: int) -> tuple[np.ndarray, list[tuple[Shape, bool]]]:
    """A picture, (H, W, 3) uint8 BGR, and its objects, each with whether it is difficult."""
    rng = default_rng(SeedSequence([seed, SPLITS.index(split), index]))
    width, height = SIZES[rng.integers(len(SIZES))]
    canvas = draw_background(rng, width, height)
    for _ in range(rng.integers(2, 8)):
        draw_clutter(rng, canvas)
    canvas = canvas.astype(np.float32)
    canvas += noise(rng, width, height, blur=1.5) * rng.uniform(0, 8)
    shapes = arrange_shapes(rng, width, height)
    objects = [(shape, paint(rng, canvas, shape)) for shape in reversed(shapes)]
    return develop(rng, canvas), objects


def draw_background(rng: Generator, width: int, height: int) -> np.ndarray:
    """A smooth background of a few colours with blobs out of focus."""
    colour = rng.uniform(40, 215, 3)
    colours = colour + rng.normal(0, rng.uniform(5, 45), (*rng.integers(2, 7, 2), 3))
    size = (width // 4, height // 4)  # enlarged afterwards, which is what makes it soft
    small = cv2.resize(colours.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(0, 6)):
        center, axes = rng.integers((0, 0), size), rng.integers((2, 6), (5, 14))
        tint = colour + rng.normal(0, 40, 3)
        cv2.ellipse(small, center.tolist(), axes.tolist(), rng.uniform(0, 180), 0, 360, tint, -1)
    small = cv2.GaussianBlur(small, (3, 3), 0)
    big = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(big, 0, 255).astype(np.uint8)


def draw_clutter(rng: Generator, canvas: np.ndarray) -> None:
    """Draw one thing that is no object: a stroke, a corner, an open arc or a sliver."""
    height, width = canvas.shape[:2]
    colour = rng.integers(20, 236, 3).tolist()
    center = rng.integers((0, 0), (width, height))
    angle, reach = rng.uniform(0, 360), math.exp(rng.uniform(2.0, 4.0))
    if rng.random() < 0.5:  # a stroke, long and thin, or a corner, short and thick
        num_points, thickest = (5, 2) if rng.random() < 0.5 else (3, 6)
        points = center + rng.normal(0, reach, (num_points, 2)).cumsum(axis=0)
        thickness = int(rng.integers(1, thickest + 1))
        cv2.polylines(canvas, [points.astype(np.int32)], False, colour, thickness, cv2.LINE_AA)
    else:  # an open arc or a sliver
        flat, sweep, thickness = rng.uniform(0.1, 0.25), 360, -1
        if rng.random() < 0.5:
            flat, sweep, thickness = rng.uniform(0.6, 1), rng.uniform(40, 220), rng.integers(1, 5)
        axes = (round(reach), max(1, round(reach * flat)))
        style = (colour, int(thickness), cv2.LINE_AA)
        cv2.ellipse(canvas, center.tolist(), axes, angle, 0, sweep, *style)


def arrange_shapes(rng: Generator, width: int, height: int) -> list[Shape]:
    """The shapes of a picture, front to back; one picture in twenty has none."""
    if rng.random() < 0.05:
        return []
    low, high = np.log(OBJECT_SIZES)
    sizes = np.exp(low + (high - low) * rng.random(rng.integers(3, 11)) ** 0.85)
    covered = np.zeros((height, width), dtype=bool)
    shapes = []
    for size in sorted(sizes, key=lambda size: size >= TINY):  # stable: tiny ones to the front
        least = 0.95 if size < TINY else 0.25 if rng.random() < 0.06 else 0.8
        name = CLASSES[rng.integers(len(CLASSES))]
        mask = shape_mask(rng, name, size)
        tries = (place_shape(rng, name, mask, covered, least) for _ in range(4))
        if shape := next(filter(None, tries), None):
            cut_out(covered, shape)[shape.mask > 127] = True
            shapes.append(shape)
    return shapes


def shape_mask(rng: Generator, name: str, size: float) -> np.ndarray:
    """Coverage, (h, w) uint8, of a shape that is stretched, turned and scaled to `size`."""
    stretch = rng.uniform(0.9, 1.11)
    turn = math.radians(rng.uniform(-15, 15) if size >= TINY else rng.uniform(-8, 8))
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    points = OUTLINES[name] * (stretch, 1 / stretch) @ rotation
    points -= points.min(axis=0)
    points = points * size / points.max() + rng.uniform(0, 1, 2)  # never aligned with the pixels
    w, h = np.ceil(points.max(axis=0)).astype(int)
    fine = np.zeros((4 * h, 4 * w), dtype=np.uint8)  # supersampled, as outlines are sharper so
    cv2.fillPoly(fine, [np.round((4 * points - 0.5) * 16).astype(np.int32)], 255, shift=4)
    return cv2.resize(fine, (w, h), interpolation=cv2.INTER_AREA)


def place_shape(
    rng: Generator, name: str, mask: np.ndarray, covered: np.ndarray, least: float
) -> Shape | None:
    """The shape somewhere behind what is covered, or None where less than `least` of it shows."""
    (height, width), (h, w) = covered.shape, mask.shape
    left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    if max(h, w) >= 36 and rng.random() < 0.1:  # crosses the border
        out = int(w * rng.uniform(0.08, 0.3))
        left = -out if rng.random() < 0.5 else width - w + out
    inside = mask[:, max(0, -left) : width - left]
    left = max(0, left)
    seen = (inside > 127) & ~covered[top : top + h, left : left + inside.shape[1]]
    visible = np.count_nonzero(seen) / np.count_nonzero(mask > 127)
    if visible < least:
        return None
    xs, ys = np.flatnonzero(seen.any(axis=0)).tolist(), np.flatnonzero(seen.any(axis=1)).tolist()
    box = (left + xs[0], top + ys[0], left + xs[-1] + 1, top + ys[-1] + 1)
    return Shape(name, inside, (left, top), box, visible, inside.shape != mask.shape)


def cut_out(picture: np.ndarray, shape: Shape) -> np.ndarray:
    """The part, a view, of the picture under a shape's mask."""
    (left, top), (h, w) = shape.corner, shape.mask.shape
    return picture[top : top + h, left : left + w]


def paint(rng: Generator, canvas: np.ndarray, shape: Shape) -> bool:
    """Paint a shape, now and then almost in the colour beneath; returns whether it is difficult."""
    under = cut_out(canvas, shape)
    h, w = shape.mask.shape
    cells = cv2.resize(under, (4, 4), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    if rng.random() < 0.03:
        colours = cells.mean(axis=0) + rng.uniform(-14, 14, (1, 3)).astype(np.float32)
    else:
        colours = rng.uniform(15, 240, (8, 3)).astype(np.float32)
    distances = np.sqrt((cells - colours[:, None]) ** 2 @ LUMA)
    contrasts = np.sort(distances, axis=1)[:, 1]  # a cell that is alike hides little of an edge
    best = contrasts.argmax() if contrasts.max() < CLEAR else (contrasts >= CLEAR).argmax()
    shade = slope(rng, w, h, 14)
    if rng.random() < 0.3:
        shade += noise(rng, w, h, blur=1.5)[..., :1] * rng.uniform(3, 8)
    under += shape.mask[..., None] * np.float32(1 / 255) * (colours[best] + shade - under)
    return bool(shape.visible < HIDDEN or contrasts[best] < FAINT)


def develop(rng: Generator, canvas: np.ndarray) -> np.ndarray:
    """The picture that a camera makes of the canvas: uneven light, contrast, blur and noise."""
    height, width = canvas.shape[:2]
    canvas = (canvas - 128) * rng.uniform(0.7, 1.1) + rng.uniform(105, 150)
    canvas *= 1 + slope(rng, width, height, 0.2)
    if rng.random() < 0.3:
        canvas = cv2.GaussianBlur(canvas, (5, 5), rng.uniform(0.4, 0.9))
    canvas += noise(rng, width, height, blur=0) * rng.uniform(1, 6)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def slope(rng: Generator, width: int, height: int, most: float) -> np.ndarray:
    """A tilted plane, (height, width, 1) float32, of at most `most` either way along each axis."""
    across, down = rng.uniform(-most, most, 2).astype(np.float32)
    x = np.arange(width, dtype=np.float32) * (2 / width) - 1
    y = np.arange(height, dtype=np.float32) * (2 / height) - 1
    return (x * across + (y * down)[:, None])[..., None]


def noise(rng: Generator, width: int, height: int, blur: float) -> np.ndarray:
    """Noise, (height, width, 3) of deviation one: some part of a tile, for speed."""
    tile = noise_tile(blur)
    top, left = rng.integers((0, 0), (tile.shape[0] - height, tile.shape[1] - width))
    return tile[top : top + height, left : left + width]


@cache
def noise_tile(blur: float) -> np.ndarray:
    """The noise that all pictures cut theirs from: float32, the same in every process."""
    tile = default_rng(VERSION).standard_normal((512, 512, 3), dtype=np.float32)
    tile = cv2.GaussianBlur(tile, (0, 0), blur) if blur else tile
    return tile / tile.std()
