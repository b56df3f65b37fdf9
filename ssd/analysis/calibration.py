"""Do scores mean what they say? Of all detections with score .7, 70% should be right."""

import math
from typing import TypedDict

import torch
from torch import Tensor

from ssd.ops.precision import DetectionColumns, TruthColumns, judge


class Bin(TypedDict):
    """Detections with scores in [low, high); the last bin has its upper end, too."""

    low: float
    high: float
    count: int
    mean_score: float  # nan where the bin is empty
    precision: float  # how many of them are right; nan where the bin is empty


class Calibration(TypedDict):
    """Score against precision."""

    count: int  # detections in all bins
    expected_error: float  # mean of |precision - mean score|, bins by count; nan without detections
    bins: list[Bin]  # of equal width, from score 0 to 1


def calibration(
    truths: TruthColumns,
    detections: DetectionColumns,
    num_classes: int,
    iou_threshold: float,
    num_bins: int,
) -> tuple[Calibration, list[Calibration]]:
    """Score against precision: of all detections, and of labels 1 to C - 1 one by one.

    Right is what is right in the precision-recall curve: an IoU of at least `iou_threshold` with a
    truth of its class that no better score has claimed, so a duplicate is wrong. Detections of
    difficult truths are neither right nor wrong and left out.

    num_classes: C, the background included
    """
    order, right, wrong = judge(truths, detections, num_classes, iou_threshold)
    counted = right | wrong
    scores, right = detections.scores[order[counted]], right[counted]
    sizes = torch.bincount(detections.labels[order[counted]], minlength=num_classes).tolist()
    classes = list(zip(scores.split(sizes), right.split(sizes), strict=True))[1:]
    return calibrate(scores, right, num_bins), [calibrate(*each, num_bins) for each in classes]


def calibrate(scores: Tensor, right: Tensor, num_bins: int) -> Calibration:
    """Score against precision of n detections. scores: (n,) in [0, 1]; right: (n,) bool"""
    scores = scores.double()
    edges = torch.arange(num_bins + 1).double() / num_bins
    places = torch.bucketize(scores, edges[1:-1], right=True)
    counts = torch.bincount(places, minlength=num_bins)
    mean_scores = torch.bincount(places, scores, minlength=num_bins) / counts
    precisions = torch.bincount(places, right.double(), minlength=num_bins) / counts
    gaps = (precisions - mean_scores).abs().nan_to_num() * counts
    columns = (edges[:-1], edges[1:], counts, mean_scores, precisions)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return Calibration(
        count=len(scores),
        expected_error=gaps.sum().item() / len(scores) if len(scores) else math.nan,
        bins=[
            Bin(low=low, high=high, count=count, mean_score=score, precision=precision)
            for low, high, count, score, precision in rows
        ],
    )
