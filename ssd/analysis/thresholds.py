"""Where to cut the scores of a class."""

import math
from typing import TypedDict

import torch

from ssd.ops.precision import Curve


class OperatingPoint(TypedDict):
    """What a class has when detections with a score above the threshold are kept."""

    threshold: float
    precision: float
    recall: float
    f1: float


def best_thresholds(curves: list[Curve]) -> list[OperatingPoint]:
    """The threshold of each class with the greatest F1, 2 PR / (P + R), as its curve has it.

    Equal scores cannot be parted, so they are kept or cut together. A threshold lies in the middle
    between the lowest score that is kept and the highest that is cut, so that rounding it changes
    nothing. Of thresholds that do equally well the highest is taken. All four are nan for a class
    without truths; where there are truths and nothing is right, recall and F1 are 0, and there is
    no threshold and no precision: nan.
    """
    return [_best(curve) for curve in curves]


def _best(curve: Curve) -> OperatingPoint:
    if not curve.num_truths:
        return OperatingPoint(threshold=math.nan, precision=math.nan, recall=math.nan, f1=math.nan)
    last = torch.ones_like(curve.scores, dtype=torch.bool)  # of the detections with its score
    last[:-1] = curve.scores[:-1] != curve.scores[1:]
    total = curve.precision + curve.recall
    f1 = torch.where(last & (total > 0), 2 * curve.precision * curve.recall / total, 0.0)
    if not f1.any():
        return OperatingPoint(threshold=math.nan, precision=math.nan, recall=0.0, f1=0.0)
    best = int((f1 == f1.max()).nonzero()[0])
    ends = [*curve.scores[best : best + 2].tolist(), 0.0]  # the last that is kept, the first cut
    return OperatingPoint(
        threshold=(ends[0] + ends[1]) / 2,
        precision=curve.precision[best].item(),
        recall=curve.recall[best].item(),
        f1=f1[best].item(),
    )
