"""VGG16-reducedfc: ImageNet's VGG-16 with fc6 and fc7 as convolutions, from which SSDs start.

amdegroot's vgg16_reducedfc.pth, a state dict of bare numbers. Those who use it feed it RGB less
(123, 117, 104).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssd.weights.projects.converted import Converted

FC6, FC6_SHAPE = "31.weight", (1024, 512, 3, 3)


def recognises(weights: Mapping[str, Tensor]) -> bool:
    bare = all(name.partition(".")[0].isdecimal() for name in weights)
    return bare and FC6 in weights and weights[FC6].shape == FC6_SHAPE


def convert(weights: Mapping[str, Tensor], content: Any) -> Converted:
    ours = {f"features.backbone.{name}": value for name, value in weights.items()}
    return Converted("VGG16-reducedfc", None, ours, 0, None, {})
