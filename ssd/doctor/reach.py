"""What a network's anchors can reach of a split's objects, by the matching that training uses and
without augmentation."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssd.data.dataset import DetectionDataset
from ssd.data.transforms import make_view, place_boxes
from ssd.doctor.statistics import quantiles, size_ranges, spread
from ssd.ops.boxes import pairwise_iou, to_xyxy
from ssd.ops.matching import match
from ssd.records import Annotations

OVERLAPS = 500_000  # computed at once: 2 MB, which stays in a processor's cache
WORST = 20


class Truths(NamedTuple):
    """The objects of a split that training matches, as they lie in the network's input."""

    image: np.ndarray  # (n,) index, rising
    boxes: np.ndarray  # (n, 4) float64 xyxy, pixels of the original image
    placed: np.ndarray  # (n, 4) float32 xyxy, fractions
    labels: np.ndarray  # (n,) in [1, C)


def trained_truths(
    annotations: Annotations, image_size: tuple[int, int], train_difficult: bool
) -> Truths:
    """Without crowds, and without difficult objects where training leaves them out."""
    dataset = DetectionDataset(
        annotations,
        image_size,
        augmentation=None,
        keep_difficult=train_difficult,
        keep_crowds=False,
        seed=0,
    )
    objects = [dataset.objects(index) for index in range(len(dataset))]
    sizes = [tuple(size) for size in annotations.sizes.tolist()]
    placed = [
        place_boxes(boxes, make_view((0, 0, *size), size, image_size, False), image_size)
        for (boxes, _, _), size in zip(objects, sizes, strict=True)
    ]
    return Truths(
        np.repeat(np.arange(len(objects)), [len(boxes) for boxes, _, _ in objects]),
        np.concatenate([np.empty((0, 4)), *(boxes for boxes, _, _ in objects)]),
        np.concatenate([np.empty((0, 4), np.float32), *placed]),
        np.concatenate([np.empty(0, np.int64), *(labels for _, labels, _ in objects)]),
    )


def reach(
    annotations: Annotations,
    classes: Sequence[str],
    anchors: Tensor,
    image_size: tuple[int, int],
    iou_threshold: float,
    own_anchors: bool,
    train_difficult: bool,
) -> dict[str, Any]:
    """How well anchors fit the objects of a split, and what they give training to learn from.

    anchors: (A, 4) cxcywh, image_size: (height, width)
    iou_threshold, own_anchors: the loss's, see `ops.matching.match`
    train_difficult: whether difficult objects are trained on
    returns: plain data. recall: the share of boxes that some anchor overlaps by `iou_threshold`;
    positives: the anchors that have to find a box; unmatched: boxes that no anchor has to find
    """
    truths = trained_truths(annotations, image_size, train_difficult)
    best, positives = overlaps(truths, len(annotations.ids), anchors, iou_threshold, own_anchors)
    height, width = image_size
    input_sides = (truths.placed[:, 2:] - truths.placed[:, :2]) * (width, height)
    sides = truths.boxes[:, 2:] - truths.boxes[:, :2]
    reached = best >= iou_threshold

    def rated(chosen: np.ndarray) -> dict[str, Any]:
        return {"boxes": int(chosen.sum()), **rates(best[chosen], reached[chosen])}

    by_label = {name: truths.labels == label for label, name in enumerate(classes, start=1)}
    ranges = {"by_size": sides, "by_input_size": input_sides}
    return {
        "image_size": list(image_size),
        "anchors": len(anchors),
        "smallest_anchor": float(anchors[:, 2:].double().prod(dim=1).min() * width * height) ** 0.5,
        "iou_threshold": iou_threshold,
        "own_anchors": own_anchors,
        "images": len(annotations.ids),
        **rated(np.ones(len(best), bool)),
        "best_iou": quantiles(best),
        "input_sizes": quantiles(np.sqrt(input_sides.prod(axis=1))),
        "by_class": {name: rated(chosen) for name, chosen in by_label.items()},
        **{
            key: {name: rated(c) for name, c in size_ranges(np.sqrt(each.prod(axis=1))).items()}
            for key, each in ranges.items()
        },
        "unreached": int((~reached).sum()),
        "worst": worst(annotations, classes, truths, best, reached, input_sides),
        "unmatched": int((positives == 0).sum()),
        "positives_per_image": spread(
            np.bincount(truths.image, positives, minlength=len(annotations.ids))
        ),
        "positives_per_box": spread(positives),
    }


def rates(best: np.ndarray, reached: np.ndarray) -> dict[str, float | None]:
    """best: (n,) greatest IoU of each box with any anchor; reached: (n,) bool"""
    if not len(best):
        return {"recall": None, "mean_best_iou": None}
    return {"recall": float(reached.mean()), "mean_best_iou": float(best.mean(dtype=np.float64))}


def overlaps(
    truths: Truths, num_images: int, anchors: Tensor, iou_threshold: float, own_anchors: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The greatest IoU (n,) of every box with any anchor, and how many anchors (n,) match it."""
    best = np.zeros(len(truths.boxes), np.float32)
    positives = np.zeros(len(truths.boxes), np.int64)
    corners = to_xyxy(anchors)
    for rows, boxes, valid in batches(truths, num_images, len(anchors)):
        iou = pairwise_iou(boxes, corners).amax(dim=2)
        matches = match(boxes, valid, anchors, iou_threshold, own_anchors)
        counts = torch.zeros(boxes.shape[0], boxes.shape[1] + 1, dtype=torch.int64)
        counts.scatter_add_(1, matches + 1, torch.ones_like(matches))  # UNMATCHED is -1
        best[rows] = iou[valid].numpy()
        positives[rows] = counts[:, 1:][valid].numpy()
    return best, positives


def batches(
    truths: Truths, num_images: int, num_anchors: int
) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """Images with about as many boxes together: rows (k,) of the truths, and for `match` boxes
    (B, G, 4) and valid (B, G), whose k true entries are those rows in turn."""
    counts = np.bincount(truths.image, minlength=num_images)
    starts = np.concatenate([[0], counts.cumsum()])
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    while len(order):
        most = max(1, OVERLAPS // (num_anchors * int(counts[order[-1]])))
        images, order = order[-most:], order[:-most]
        rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in images])
        valid = torch.arange(counts[images].max()) < torch.from_numpy(counts[images])[:, None]
        boxes = torch.zeros(*valid.shape, 4)
        boxes[valid] = torch.from_numpy(truths.placed[rows])
        yield rows, boxes, valid


def worst(
    annotations: Annotations,
    classes: Sequence[str],
    truths: Truths,
    best: np.ndarray,
    reached: np.ndarray,
    input_sides: np.ndarray,
) -> list[dict[str, Any]]:
    """The boxes below the threshold that anchors overlap least."""
    order = np.argsort(best, kind="stable")[: min(WORST, int((~reached).sum()))]
    return [
        {
            "image": annotations.ids[truths.image[row]],
            "file": annotations.files[truths.image[row]],
            "class": classes[truths.labels[row] - 1],
            "box": truths.boxes[row].tolist(),
            "input_size": input_sides[row].tolist(),
            "best_iou": float(best[row]),
        }
        for row in order.tolist()
    ]
