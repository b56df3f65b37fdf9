"""How far a score may be chance: the bootstrap over images.

The images of the split are drawn with replacement, again and again, and each time the score is
taken of what was drawn. Which detection is right does not depend on other images, so it is found
out once, and an image that was drawn k times counts k times.
"""

from typing import NamedTuple, TypedDict

from torch import Tensor

from ssd.ops.precision import DetectionColumns, TruthColumns

MEASURES = ("map_voc12", "map")  # VOC's area rule at IoU .5; COCO's .50:.95


class Resampled(NamedTuple):
    """A measure of the split as it is, and of each drawing of its images."""

    value: float
    draws: Tensor  # (R,) float64; nan where no truth was drawn


class Interval(TypedDict):
    """A measure with its 95% percentile interval; nan where there is nothing to measure."""

    value: float
    low: float
    high: float


class Difference(TypedDict):
    """The second detector's measure less the first's, with its 95% percentile interval."""

    value: float
    low: float
    high: float
    turned: float  # share of the drawings where the difference has the other sign or is 0


def resample(
    truths: TruthColumns,
    detections: DetectionColumns,
    num_classes: int,
    num_images: int,
    num_draws: int,
    seed: int,
) -> dict[str, Resampled]:
    """MEASURES of R = `num_draws` drawings of I = `num_images` images.

    The same seed and number of images draw the same images, whatever was detected in them, so that
    two detectors can be compared draw by draw. Classes without truths in a drawing are left out
    of its mean. Difficult truths count as in VOC and, as crowds, in COCO: detections there are
    ignored. Equal scores keep the order that they have in the split.

    num_classes: C, the background included
    """
    raise NotImplementedError


def interval(resampled: Resampled) -> Interval:
    """The 2.5th to the 97.5th percentile of the drawings."""
    raise NotImplementedError


def paired_difference(first: Resampled, second: Resampled) -> Difference:
    """Second less first on the same drawings, so that easy and hard images cancel out."""
    raise NotImplementedError
