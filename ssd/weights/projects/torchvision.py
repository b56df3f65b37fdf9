"""torchvision's ssd300_vgg16 and ssdlite320_mobilenet_v3_large (torchvision/models/detection), in
both directions."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssd.weights.projects.architectures import FIRST_ANCHORS, PLAIN, VGG300
from ssd.weights.projects.converted import Converted, count_classes, has, renamed

LEVELS = 6
CLASSIFY, LOCATE = "head.classification_head.module_list", "head.regression_head.module_list"

SSD300 = {
    **VGG300,
    "anchor_sizes": "coco",
    "clip_anchors": "sides",
    "mean": [255 * share for share in (0.48235, 0.45882, 0.40784)],
}
SSD300_RULES = {
    "score_threshold": 0.01,
    "candidates_per_class": 400,
    "iou_threshold": 0.45,
    "detections_per_image": 200,
    "clip_boxes": True,
}
SSD300_NAMES = {
    "backbone.scale_weight": "features.norm.scale",
    "backbone.features": "features.backbone",
    **{f"backbone.extra.0.{i}": f"features.backbone.{23 + i}" for i in range(7)},
    "backbone.extra.0.7.1": "features.backbone.31",
    "backbone.extra.0.7.3": "features.backbone.33",
    **{f"backbone.extra.{i + 1}.0": f"features.extras.{i}.0.0" for i in range(4)},
    **{f"backbone.extra.{i + 1}.2": f"features.extras.{i}.1.0" for i in range(4)},
    **{f"{CLASSIFY}.{i}": f"heads.{i}.classify" for i in range(LEVELS)},
    **{f"{LOCATE}.{i}": f"heads.{i}.locate" for i in range(LEVELS)},
}

SSDLITE = {
    **PLAIN,
    "name": "ssdlite320_mobilenet_v3",
    "image_size": 320,
    "anchor_sizes": "lite",
    "clip_anchors": "sides",
    "separable_heads": True,
    "extra_channels": [512, 256, 256, 128],
    "pretrained": False,
}
SSDLITE_RULES = {
    "score_threshold": 0.001,
    "candidates_per_class": 300,
    "iou_threshold": 0.55,
    "detections_per_image": 300,
    "clip_boxes": True,
}
SSDLITE_NAMES = {
    "backbone.features.0": "features.backbone",
    **{f"backbone.features.0.{n}.block.0": f"features.backbone.{n}.widen" for n in (4, 7)},
    **{
        f"backbone.features.0.{n}.block.{i}": f"features.backbone.{n}.rest.{i - 1}"
        for n, parts in ((4, 4), (7, 3))
        for i in range(1, parts)
    },
    "backbone.features.0.13": "features.backbone.13.widen",
    **{f"backbone.features.1.0.{i + 1}": f"features.backbone.13.rest.{i}" for i in range(3)},
    **{f"backbone.features.1.{i}": f"features.backbone.{13 + i}" for i in range(1, 4)},
    "backbone.extra": "features.extras",
    **{f"{CLASSIFY}.{i}.0": f"heads.{i}.before_classify" for i in range(LEVELS)},
    **{f"{CLASSIFY}.{i}.1": f"heads.{i}.classify" for i in range(LEVELS)},
    **{f"{LOCATE}.{i}.0": f"heads.{i}.before_locate" for i in range(LEVELS)},
    **{f"{LOCATE}.{i}.1": f"heads.{i}.locate" for i in range(LEVELS)},
}
SSDLITE_ANCHORS = 6  # of a cell
TAIL, WHOLE_TAIL = "backbone.features.1.3.0.weight", 960  # its last convolution, and its channels

# Arguments that do not change a state dict, and those of them that change what it detects
NOT_SHAPES = (
    "anchor_sizes",
    "clip_anchors",
    "image_size",
    "mean",
    "norm_scale",
    "dropout",
    "object_prior",
    "pretrained",
)
TOLD = (*NOT_SHAPES[:4], "reduced_tail")


def recognises(weights: Mapping[str, Tensor]) -> bool:
    return has(weights, "backbone.features", "backbone.extra", CLASSIFY, LOCATE)


def convert(weights: Mapping[str, Tensor], content: Any) -> Converted:
    if "backbone.scale_weight" in weights:
        number = count_classes(weights, f"{CLASSIFY}.0.bias", FIRST_ANCHORS)
        ours = renamed(weights, SSD300_NAMES)
        return Converted("torchvision ssd300_vgg16", SSD300, ours, number, None, SSD300_RULES)
    number = count_classes(weights, f"{CLASSIFY}.0.1.bias", SSDLITE_ANCHORS)
    whole = TAIL in weights and weights[TAIL].shape[:1] == (WHOLE_TAIL,)
    model = {**SSDLITE, "reduced_tail": not whole}
    name, ours = "torchvision ssdlite320_mobilenet_v3_large", renamed(weights, SSDLITE_NAMES)
    return Converted(name, model, ours, number, None, SSDLITE_RULES)


def convert_back(model: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's state dict of a network of its shapes, given by a checkpoint's `model`."""
    theirs, names = {
        SSD300["name"]: (SSD300, SSD300_NAMES),
        SSDLITE["name"]: (SSDLITE, SSDLITE_NAMES),
    }.get(model["name"], (None, None))
    if theirs is None:
        raise ValueError(
            f"torchvision has no {model['name']}; it has {SSD300['name']} and {SSDLITE['name']}"
        )
    other = [
        f"model.{key}={model.get(key)} for {value}"
        for key, value in theirs.items()
        if key not in NOT_SHAPES and model.get(key) != value
    ]
    if other:
        raise ValueError(f"not of the shapes of torchvision's: {', '.join(other)}")
    return renamed(weights, {ours: names for names, ours in names.items()})


def differences(model: Mapping[str, Any]) -> list[str]:
    """What torchvision's constructor is to be told besides, to detect the same with the weights."""
    theirs = SSD300 if model["name"] == SSD300["name"] else {**SSDLITE, "reduced_tail": True}
    return [
        f"model.{key}={model[key]}" for key in TOLD if key in theirs and model[key] != theirs[key]
    ]
