"""NVIDIA DeepLearningExamples' SSD300 on ResNet (PyTorch/Detection/SSD, ssd/model.py and
ssd/utils.py, and src/ before them).

Detections are those of its evaluate.py and of the torch hub, both with an IoU of 0.5 in place of
the 0.45 that Encoder.decode_batch has by itself. A box of just that IoU goes there and stays here.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssd.weights.projects.architectures import PLAIN
from ssd.weights.projects.converted import Converted, count_classes, has, renamed

PROJECT = "NVIDIA DeepLearningExamples SSD300"
BACKBONE = "feature_extractor.feature_extractor"
CONV4 = 6  # index of conv4_x in it
DEPTHS = {(False, 2): 18, (False, 6): 34, (True, 6): 50}  # bottlenecks?, blocks of conv4_x

MODEL = {
    **PLAIN,
    "name": "ssd300_resnet",
    "image_size": 300,
    "anchor_sizes": "coco",
    "clip_anchors": "center_and_sides",
    "extra_channels": None,
    "extra_norm": True,
    "pretrained": False,
}
RULES = {
    "score_threshold": 0.05,
    "candidates_per_class": 200,
    "iou_threshold": 0.5,
    "detections_per_image": 200,
    "clip_boxes": False,
}
ANCHORS = (4, 6, 6, 6, 4, 4)  # of a cell, by level
EXTRA = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1"}  # places in a block, and ours
NAMES = {
    BACKBONE: "features.backbone",
    **{
        f"additional_blocks.{i}.{theirs}": f"features.extras.{i}.{ours}"
        for i in range(5)
        for theirs, ours in EXTRA.items()
    },
    **{f"conf.{i}": f"heads.{i}.classify" for i in range(6)},
    **{f"loc.{i}": f"heads.{i}.locate" for i in range(6)},
}


def recognises(weights: Mapping[str, Tensor]) -> bool:
    return has(weights, BACKBONE, "additional_blocks")


def convert(weights: Mapping[str, Tensor], content: Any) -> Converted:
    number = count_classes(weights, "conf.0.bias", ANCHORS[0])
    ours = renamed(weights, NAMES)
    for level, anchors in enumerate(ANCHORS):
        for layer, outputs in (("classify", number), ("locate", 4)):
            for part in ("weight", "bias"):
                name = f"heads.{level}.{layer}.{part}"
                if name in ours:
                    ours[name] = anchors_first(ours[name], outputs, anchors)
    model = {**MODEL, "depth": depth(weights)}
    return Converted(PROJECT, model, ours, number, label_names(content, number), RULES)


def depth(weights: Mapping[str, Tensor]) -> int:
    """Of the ResNet, by what its last stage consists of."""
    names = [name.split(".") for name in weights if name.startswith(f"{BACKBONE}.{CONV4}.")]
    blocks = len({parts[3] for parts in names})
    bottlenecks = any("conv3" in parts for parts in names)
    if (bottlenecks, blocks) not in DEPTHS:
        kind = "bottleneck" if bottlenecks else "basic"
        raise ValueError(
            f"{PROJECT} with {blocks} {kind} blocks in conv4_x; ResNet-18 and -34 were expected, "
            "with 2 and 6 basic ones, or ResNet-50 with 6 bottleneck ones"
        )
    return DEPTHS[bottlenecks, blocks]


def anchors_first(layer: Tensor, outputs: int, anchors: int) -> Tensor:
    """From channels (outputs, anchors) to (anchors, outputs). Another shape is left as it is, and
    is an error where the network takes the weights."""
    if layer.dim() == 0 or len(layer) != outputs * anchors:
        return layer
    return layer.unflatten(0, (outputs, anchors)).transpose(0, 1).flatten(0, 1)


def label_names(content: Any, number: int) -> list[str] | None:
    """Class names that training scripts put beside the weights, from 1 on; 0 is the background."""
    names = content.get("label_map") if isinstance(content, dict) else None
    if not isinstance(names, dict) or len(names) != number:
        return None
    found = [names.get(label) for label in range(1, number)]
    return found if all(isinstance(name, str) for name in found) else None
