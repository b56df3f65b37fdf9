"""What is in a split: images, objects, their sizes and shapes and where they lie."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ssd.ops.boxes import pairwise_iou
from ssd.records import Annotations

QUANTILES = {"least": 0, "5%": 0.05, "25%": 0.25, "50%": 0.5, "75%": 0.75, "95%": 0.95, "most": 1}
SMALL, LARGE = 32, 96  # COCO's bounds of sqrt(area), pixels; the lower bound belongs to its range
CELLS = 8  # of the map of centers, on each side
DUPLICATE = 0.95  # IoU above which two boxes of a class are one object annotated twice
EXAMPLES = 20
COMMON = 5


def describe(annotations: Annotations, classes: Sequence[str]) -> dict[str, Any]:
    """Counts and distributions of a split, as plain data. Crowd regions are counted, and are in
    nothing else.

    annotations: label k + 1 is classes[k]
    returns: see the parts; sizes are square roots of areas, in pixels of the original image or as a
    share of the image's own
    """
    image, boxes, labels = objects(annotations)
    image_sides = annotations.sizes.numpy()
    sides = boxes[:, 2:] - boxes[:, :2]
    sizes = np.sqrt(sides.prod(axis=1))
    counts = np.bincount(image, minlength=len(annotations.ids))
    difficult = annotations.difficult & ~annotations.crowd
    return {
        "images": len(annotations.ids),
        "boxes": len(boxes),
        "empty_images": int((annotations.starts.diff() == 0).sum()),
        "difficult": int(difficult.sum()),
        "crowds": int(annotations.crowd.sum()),
        "classes": by_class(image, labels, classes),
        "sizes": {
            **{name: int(chosen.sum()) for name, chosen in size_ranges(sizes).items()},
            "pixels": quantiles(sizes),
            "share": quantiles(sizes / np.sqrt(image_sides.prod(axis=1))[image]),
        },
        "aspect_ratios": quantiles(sides[:, 0] / sides[:, 1]),
        "boxes_per_image": spread(counts),
        "image_sizes": describe_images(image_sides),
        "imbalance": imbalance(labels, classes),
        "centers": centers(boxes, image_sides[image]),
        "duplicates": duplicates(annotations, classes),
    }


def objects(annotations: Annotations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image index (n,), box (n, 4) xyxy pixels and label (n,) of every object that is no crowd."""
    counts = annotations.starts.diff().numpy()
    single = ~annotations.crowd.numpy()
    image = np.repeat(np.arange(len(counts)), counts)
    return image[single], annotations.boxes.numpy()[single], annotations.labels.numpy()[single]


def quantiles(values: np.ndarray) -> dict[str, float | None]:
    """By the names of QUANTILES; None where there are no values."""
    if not len(values):
        return dict.fromkeys(QUANTILES)
    found = np.quantile(values, list(QUANTILES.values())).tolist()
    return dict(zip(QUANTILES, found, strict=True))


def spread(counts: np.ndarray) -> dict[str, float | None]:
    """Mean and quantiles."""
    return {"mean": float(counts.mean()) if len(counts) else None, **quantiles(counts)}


def size_ranges(sizes: np.ndarray) -> dict[str, np.ndarray]:
    """Which sizes are in each of COCO's ranges, (n,) bool. sizes: (n,) square roots of areas"""
    return {
        "small": sizes < SMALL,
        "medium": (sizes >= SMALL) & (sizes < LARGE),
        "large": sizes >= LARGE,
    }


def by_class(
    image: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, int]]:
    """How many images hold each class, and how many boxes it has."""
    pairs = np.unique(np.stack([image, labels]), axis=1)
    images = np.bincount(pairs[1], minlength=len(classes) + 1).tolist()
    boxes = np.bincount(labels, minlength=len(classes) + 1).tolist()
    return {
        name: {"images": images[label], "boxes": boxes[label]}
        for label, name in enumerate(classes, start=1)
    }


def imbalance(labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any] | None:
    """The classes with most and fewest boxes, and how many times more those are."""
    if not classes:
        return None
    boxes = np.bincount(labels, minlength=len(classes) + 1)[1:]
    most, least = int(boxes.argmax()), int(boxes.argmin())
    ratio = float(boxes[most] / boxes[least]) if boxes[least] else None
    return {"most": classes[most], "least": classes[least], "ratio": ratio}


def describe_images(sides: np.ndarray) -> dict[str, Any]:
    """Sizes of images. sides: (I, 2) width and height; the smallest and largest are by area"""
    counted = Counter(map(tuple, sides.tolist()))
    order = sorted(counted, key=lambda size: (size[0] * size[1], size))
    return {
        "distinct": len(counted),
        "common": [
            {"size": list(size), "images": count} for size, count in counted.most_common(COMMON)
        ],
        "smallest": list(order[0]) if order else None,
        "largest": list(order[-1]) if order else None,
        "aspect_ratios": quantiles(sides[:, 0] / sides[:, 1]),
    }


def centers(boxes: np.ndarray, sides: np.ndarray) -> list[list[float]]:
    """The share of objects whose center is in each cell of the image, rows from the top.

    boxes: (n, 4) xyxy pixels, sides: (n, 2) width and height of their images
    """
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 / sides
    column, row = (middle * CELLS).astype(np.int64).clip(0, CELLS - 1).T
    counts = np.bincount(row * CELLS + column, minlength=CELLS * CELLS)
    return (counts / max(1, len(boxes))).reshape(CELLS, CELLS).tolist()


def duplicates(annotations: Annotations, classes: Sequence[str]) -> dict[str, Any]:
    """Objects annotated twice: boxes of the same class in the same image with an IoU above
    DUPLICATE. How many boxes repeat another, and the first of them."""
    image, boxes, labels = objects(annotations)
    again, iou = repeated(image * (len(classes) + 1) + labels, boxes)
    examples = [
        {
            "image": annotations.ids[image[row]],
            "file": annotations.files[image[row]],
            "class": classes[labels[row] - 1],
            "box": boxes[row].tolist(),
            "iou": float(overlap),
        }
        for row, overlap in zip(again[:EXAMPLES], iou, strict=False)
    ]
    return {"boxes": len(again), "examples": examples}


def repeated(keys: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that overlap an earlier row of the same key by more than DUPLICATE, and that IoU.

    Boxes with such an IoU begin close to each other, so in the order of their left sides every box
    is held against the next ones alone, one step further at a time, until none begin close.
    keys: (n,), boxes: (n, 4) xyxy
    """
    order = np.lexsort((boxes[:, 0], keys))
    keys, boxes = keys[order], boxes[order]
    reach = boxes[:, 0] + (1 - DUPLICATE) / DUPLICATE * (boxes[:, 2] - boxes[:, 0])
    best: dict[int, float] = {}
    for step in range(1, len(boxes)):
        close = (keys[:-step] == keys[step:]) & (boxes[step:, 0] <= reach[:-step])
        if not close.any():
            break
        first = np.flatnonzero(close)
        iou = paired_iou(boxes[first], boxes[first + step])
        later = np.maximum(order[first], order[first + step])
        for row, overlap in zip(later[iou > DUPLICATE], iou[iou > DUPLICATE], strict=True):
            best[int(row)] = max(best.get(int(row), 0), float(overlap))
    rows = sorted(best)
    return np.array(rows, np.int64), np.array([best[row] for row in rows])


def paired_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of box i with other i. boxes, others: (n, 4) xyxy; returns: (n,)."""
    pairs = (torch.from_numpy(each).unsqueeze(1) for each in (boxes, others))
    return pairwise_iou(*pairs).flatten().numpy()
