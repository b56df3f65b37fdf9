"""vgg16-ssd, mb1-ssd and mb2-ssd-lite of qfgaohao/pytorch-ssd (vision/ssd).

A mb2-ssd-lite can be made with ReLU in place of ReLU6, which its file does not tell; the published
one has ReLU6.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from ssd.weights.projects.architectures import FIRST_ANCHORS, PLAIN, VGG300
from ssd.weights.projects.converted import Converted, count_classes, has, renamed

PROJECT = "qfgaohao/pytorch-ssd"
HEADS = {"classification_headers": "classify", "regression_headers": "locate"}
FIRST_HEAD = "classification_headers.0"
LEVELS = 6
CANDIDATES = 200

CLIP = "center_and_sides"
VGG = {**VGG300, "anchor_sizes": "voc", "clip_anchors": CLIP}
L2_NORM = "source_layer_add_ons.0.scale"  # of early revisions; later ones have a batch norm

MOBILENET = {**PLAIN, "image_size": 300, "anchor_sizes": "qfgaohao", "clip_anchors": CLIP}
MOBILENET_ANCHORS = 6  # of a cell
V1 = {
    **MOBILENET,
    "name": "ssd300_mobilenet_v1",
    "extra_channels": [512, 256, 256, 256],
    "extra_norm": False,
}
V2 = {
    **MOBILENET,
    "name": "ssdlite300_mobilenet_v2",
    "extra_channels": [512, 256, 256, 64],
    "separable_heads": True,
    "pretrained": False,
}

# The convolutions and norms of a block: their place in its sequence, and ours
PLAIN_EXTRA = {"0": "0.0", "2": "1.0"}
PAIR = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1"}
RESIDUAL = {**PAIR, "6": "2", "7": "3"}
FIRST_RESIDUAL = {"0": "0.0", "1": "0.1", "3": "1", "4": "2"}  # it does not widen
HALVING = {
    **{"0": "widen.0", "1": "widen.1"},
    **{"3": "rest.0.0", "4": "rest.0.1", "6": "rest.1", "7": "rest.2"},
}
HALVING_BLOCKS = (4, 7, 14)


def recognises(weights: Mapping[str, Tensor]) -> bool:
    return has(weights, "base_net", "extras", *HEADS)


def convert(weights: Mapping[str, Tensor], content: Any) -> Converted:
    separable_extras = has(weights, "extras.0.2.0")  # of mb1-ssd-lite and sq-ssd-lite
    if has(weights, "base_net.1.conv"):
        number = count_classes(weights, f"{FIRST_HEAD}.3.bias", MOBILENET_ANCHORS)
        return converted("mb2-ssd-lite", V2, v2_weights(weights), number)
    if has(weights, "base_net.1.0") and not separable_extras:
        number = count_classes(weights, f"{FIRST_HEAD}.bias", MOBILENET_ANCHORS)
        return converted("mb1-ssd", V1, renamed(weights, v1_names()), number)
    if has(weights, "base_net.33"):
        number = count_classes(weights, f"{FIRST_HEAD}.bias", FIRST_ANCHORS)
        model = {**VGG, "conv4_3_norm": "l2" if L2_NORM in weights else "batch"}
        return converted("vgg16-ssd", model, renamed(weights, vgg_names()), number)
    raise ValueError(f"{PROJECT}, but none of its vgg16-ssd, mb1-ssd and mb2-ssd-lite")


def converted(name: str, model: dict[str, Any], ours: dict[str, Tensor], number: int) -> Converted:
    rules = {
        "score_threshold": 0.01,
        "candidates_per_class": CANDIDATES,
        "iou_threshold": 0.45,
        "detections_per_image": CANDIDATES * (number - 1),  # all of them
        "clip_boxes": False,
        "union_margin": 1e-5,
    }
    return Converted(f"{PROJECT} {name}", model, ours, number, None, rules)


def vgg_names() -> dict[str, str]:
    return {
        **plain_names(),
        "base_net": "features.backbone",
        "source_layer_add_ons.0": "features.norm",
    }


def v1_names() -> dict[str, str]:
    names = {**plain_names(), "base_net.0": "features.backbone.0"}
    for i in range(1, 14):
        names |= below(f"base_net.{i}", f"features.backbone.{i}", PAIR)
    return names


def plain_names() -> dict[str, str]:
    """Of the layers that vgg16-ssd and mb1-ssd share: extra ones and heads."""
    names = {f"{head}.{i}": f"heads.{i}.{HEADS[head]}" for head in HEADS for i in range(LEVELS)}
    for i in range(4):
        names |= below(f"extras.{i}", f"features.extras.{i}", PLAIN_EXTRA)
    return names


def v2_names() -> dict[str, str]:
    names = {
        "base_net.0": "features.backbone.0",
        **below("base_net.1.conv", "features.backbone.1.conv", FIRST_RESIDUAL),
        "base_net.18": "features.backbone.18",
    }
    for i in range(2, 18):
        if i in HALVING_BLOCKS:
            names |= below(f"base_net.{i}.conv", f"features.backbone.{i}", HALVING)
        else:
            names |= below(f"base_net.{i}.conv", f"features.backbone.{i}.conv", RESIDUAL)
    for i in range(4):
        names |= below(f"extras.{i}.conv", f"features.extras.{i}.conv", RESIDUAL)
    for head, name in HEADS.items():
        for i in range(LEVELS - 1):
            names |= {f"{head}.{i}.3": f"heads.{i}.{name}"}
            names |= {f"{head}.{i}.{j}": f"heads.{i}.before_{name}.{j}" for j in (0, 1)}
        names[f"{head}.5"] = f"heads.5.{name}"
    return names


def below(theirs: str, ours: str, places: Mapping[str, str]) -> dict[str, str]:
    return {f"{theirs}.{old}": f"{ours}.{new}" for old, new in places.items()}


def v2_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With two differences made good: their depthwise convolutions in heads have biases, which move
    the mean that is then subtracted; and the coarsest level's heads are 1x1 convolutions."""
    weights = dict(weights)
    for head in HEADS:
        for i in range(LEVELS - 1):
            bias, mean = f"{head}.{i}.0.bias", f"{head}.{i}.1.running_mean"
            for name in (bias, mean):
                if name not in weights:
                    raise ValueError(f"{PROJECT} mb2-ssd-lite, but {name} is missing")
            if weights[mean].shape == weights[bias].shape:  # else said later, by its name
                weights[mean] = weights[mean] - weights.pop(bias)
        last = f"{head}.{LEVELS - 1}.weight"
        if last in weights and weights[last].shape[2:] == (1, 1):
            weights[last] = pad(weights[last], (1, 1, 1, 1))
    return renamed(weights, v2_names())
