"""mmdetection's SSD300 and SSD512 on VGG-16, of 2.0 and later (configs/ssd, configs/pascal_voc).

The config that a file holds tells which of the two anchor tables its weights have learned with;
where there is none, 20 classes are taken for the VOC config and any others for the COCO one. Files
of 1.x, which had the background first and other anchors, are told by their config or version; a
bare state dict of 1.x looks like one of 2.0 to 2.13.

Its `nms_pre` is 1,000 pairs of anchor and class from each level. Here a class may have as many from
all levels together: results differ only where there are fewer than 200 detections of better scores
than those that one of these limits cuts off.
Not carried over: sides that change by more than 62.5 times are cut there, and boxes that lie
outside the image are dropped.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssd.weights.projects.architectures import FIRST_ANCHORS, VGG300, VGG512
from ssd.weights.projects.converted import Converted, count_classes, has, renamed

PROJECT = "mmdetection SSD"
CLASSIFY, LOCATE = "bbox_head.cls_convs", "bbox_head.reg_convs"
FC7 = "backbone.features.33"
VOC_CLASSES = 21  # with the background

COMMON = {"clip_anchors": "never", "mean": [123.675, 116.28, 103.53]}
MODELS = {6: {**VGG300, **COMMON}, 7: {**VGG512, **COMMON}}  # by levels
SIZES = {  # of anchors, in whole pixels, by levels and the lower end of basesize_ratio_range
    (6, 0.2): "voc",
    (6, 0.15): "coco",
    (7, 0.15): [35, 76, 153, 230, 307, 384, 460, 537],
    (7, 0.1): [20, 51, 133, 215, 296, 378, 460, 542],
}
VOC_RANGE, COCO_RANGE = {6: 0.2, 7: 0.15}, {6: 0.15, 7: 0.1}
RULES = {
    "score_threshold": 0.02,
    "candidates_per_class": 1000,
    "iou_threshold": 0.45,
    "detections_per_image": 200,
    "clip_boxes": True,
}
EXTRAS = {f"{i // 2}.{i % 2}": i for i in range(10)}  # after fc7: level and place, and number
NAMES = {  # since 2.14, and to 2.13
    "backbone.features": "features.backbone",
    "neck.l2_norm.weight": "features.norm.scale",
    "backbone.l2_norm.weight": "features.norm.scale",
    **{f"neck.extra_layers.{place}.conv": f"features.extras.{place}.0" for place in EXTRAS},
    **{f"backbone.extra.{i}": f"features.extras.{place}.0" for place, i in EXTRAS.items()},
    **{f"{CLASSIFY}.{i}.0": f"heads.{i}.classify" for i in range(7)},
    **{f"{CLASSIFY}.{i}": f"heads.{i}.classify" for i in range(7)},
    **{f"{LOCATE}.{i}.0": f"heads.{i}.locate" for i in range(7)},
    **{f"{LOCATE}.{i}": f"heads.{i}.locate" for i in range(7)},
}


def recognises(weights: Mapping[str, Tensor]) -> bool:
    """Any single-stage detector of mmdetection; `convert` refuses what is no SSD on VGG-16."""
    return has(weights, "backbone", "bbox_head")


def convert(weights: Mapping[str, Tensor], content: Any) -> Converted:
    if not has(weights, FC7, CLASSIFY, LOCATE):
        raise ValueError("of mmdetection, but not its SSD on VGG-16, which alone is read")
    meta = content.get("meta") if isinstance(content, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    config = str(meta.get("config") or meta.get("cfg") or "")  # 3.x has it as cfg
    check_version(str(meta.get("mmdet_version", "")), config)
    old = f"{CLASSIFY}.0.bias"
    number = count_classes(
        weights, old if old in weights else f"{CLASSIFY}.0.0.bias", FIRST_ANCHORS
    )
    levels = 7 if has(weights, f"{CLASSIFY}.6") else 6
    model = {**MODELS[levels], "anchor_sizes": anchor_sizes(config, levels, number)}
    ours = renamed(weights, NAMES)
    for name, layer in ours.items():
        if ".classify." in name:
            ours[name] = background_first(layer, number)
    project = f"{PROJECT}{model['image_size']}"
    return Converted(project, model, ours, number, class_names(meta, number), RULES)


def check_version(version: str, config: str) -> None:
    """Raise for 1.x. A config says it more surely: upgrading a file leaves its version."""
    if config:
        first = "anchor_strides" in config or "LegacySSDAnchorGenerator" in config
    else:
        first = version.startswith(("0.", "1."))
    if first:
        raise ValueError(
            f"{PROJECT} of mmdetection {version or '1.x'}, with the background first and other "
            "anchors; 2.0 and later are read"
        )


def anchor_sizes(config: str, levels: int, number: int) -> str | list[int]:
    said = re.search(r"basesize_ratio_range=[(\[]\s*(\d+\.\d+)", config)
    guess = VOC_RANGE if number == VOC_CLASSES else COCO_RANGE
    low = float(said[1]) if said else guess[levels]
    if (levels, low) not in SIZES or "min_sizes=" in config:
        raise ValueError(f"{PROJECT} with anchors of its own; those of configs/ssd are known")
    return SIZES[levels, low]


def background_first(layer: Tensor, number: int) -> Tensor:
    """Rows of (anchors, classes) whose background, the last, comes to the front. Another shape is
    left as it is, and is an error where the network takes the weights."""
    if layer.dim() == 0 or len(layer) % number:
        return layer
    return layer.unflatten(0, (-1, number)).roll(1, dims=1).flatten(0, 1)


def class_names(meta: Mapping[str, Any], number: int) -> list[str] | None:
    """Where the file has as many as its heads. 3.x keeps them a step deeper."""
    data = meta.get("dataset_meta")
    for place in (meta, data if isinstance(data, dict) else {}):
        for key in ("CLASSES", "classes"):
            names = place.get(key)
            if isinstance(names, list | tuple) and len(names) == number - 1:
                return [str(name) for name in names]
    return None
