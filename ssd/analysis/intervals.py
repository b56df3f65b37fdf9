"""How far a score may be chance: the bootstrap over images.

The images of the split are drawn with replacement, again and again, and each time the score is
taken of what was drawn. Which detection is right does not depend on other images, so it is found
out once, and an image that was drawn k times counts k times.

Drawings score better than the split that they are drawn from: an image that comes twice brings its
right detections in pairs, and average precision takes the best precision of each recall. On 100
drawn splits of 400 images and 20 classes the surplus was 1.4 standard deviations, and the bare
percentiles covered the mean over the splits in 83 of 100 cases. So the drawings are moved to have
the split's own value as their mean; then it was 97.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

from ssd.analysis.judging import Judged, coco_pairs, judge_by_coco, judge_by_voc
from ssd.analysis.weighing import weighed_precision
from ssd.ops.precision import DetectionColumns, Rule, TruthColumns

MEASURES: dict[str, Rule] = {"map_voc12": "area", "map": "101-point"}  # VOC at IoU .5; COCO .50:.95
PERCENTILES = (0.025, 0.975)
DRAWS = 128  # weighed at once
CELLS = 2**22  # most places of a curve times drawings at once: both bound the memory


class Resampled(NamedTuple):
    """A measure of the split as it is, and of each drawing of its images."""

    value: float
    draws: Tensor  # (R,) float64; nan where no truth was drawn


class Interval(TypedDict):
    """A measure with its 95% interval; nan where there is nothing to measure."""

    value: float
    low: float
    high: float


class Difference(TypedDict):
    """The second detector's measure less the first's, with its 95% interval."""

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
    pairs = coco_pairs(truths, detections, num_classes)
    judged = {
        "map_voc12": judge_by_voc(truths, detections, num_classes),
        "map": judge_by_coco(pairs, 0, math.inf),
    }
    widest = max(_most_places(rows) for rows in judged.values())
    at_once = max(1, min(DRAWS, CELLS // max(1, widest)))
    measured: dict[str, list[Tensor]] = {name: [] for name in MEASURES}
    drawings = _drawings(num_images, num_draws, at_once, seed)
    for weights in itertools.chain([torch.ones(num_images, 1)], drawings):
        for name, rule in MEASURES.items():
            values = weighed_precision(judged[name], num_classes, weights, rule)
            measured[name].append(values.nanmean((0, 1)))
    joined = {name: torch.cat(values) for name, values in measured.items()}
    return {name: Resampled(values[0].item(), values[1:]) for name, values in joined.items()}


def interval(resampled: Resampled) -> Interval:
    """The 2.5th to the 97.5th percentile of the drawings, moved to have the value as their mean."""
    low, high = _percentiles(_centred(resampled))
    return Interval(value=resampled.value, low=low, high=high)


def paired_difference(first: Resampled, second: Resampled) -> Difference:
    """Second less first on the same drawings, so that easy and hard images cancel out; the interval
    as of one."""
    value = second.value - first.value
    draws = _centred(Resampled(value, second.draws - first.draws))
    low, high = _percentiles(draws)
    turned = (draws * value <= 0).double().mean().item()
    return Difference(value=value, low=low, high=high, turned=turned)


def _drawings(num_images: int, num_draws: int, at_once: int, seed: int) -> Iterator[Tensor]:
    """How often each image was drawn, (I, r) float32 at a time; one after the other, so that how
    many are wanted at once changes nothing."""
    draw = torch.Generator().manual_seed(seed)
    for start in range(0, num_draws, at_once):
        counts = [
            torch.bincount(
                torch.randint(max(num_images, 1), (num_images,), generator=draw),
                minlength=num_images,
            )
            for _ in range(min(at_once, num_draws - start))
        ]
        yield torch.stack(counts, dim=1).float()


def _most_places(judged: Judged) -> int:
    """Of any class, the detections that are right at some threshold."""
    return int(torch.bincount(judged.labels[judged.right.any(0)], minlength=1).max())


def _centred(resampled: Resampled) -> Tensor:
    """The drawings that have a measure, moved."""
    draws = resampled.draws[~resampled.draws.isnan()]
    return draws - draws.mean() + resampled.value


def _percentiles(draws: Tensor) -> tuple[float, float]:
    if not len(draws):
        return math.nan, math.nan
    low, high = draws.quantile(draws.new_tensor(PERCENTILES)).tolist()
    return low, high
