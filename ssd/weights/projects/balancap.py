"""ssd_300_vgg and ssd_512_vgg of balancap/SSD-Tensorflow (nets/ssd_vgg_300.py, ssd_vgg_512.py), by
the names of TensorFlow's variables.

A file does not tell the sizes of its anchors: the code has Caffe's for COCO in both networks, also
for VOC's classes, since its published weights began on COCO.
The rules are those of eval_ssd_network.py, which ends with 200 detections of each class; here the
best 200 for each class there is, whatever their class.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssd.weights.projects.architectures import FIRST_ANCHORS, VGG300, VGG512
from ssd.weights.projects.converted import Converted, count_classes

PROJECT = "balancap/SSD-Tensorflow"
MODELS = {
    "ssd_300_vgg": {**VGG300, "anchor_sizes": "coco", "dropout": 0.5},
    "ssd_512_vgg": {**VGG512, "anchor_sizes": "coco"},
}
FIRST_HEAD = "block4_box/conv_cls/biases"
KEPT_OF_A_CLASS = 200

KINDS = {"weights": "weight", "biases": "bias", "gamma": "scale"}
VGG = {  # the numbers of each stage's convolutions
    1: (0, 2),
    2: (5, 7),
    3: (10, 12, 14),
    4: (17, 19, 21),
    5: (24, 26, 28),
}
LAYERS = {
    **{
        f"conv{stage}/conv{stage}_{i}": f"features.backbone.{number}"
        for stage, numbers in VGG.items()
        for i, number in enumerate(numbers, 1)
    },
    "conv6": "features.backbone.31",
    "conv7": "features.backbone.33",
    **{f"block{8 + i}/conv1x1": f"features.extras.{i}.0.0" for i in range(5)},
    **{f"block{8 + i}/conv3x3": f"features.extras.{i}.1.0" for i in range(4)},
    "block12/conv4x4": "features.extras.4.1.0",
    "block4_box/L2Normalization": "features.norm",
}
for level, block in enumerate((4, 7, 8, 9, 10, 11, 12)):
    LAYERS[f"block{block}_box/conv_cls"] = f"heads.{level}.classify"
    LAYERS[f"block{block}_box/conv_loc"] = f"heads.{level}.locate"


def recognises(weights: Mapping[str, Tensor]) -> bool:
    return scope_of(weights) is not None


def scope_of(weights: Mapping[str, Tensor]) -> str | None:
    return next(
        (scope for scope in MODELS if any(n.startswith(f"{scope}/") for n in weights)), None
    )


def convert(weights: Mapping[str, Tensor], content: Any) -> Converted:
    scope = scope_of(weights)
    number = count_classes(weights, f"{scope}/{FIRST_HEAD}", FIRST_ANCHORS)
    ours = {}
    for name, value in weights.items():
        front, _, kind = name.rpartition("/")
        if name.startswith(f"{scope}/") and kind in KINDS:  # no slot of an optimizer, no average
            layer = front.removeprefix(f"{scope}/")
            ours[f"{LAYERS.get(layer, layer)}.{KINDS[kind]}"] = in_torchs_order(value)
    rules = {
        "score_threshold": 0.01,
        "candidates_per_class": 400,
        "iou_threshold": 0.45,
        "detections_per_image": KEPT_OF_A_CLASS * (number - 1),
        "clip_boxes": False,
    }
    return Converted(f"{PROJECT} {scope}", MODELS[scope], ours, number, None, rules)


def in_torchs_order(value: Tensor) -> Tensor:
    """A kernel (height, width, in, out) as (out, in, height, width); others as they are."""
    return value.permute(3, 2, 0, 1) if value.ndim == 4 else value
