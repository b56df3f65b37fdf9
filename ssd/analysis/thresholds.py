"""Where to cut the scores of a class."""

from typing import TypedDict

from ssd.ops.precision import Curve


class OperatingPoint(TypedDict):
    """What a class has when detections with a score >= threshold are kept."""

    threshold: float
    precision: float
    recall: float
    f1: float


def best_thresholds(curves: list[Curve]) -> list[OperatingPoint]:
    """The threshold of each class with the greatest F1, 2 PR / (P + R), as a curve has it.

    Equal scores cannot be parted, so they are kept or cut together. Of thresholds that do equally
    well the highest is taken. A class without truths, without detections or without a right one
    has no best threshold: all four are nan without truths; else the threshold and the precision are
    nan, recall and F1 0.
    """
    raise NotImplementedError
