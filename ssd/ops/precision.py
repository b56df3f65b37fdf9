"""Average precision by the rules of the PASCAL VOC devkit (VOCevaldet.m of 2007, VOCap.m of 2010).

Truths and detections are columns over all images of a split: G truths, N detections, C classes
with the background at 0. Everything is computed in double precision.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Rule = Literal["11-point", "area", "101-point"]  # VOC2007; VOC2010 and later; COCO

BLOCK = 2**15  # detections joined with truths at once: bounds the memory on crowded images


class TruthColumns(NamedTuple):
    """What there is to find."""

    images: Tensor  # (G,) int64 rows of the split
    labels: Tensor  # (G,) int64 in [1, C)
    boxes: Tensor  # (G, 4) float64 xyxy, pixels
    difficult: Tensor  # (G,) bool: neither right nor wrong when detected


class DetectionColumns(NamedTuple):
    """What was found. The detections of one image keep their order among themselves."""

    images: Tensor  # (N,) int64 rows of the split
    labels: Tensor  # (N,) int64 in [1, C)
    scores: Tensor  # (N,) floating
    boxes: Tensor  # (N, 4) float64 xyxy, pixels


class Curve(NamedTuple):
    """Precision and recall of one class after each of its n detections, best score first."""

    recall: Tensor  # (n,) float64, never falls; nan where the class has no truths
    precision: Tensor  # (n,) float64; 0 as long as nothing counted
    scores: Tensor  # (n,) never rises
    num_truths: int  # the difficult ones left out


class Judgement(NamedTuple):
    """Which detections are right, ranked: by class, within it by falling score."""

    order: Tensor  # (N,) int64 rows of the detections
    right: Tensor  # (N,) bool, ranked
    wrong: Tensor  # (N,) bool, ranked; those of difficult truths are neither


def precision_recall(
    truths: TruthColumns,
    detections: DetectionColumns,
    num_classes: int,
    iou_threshold: float,
    inclusive: bool = False,
) -> list[Curve]:
    """The curves of labels 1 to C - 1, by VOCevaldet.m.

    Detections are taken in the order of falling scores, equal ones in the order of (image, place
    within the image), so the order in which images arrive does not matter.

    num_classes: C, the background included
    iou_threshold: > 0; VOC's is 0.5
    inclusive: boxes are the devkit's own, whose last pixel is inside: a width is xmax - xmin + 1.
        Half-open boxes give the same numbers by the plain difference.
    """
    order, right, wrong = judge(truths, detections, num_classes, iou_threshold, inclusive)
    num_truths = torch.bincount(truths.labels[~truths.difficult], minlength=num_classes)
    sizes = torch.bincount(detections.labels, minlength=num_classes).tolist()
    columns = (column.split(sizes)[1:] for column in (right, wrong, detections.scores[order]))
    return [_curve(*row) for row in zip(*columns, num_truths.tolist()[1:], strict=True)]


def judge(
    truths: TruthColumns,
    detections: DetectionColumns,
    num_classes: int,
    iou_threshold: float,
    inclusive: bool = False,
) -> Judgement:
    """What `precision_recall` counts, detection by detection, with the same arguments."""
    order = _ranked(detections)
    overlaps, best = (
        column[order] for column in _best_truths(truths, detections, num_classes, inclusive)
    )
    return Judgement(order, *_judge(overlaps, best, truths.difficult, iou_threshold))


def average_precision(curves: list[Curve], rule: Rule) -> Tensor:
    """One number per class.

    11-point, 101-point: the mean over recalls t = 0, 0.1, ..., 1 (or 0.01 apart) of the best
        precision at a recall >= t. The t are i * 0.1 in double precision, so the fourth is
        0.30000000000000004 and a recall of exactly 0.3 does not reach it: published numbers
        have it so.
    area: the area under the curve, whose precision is first made to never rise.
    returns: (C - 1,) float64; nan for a class without truths, so take means with `nanmean`
    """
    scored = {
        "11-point": lambda curve: sampled_precision(curve, recalls(11)),
        "101-point": lambda curve: sampled_precision(curve, recalls(101)),
        "area": _area,
    }[rule]
    values = [scored(curve) if curve.num_truths else torch.nan for curve in curves]
    return torch.tensor(values, dtype=torch.float64)


def recalls(num_points: int) -> Tensor:
    """(num_points,) float64 from 0 to 1 as VOC's 11 and COCO's 101 are: i times the step."""
    return torch.arange(num_points).double() * (1 / (num_points - 1))


def sampled_precision(curve: Curve, points: Tensor) -> float:
    """The mean over recalls of the best precision at a recall >= it; 0 where none reaches it.

    points: (points,) float64 in [0, 1]
    """
    reached = torch.searchsorted(curve.recall, points.to(curve.recall.device))
    return _envelope(curve.precision)[reached].mean().item()


def _ranked(detections: DetectionColumns) -> Tensor:
    """Rows by class, within it by falling score, within that by image, within that as they were."""
    order = torch.argsort(detections.images, stable=True)
    order = order[torch.argsort(detections.scores[order], descending=True, stable=True)]
    return order[torch.argsort(detections.labels[order], stable=True)]


def _judge(
    overlaps: Tensor, best: Tensor, difficult: Tensor, iou_threshold: float
) -> tuple[Tensor, Tensor]:
    """Masks (N,) of the right and of the wrong among ranked detections; some are neither.

    A detection is held against the truth of its class that it overlaps most, difficult or not,
    claimed or not: a lesser overlap with a free truth does not save a duplicate.

    overlaps, best: (N,) as from `_best_truths`, ranked; difficult: (G,)
    """
    hits = (overlaps >= iou_threshold).nonzero().squeeze(1)
    spared = difficult[best[hits]]
    claims = hits[~spared]
    nobody = len(overlaps)
    first = torch.full_like(difficult, nobody, dtype=best.dtype)
    first = first.scatter_reduce(0, best[claims], claims, "amin")  # ranked: the lowest is the best
    right = torch.zeros_like(overlaps, dtype=torch.bool)
    right[first[first < nobody]] = True
    wrong = ~right
    wrong[hits[spared]] = False
    return right, wrong


def _best_truths(
    truths: TruthColumns, detections: DetectionColumns, num_classes: int, inclusive: bool
) -> tuple[Tensor, Tensor]:
    """The greatest IoU (N,) of each detection and the first truth (N,) that has it.

    Without any truth of the class in the image: IoU 0 and a truth that means nothing. The IoU of
    two boxes without area is no number.
    """
    truth_keys, order = torch.sort(truths.images * num_classes + truths.labels, stable=True)
    truth_boxes = truths.boxes[order].double()
    overlaps = truth_boxes.new_zeros(len(detections.labels))
    best = torch.zeros_like(detections.labels)
    keys = detections.images * num_classes + detections.labels
    for rows in _reachable(truth_keys, keys).split(BLOCK):
        found = detections.boxes[rows].double()
        overlaps[rows], places = _join(truth_keys, truth_boxes, keys[rows], found, inclusive)
        best[rows] = order[places.clamp(max=len(order) - 1)]
    return overlaps, best


def _reachable(truth_keys: Tensor, keys: Tensor) -> Tensor:
    """The rows of `keys` that some of `truth_keys`, which rise, are equal to."""
    if not len(truth_keys):
        return keys[:0]
    places = torch.searchsorted(truth_keys, keys).clamp(max=len(truth_keys) - 1)
    return (truth_keys[places] == keys).nonzero().squeeze(1)


def _join(
    truth_keys: Tensor, truth_boxes: Tensor, keys: Tensor, boxes: Tensor, inclusive: bool
) -> tuple[Tensor, Tensor]:
    """`_best_truths` of a block of n detections, as places among the sorted truths.

    truth_keys: (G,) rising; keys: (n,) equal to a truth's where image and class are, each to some
    returns: IoU (n,), place (n,) in [0, G), G where the IoU is no number
    """
    starts = torch.searchsorted(truth_keys, keys)
    counts = torch.searchsorted(truth_keys, keys, right=True) - starts
    detection = torch.repeat_interleave(counts)  # (pairs,)
    shifts = starts - (counts.cumsum(0) - counts)
    truth = torch.arange(len(detection), device=keys.device) + shifts[detection]  # (pairs,)
    iou = _iou(boxes[detection], truth_boxes[truth], inclusive)
    most = iou.new_zeros(len(keys)).scatter_reduce(0, detection, iou, "amax")
    candidates = truth.masked_fill(iou != most[detection], len(truth_keys))
    places = torch.full_like(keys, len(truth_keys)).scatter_reduce(0, detection, candidates, "amin")
    return most, places


def _iou(boxes: Tensor, others: Tensor, inclusive: bool) -> Tensor:
    """IoU of box i with other i, in the devkit's order of operations, so that rounding agrees.

    boxes, others: (pairs, 4) float64 xyxy, pixels
    """
    edge = 1.0 if inclusive else 0.0
    lower = torch.maximum(boxes[:, :2], others[:, :2])
    upper = torch.minimum(boxes[:, 2:], others[:, 2:])
    shared = (upper - lower + edge).clamp(min=0).prod(1)
    areas = [(each[:, 2:] - each[:, :2] + edge).prod(1) for each in (boxes, others)]
    return shared / (areas[0] + areas[1] - shared)


def _curve(right: Tensor, wrong: Tensor, scores: Tensor, num_truths: int) -> Curve:
    """The curve of one class from its detections (n,), best first."""
    num_right = right.double().cumsum(0)
    num_counted = num_right + wrong.double().cumsum(0)
    # Before anything counted the devkit has 0 / 0, which its max() passes over as 0 does here.
    precision = num_right / num_counted.clamp(min=1)
    return Curve(num_right / num_truths, precision, scores, num_truths)


def _envelope(precision: Tensor) -> Tensor:
    """(n + 1,) the best precision from here on; 0 beyond the last detection."""
    closed = torch.cat([precision, precision.new_zeros(1)])
    return closed.flip(0).cummax(0).values.flip(0)


def _area(curve: Curve) -> float:
    ends = curve.recall.new_tensor([0.0, 1.0])
    steps = torch.cat([ends[:1], curve.recall, ends[1:]]).diff()
    return (steps * _envelope(curve.precision)).sum().item()
