"""Arguments of `ssd.models` for the networks of other projects, where these agree."""

from typing import Any

PLAIN: dict[str, Any] = {
    "anchor_ratios": None,
    "clip_anchors": "never",
    "separable_heads": False,
    "head_width": None,
    "top_down": None,
    "object_prior": None,
    "finer_levels": 0,
}
VGG: dict[str, Any] = {
    **PLAIN,
    "extra_norm": False,
    "conv4_3_norm": "l2",
    "norm_scale": 20,
    "dropout": 0,
    "mean": [123, 117, 104],
    "pretrained": False,
}
VGG300 = {**VGG, "name": "ssd300_vgg16", "image_size": 300, "extra_channels": [512, 256, 256, 256]}
VGG512 = {
    **VGG,
    "name": "ssd512_vgg16",
    "image_size": 512,
    "extra_channels": [512, 256, 256, 256, 256],
}

# Anchors of a cell on the first level
FIRST_ANCHORS = 4
