"""Which detections are right, by VOC's rule and by COCO's, in the shape that weighing wants."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssd.analysis.finding import choosing_order, places_within
from ssd.analysis.overlaps import Boxes, Pairs, claimed, pair_up
from ssd.ops.precision import DetectionColumns, TruthColumns, judge

VOC_IOU = 0.5
COCO_IOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())  # as pycocotools rounds them
COCO_DETECTIONS = 100  # of an image and class, the best ones


class Judged(NamedTuple):
    """n ranked detections at T thresholds of the IoU: by class, within it by falling score."""

    images: Tensor  # (n,) int64
    labels: Tensor  # (n,) int64, never falls
    right: Tensor  # (T, n) bool
    ignored: Tensor  # (T, n) bool: neither right nor wrong
    truth_images: Tensor  # (g,) int64, of the truths that count
    truth_labels: Tensor  # (g,) int64


class CocoPairs(NamedTuple):
    """What COCO's matching begins with, whatever the sizes."""

    detections: DetectionColumns  # ranked, at most 100 of an image and class
    areas: Tensor  # (n,) of the detections, square pixels
    truths: TruthColumns
    truth_areas: Tensor  # (G,)
    pairs: Pairs  # of an image and class that overlap by .5 or more


def judge_by_voc(truths: TruthColumns, detections: DetectionColumns, num_classes: int) -> Judged:
    """VOCevaldet.m at IoU .5, see `ops.precision`. T is 1."""
    order, right, wrong = judge(truths, detections, num_classes, VOC_IOU)
    return Judged(
        images=detections.images[order],
        labels=detections.labels[order],
        right=right[None],
        ignored=~(right | wrong)[None],
        truth_images=truths.images[~truths.difficult],
        truth_labels=truths.labels[~truths.difficult],
    )


def coco_pairs(truths: TruthColumns, detections: DetectionColumns, num_classes: int) -> CocoPairs:
    """Rank the detections and find the truths that they lie on."""
    order = choosing_order(detections)
    order = order[torch.argsort(detections.labels[order], stable=True)]
    keys = detections.images * num_classes + detections.labels
    order = order[places_within(keys[order]) < COCO_DETECTIONS]
    ranked = DetectionColumns(*(column[order] for column in detections))
    there = Boxes(truths.images * num_classes + truths.labels, truths.boxes)
    pairs = pair_up(Boxes(keys[order], ranked.boxes), there, truths.difficult, _at_least(VOC_IOU))
    return CocoPairs(ranked, _areas(ranked.boxes), truths, _areas(truths.boxes), pairs)


def judge_by_coco(found: CocoPairs, low: float, high: float) -> Judged:
    """COCOeval at its ten thresholds, for objects with an area from `low` to `high`.

    Truths of another area and crowds (difficult ones) are ignored: a detection takes one only where
    no other truth is left for it, and then is ignored itself; so is one of another area that has no
    truth. Only a crowd can be taken more than once, and its overlap is the share of the detection
    inside it.
    """
    truths, pairs = found.truths, found.pairs
    of_size = (found.truth_areas >= low) & (found.truth_areas <= high)
    ignored_truth = truths.difficult | ~of_size
    other_size = (found.areas < low) | (found.areas > high)
    pairs = _preferred_by_coco(pairs, ignored_truth)
    right = torch.zeros(len(COCO_IOUS), len(found.areas), dtype=torch.bool)
    ignored = other_size.repeat(len(COCO_IOUS), 1)
    for row, threshold in enumerate(COCO_IOUS):
        near = pairs.where(pairs.overlaps >= _at_least(threshold))
        taken = near.where(claimed(near, shared=truths.difficult))
        spared = ignored_truth[taken.truths]
        right[row, taken.detections] = ~spared
        ignored[row, taken.detections] = spared
    return Judged(
        images=found.detections.images,
        labels=found.detections.labels,
        right=right,
        ignored=ignored,
        truth_images=truths.images[~ignored_truth],
        truth_labels=truths.labels[~ignored_truth],
    )


def _preferred_by_coco(pairs: Pairs, ignored_truth: Tensor) -> Pairs:
    """By detection, within it the truths that count first, then by overlap, of equals the last."""
    pairs = Pairs(*(column.flip(0) for column in pairs))
    order = torch.argsort(pairs.overlaps, descending=True, stable=True)
    for column in (ignored_truth[pairs.truths], pairs.detections):
        order = order[torch.argsort(column[order], stable=True)]
    return pairs.where(order)


def _at_least(threshold: float) -> float:
    """COCOeval's own: its threshold of 1 would never be reached."""
    return min(threshold, 1 - 1e-10)


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).double().prod(1)
