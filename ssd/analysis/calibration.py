"""Do scores mean what they say? Of all detections with score .7, 70% should be right."""

from typing import TypedDict

from torch import Tensor

from ssd.ops.precision import DetectionColumns, TruthColumns


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
    """
    raise NotImplementedError


def calibrate(scores: Tensor, right: Tensor, num_bins: int) -> Calibration:
    """Score against precision of n detections. scores: (n,) in [0, 1]; right: (n,) bool"""
    raise NotImplementedError
