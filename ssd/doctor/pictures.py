"""Pictures for the doctor's page: images with their boxes, small, as JPEG."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from ssd.data.checks import Fault
from ssd.data.dataset import DetectionDataset
from ssd.data.images.reading import read_image
from ssd.data.transforms import resize
from ssd.doctor.copies import Copy
from ssd.doctor.findings import short
from ssd.report.drawing import SMALLEST_SIDE, draw_boxes
from ssd.report.pieces import Figure

MOST = 12  # pictures of a section
SAMPLES = 16
CONTEXT = 4  # sides of a box that a close-up shows
LEAST = 0.08  # of a picture's side: the sides that a faulty box is drawn with


class Pictures(NamedTuple):
    faulty: list[Figure]
    duplicated: list[Figure]
    leaks: list[tuple[Figure, Figure]]
    missed: list[Figure]
    augmented: list[Figure]


def faulty(faults: Sequence[Fault]) -> list[Figure]:
    """The first faults that a picture shows: boxes close up, then whole images that have others."""
    figures = []
    for fault in sorted(faults, key=lambda fault: fault.box is None):
        if len(figures) == MOST:
            break
        if fault.file is None:
            continue
        try:
            if fault.box is None:
                figures.append(whole(fault.file, fault.message))
            else:
                figures.append(close_up(fault.file, fault.box, "faulty", 1, fault.message, LEAST))
        except ValueError:
            continue  # an image that cannot be read shows nothing
    return figures


def leaks(copies: Sequence[Copy], roots: Sequence[str]) -> list[tuple[Figure, Figure]]:
    """Pairs of pictures, those that are in two splits first."""
    across = sorted(copies, key=lambda copy: copy.stage == copy.other_stage)
    return [
        (
            whole(copy.file, f"{copy.stage}: {short(copy.file, roots)}"),
            whole(copy.other_file, f"{copy.other_stage}: {short(copy.other_file, roots)}"),
        )
        for copy in across[:MOST]
    ]


def whole(file: str, caption: str) -> Figure:
    return Figure(drawn(read_image(file), np.zeros((0, 4)), [], []), caption)


def duplicated(
    examples: Sequence[Mapping[str, Any]], broken: Mapping[str, str], classes: Sequence[str]
) -> list[Figure]:
    """Boxes that lie on others of their class. examples: of `statistics.describe`"""
    figures = []
    for one in [one for one in examples if one["file"] not in broken][:MOST]:
        name = one["class"]
        caption = f"{one['image']}: {name} twice, IoU {one['iou']:.2f}"
        label = classes.index(name) + 1
        figures.append(close_up(one["file"], one["box"], name, label, caption))
    return figures


def missed(
    worst: Sequence[Mapping[str, Any]], broken: Mapping[str, str], classes: Sequence[str]
) -> list[Figure]:
    """Truths that no anchor fits. worst: of `reach.reach`"""
    figures = []
    for one in [one for one in worst if one["file"] not in broken][:MOST]:
        (wide, high), name = one["input_size"], one["class"]
        fits = f"{wide:.0f}x{high:.0f} pixels of the input, best IoU {one['best_iou']:.2f}"
        label = classes.index(name) + 1
        caption = f"{one['image']}: {name}, {fits}"
        figures.append(close_up(one["file"], one["box"], name, label, caption))
    return figures


def close_up(
    file: str, box: Sequence[float], name: str, label: int, caption: str, least: float = 0
) -> Figure:
    """A box and what lies around it. box: xyxy pixels; least: of its sides, as a share of what is
    seen, that it is seen itself"""
    image, corners = read_image(file), np.array(box, np.float64)
    left, top, right, bottom = around(corners, (image.shape[1], image.shape[0]))
    moved = visible(corners - [left, top, left, top], right - left, least)
    return Figure(drawn(image[top:bottom, left:right], moved[None], [name], [label]), caption)


def around(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A square of an image with a box and what lies around it, all xyxy pixels.

    The box may have no area or lie outside. size: (width, height) of the image
    """
    wanted = max(CONTEXT * np.abs(box[2:] - box[:2]).max(), max(size) / 3)
    side = min(round(wanted), *size)
    middle = ((box[:2] + box[2:]) / 2).clip(0, size)
    left, top = (middle - side / 2).round().clip(0, np.array(size) - side).astype(int).tolist()
    return left, top, left + side, top + side


def augmented(
    dataset: DetectionDataset, broken: Mapping[str, str], classes: Sequence[str]
) -> list[Figure]:
    """Samples as training gets them, of images from all over the split."""
    files = dataset.annotations.files
    good = [index for index, file in enumerate(files) if file not in broken]
    chosen = good[:: max(1, len(good) // SAMPLES)][:SAMPLES]
    epochs = -(-SAMPLES // len(chosen)) if chosen else 0
    keys = [(epoch, index) for epoch in range(epochs) for index in chosen][:SAMPLES]
    figures = []
    for key in keys:
        sample = dataset[key]
        height, width = sample["image"].shape[1:]
        boxes = sample["boxes"].numpy() * (width, height, width, height)
        labels = sample["labels"].tolist()
        names = [classes[label - 1] for label in labels]
        image = sample["image"].permute(1, 2, 0).numpy()
        id = dataset.annotations.ids[key[1]]
        figures.append(Figure(drawn(image, boxes, names, labels), f"{id}, {len(labels)} boxes"))
    return figures


def visible(box: np.ndarray, side: int, least: float) -> np.ndarray:
    """A box with sides that can be seen, by or in a square picture. xyxy pixels"""
    low, high = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
    middle = ((low + high) / 2).clip(0, side)
    half = np.maximum(high - low, least * side) / 2
    return np.concatenate([middle - half, middle + half])


def drawn(
    image: np.ndarray, boxes: np.ndarray, names: Sequence[str], labels: Sequence[int]
) -> bytes:
    """A JPEG of an image with its boxes, xyxy pixels, its long side as long as pages need it."""
    height, width = image.shape[:2]
    scale = min(1.0, SMALLEST_SIDE / max(height, width))
    small = resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))
    picture = draw_boxes(small, boxes * scale, names, labels)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 80]
    return cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1].tobytes()
