"""Average precision by the size of the objects, as COCO has it."""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import torch

from ssd.analysis.judging import CocoPairs, coco_pairs, judge_by_coco
from ssd.analysis.weighing import weighed_precision
from ssd.ops.precision import DetectionColumns, TruthColumns


class SizeRange(NamedTuple):
    """Objects whose box has an area from low ** 2 to high ** 2, both ends included, as in COCO."""

    name: str
    low: float  # pixels: the side of a square
    high: float  # pixels, math.inf for no end


COCO_SIZES = (
    SizeRange("small", 0, 32),
    SizeRange("medium", 32, 96),
    SizeRange("large", 96, math.inf),
)
FINE_SIZES = (
    SizeRange("up to 16", 0, 16),
    SizeRange("16 to 32", 16, 32),
    SizeRange("32 to 64", 32, 64),
    SizeRange("64 to 128", 64, 128),
    SizeRange("128 to 256", 128, 256),
    SizeRange("from 256", 256, math.inf),
)


class SizeScore(TypedDict):
    """COCO's average precision on objects of a size; nan where there are none."""

    name: str
    low: float  # pixels: the side of a square of this area
    high: float | None  # None for no end
    truths: int  # of this size, the difficult ones left out
    ap_50: float  # mean over the classes with truths of this size
    ap: float  # the same over IoU .50:.95
    by_class: list[float]  # `ap` of labels 1 to C - 1


def size_scores(
    truths: TruthColumns,
    detections: DetectionColumns,
    num_classes: int,
    sizes: Sequence[SizeRange],
) -> list[SizeScore]:
    """Average precision by size, equal to COCOeval's with these areas (an area is its box's).

    Truths of other sizes are ignored as crowds and difficult ones are: nobody needs to find them,
    and a detection that finds one is neither right nor wrong. Nor is a detection that finds nothing
    and whose own box is of another size. The best 100 detections of an image and class count.

    num_classes: C, the background included
    """
    found = coco_pairs(truths, detections, num_classes)
    return [_size_score(found, num_classes, size) for size in sizes]


def _size_score(found: CocoPairs, num_classes: int, size: SizeRange) -> SizeScore:
    judged = judge_by_coco(found, size.low**2, size.high**2)
    images = torch.cat([judged.images, judged.truth_images])
    once = torch.ones(int(images.max()) + 1 if len(images) else 0, 1)
    values = weighed_precision(judged, num_classes, once, "101-point")[..., 0]  # (10, C - 1)
    return SizeScore(
        name=size.name,
        low=size.low,
        high=size.high if math.isfinite(size.high) else None,
        truths=len(judged.truth_labels),
        ap_50=values[0].nanmean().item(),
        ap=values.nanmean().item(),
        by_class=values.mean(0).tolist(),
    )
