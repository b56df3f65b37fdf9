"""Average precision by the size of the objects, as COCO has it."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

from ssd.ops.precision import DetectionColumns, TruthColumns


class SizeRange(NamedTuple):
    """Objects whose box has an area from side ** 2 to side ** 2, both ends included, as COCO."""

    name: str
    low: float  # pixels: the side of a square
    high: float  # pixels, math.inf for no end


COCO_SIZES = (
    SizeRange("small", 0, 32),
    SizeRange("medium", 32, 96),
    SizeRange("large", 96, float("inf")),
)
FINE_SIZES = (
    SizeRange("up to 16", 0, 16),
    SizeRange("16 to 32", 16, 32),
    SizeRange("32 to 64", 32, 64),
    SizeRange("64 to 128", 64, 128),
    SizeRange("128 to 256", 128, 256),
    SizeRange("from 256", 256, float("inf")),
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
    and a detection that finds one is neither right nor wrong. Nor is a detection that finds
    nothing and whose own box is of another size. The best 100 detections of an image and class count.
    """
    raise NotImplementedError
