"""amdegroot/ssd.pytorch: SSD300 on VGG-16 (ssd.py, layers/functions, data/config.py)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssd.weights.projects.architectures import FIRST_ANCHORS, VGG300
from ssd.weights.projects.converted import Converted, count_classes, has, renamed

VOC = 21  # classes with the background
MOST_LEVELS = 7  # of SSD512
LEVELS_300 = 6
CANDIDATES = 200  # of a class; an image has no limit of its own
OLD = ("l4_3", "c4_3")  # heads of the first revisions, whose last level is a pooling


def vgg_names(vgg: str, norm: str, extras: str, classify: str, locate: str) -> dict[str, str]:
    """Our prefixes by those of an SSD whose extra convolutions are in one list, two a level."""
    return {
        vgg: "features.backbone",
        f"{norm}.weight": "features.norm.scale",
        **{
            f"{extras}.{i}": f"features.extras.{i // 2}.{i % 2}.0"
            for i in range(2 * (MOST_LEVELS - 2))
        },
        **{f"{classify}.{i}": f"heads.{i}.classify" for i in range(MOST_LEVELS)},
        **{f"{locate}.{i}": f"heads.{i}.locate" for i in range(MOST_LEVELS)},
    }


NAMES = vgg_names("vgg", "L2Norm", "extras", classify="conf", locate="loc")


def recognises(weights: Mapping[str, Tensor]) -> bool:
    return has(weights, "vgg", "loc", "conf") or has(weights, *OLD)


def convert(weights: Mapping[str, Tensor], content: Any) -> Converted:
    """The file does not tell the anchors. Its project's code takes VOC's sizes for 21 classes, and
    COCO's for any other number."""
    if has(weights, *OLD):
        raise ValueError("ssd.pytorch of its first revisions; the SSD300 of its later ones is read")
    if has(weights, f"loc.{LEVELS_300}"):
        raise ValueError("of ssd.pytorch's layout with more levels than its SSD300, which is read")
    number = count_classes(weights, "conf.0.bias", FIRST_ANCHORS)
    sizes = "voc" if number == VOC else "coco"
    model = {**VGG300, "anchor_sizes": sizes, "clip_anchors": "center_and_sides"}
    rules = {
        "score_threshold": 0.01,
        "candidates_per_class": CANDIDATES,
        "iou_threshold": 0.45,
        "detections_per_image": CANDIDATES * (number - 1),
        "clip_boxes": False,
    }
    return Converted("ssd.pytorch SSD300", model, renamed(weights, NAMES), number, None, rules)
