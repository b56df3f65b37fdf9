"""lufficc/SSD: SSD300 and SSD512 on VGG-16 (configs/vgg_ssd*.yaml, ssd/modeling)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssd.weights.projects.architectures import FIRST_ANCHORS, VGG300, VGG512
from ssd.weights.projects.converted import Converted, count_classes, has, renamed
from ssd.weights.projects.ssd_pytorch import vgg_names

HEADS = ("box_head.predictor.cls_headers", "box_head.predictor.reg_headers")
OLD_HEADS = ("classification_headers", "regression_headers")  # of its release 1.0
NAMES = vgg_names("backbone.vgg", "backbone.l2_norm", "backbone.extras", *HEADS)
OLD_NAMES = vgg_names("vgg", "l2_norm", "extras", *OLD_HEADS)

COCO = 81  # classes with the background
# VOC's at 512 pixels; the last is not the paper's 537.6
VOC_512 = [35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.65]
ANCHORS_300, ANCHORS_512 = 8732, 24564
LEVELS_300 = 6


def recognises(weights: Mapping[str, Tensor]) -> bool:
    return has(weights, *HEADS) or has(weights, "vgg", *OLD_HEADS)


def convert(weights: Mapping[str, Tensor], content: Any) -> Converted:
    """The file does not tell the anchors. COCO's sizes go with 81 classes; VOC's, which are the
    project's defaults, with any other number.

    The rules are those of its last revision, for files of release 1.0 too.
    """
    old = not has(weights, *HEADS)
    if not (old or has(weights, "backbone.vgg")):
        raise ValueError("lufficc/SSD on another backbone than VGG-16, which is read")
    ours = renamed(weights, OLD_NAMES if old else NAMES)
    number = count_classes(ours, "heads.0.classify.bias", FIRST_ANCHORS)
    coco, large = number == COCO, has(ours, f"heads.{LEVELS_300}")
    model = {**(VGG512 if large else VGG300), "clip_anchors": "center_and_sides"}
    model["anchor_sizes"] = "coco" if coco else VOC_512 if large else "voc"
    rules = {
        "score_threshold": 0.01,
        "candidates_per_class": ANCHORS_512 if large else ANCHORS_300,  # all
        "iou_threshold": 0.45,
        "detections_per_image": 100,
        "clip_boxes": False,
    }
    name = f"lufficc/SSD {'SSD512' if large else 'SSD300'}"
    return Converted(name, model, ours, number, None, rules)
