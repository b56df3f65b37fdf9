"""The errors that are worth a look, as rows to draw."""

from typing import TypedDict

from ssd.analysis.errors import Errors
from ssd.ops.precision import DetectionColumns, TruthColumns


class Example(TypedDict):
    """One error. What does not exist is None."""

    kind: str  # of errors.KINDS
    image: int  # row of the split
    label: int | None  # of the detection
    score: float | None  # of the detection
    box: list[float] | None  # xyxy, pixels; of the detection
    truth_label: int | None  # of the truth that it is about
    truth_box: list[float] | None  # xyxy, pixels; of the truth


class Examples(TypedDict):
    """The worst first."""

    false_positives: list[Example]  # background and location errors of the highest scores
    missed: list[Example]  # truths that no detection touches, the largest first; then touched ones
    confusions: list[Example]  # class errors of the highest scores


def worst_examples(
    truths: TruthColumns, detections: DetectionColumns, errors: Errors, limit: int
) -> Examples:
    """At most `limit` of each. Ignored detections and difficult truths are not among them.

    The missed are truths that nobody found, nor found with another class or a poorer box. They are
    ordered by the highest score of a detection with an IoU of at least .1 (none at all comes first),
    then by area, the largest first.
    """
    raise NotImplementedError
