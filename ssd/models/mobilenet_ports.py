"""SSD300 on MobileNet V1 and SSDLite300 on V2, as qfgaohao/pytorch-ssd has them (mb1-ssd and
mb2-ssd-lite)."""

from collections.abc import Sequence
from typing import Unpack

from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops import Conv2dNormActivation

from ssd.models.extras import HALVE, Features, check_widths, extra_layers
from ssd.models.layers import Tapped, xavier
from ssd.models.levels import MANY, check_choice, chosen_sizes, make_levels, with_finer
from ssd.models.ssd import SSD, Common
from ssd.models.ssdlite import HALVING_V2, imagenet_v2, tapped

MEAN, STD = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)

REFERENCE = 300
STRIDES = (16, 32, 64, 100, 150, 300)
SIZES = {"qfgaohao": [60, 105, 150, 195, 240, 285, 330]}
FINER = (0, 1, 2)

# MobileNet V1 after its first layer: (channels, stride) of each pair of convolutions, and the
# indices of the layers at stride 4, 8, 16 and 32
PAIRS_V1 = (
    ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))
    + ((512, 1),) * 5
    + ((1024, 2), (1024, 1))
)
STRIDE_4, STRIDE_8, STRIDE_16, STRIDE_32 = 3, 5, 11, 13

RATIOS_V2 = (0.2, 0.25, 0.5, 0.25)  # of the extra layers: inner channels to those of the input


def ssd300_mobilenet_v1(
    anchor_sizes: str | Sequence[float],
    finer_levels: int,
    extra_channels: Sequence[int],
    extra_norm: bool,
    **common: Unpack[Common],
) -> SSD:
    """Six levels from stride 16, 3,000 anchors at 300 pixels. It has no ImageNet weights.

    anchor_sizes: "qfgaohao", or seven sizes in pixels of an input of 300
    finer_levels: 1 adds stride 8, 2 adds strides 8 and 4
    extra_channels, extra_norm: see `extra_layers`
    """
    check_choice("finer_levels", finer_levels, FINER)
    taps = (STRIDE_4, STRIDE_8, STRIDE_16, STRIDE_32)[2 - finer_levels :]
    extras = extra_layers(1024, extra_channels, [HALVE] * 4, extra_norm, squeeze_least=128)
    features = Features(Tapped(mobilenet_v1(), taps), extras)
    xavier(features)
    separable = [common["separable_heads"]] * (finer_levels + 6)
    return port(features, anchor_sizes, finer_levels, separable, common)


def ssdlite300_mobilenet_v2(
    anchor_sizes: str | Sequence[float],
    finer_levels: int,
    extra_channels: Sequence[int],
    pretrained: bool,
    **common: Unpack[Common],
) -> SSD:
    """Six levels from stride 16, 3,000 anchors at 300 pixels; extra layers are inverted residuals,
    and the coarsest level's head is never separable. Other arguments as for V1.

    extra_channels: of the four extra levels; pretrained: ImageNet weights for the backbone
    """
    check_choice("finer_levels", finer_levels, FINER)
    blocks = imagenet_v2(pretrained)
    channels = [1280, *extra_channels]
    check_widths(extra_channels, len(RATIOS_V2))
    extras = [
        InvertedResidual(channels[i], channels[i + 1], stride=2, expand_ratio=ratio)
        for i, ratio in enumerate(RATIOS_V2)
    ]
    features = Features(tapped(blocks, HALVING_V2, finer_levels), extras)
    xavier(features.extras if pretrained else features)
    separable = [common["separable_heads"]] * (finer_levels + 5) + [False]
    return port(features, anchor_sizes, finer_levels, separable, common)


def mobilenet_v1() -> list[nn.Module]:
    """MobileNet V1's fourteen layers: a convolution, then pairs of a depthwise and a 1x1 one."""
    layers: list[nn.Module] = [Conv2dNormActivation(3, 32, 3, stride=2)]
    channels = 32
    for out, stride in PAIRS_V1:
        layers.append(
            nn.Sequential(
                Conv2dNormActivation(channels, channels, 3, stride, groups=channels),
                Conv2dNormActivation(channels, out, 1),
            )
        )
        channels = out
    return layers


def port(
    features: Features,
    anchor_sizes: str | Sequence[float],
    finer_levels: int,
    separable: Sequence[bool],
    common: Common,
) -> SSD:
    levels = make_levels(STRIDES, chosen_sizes(anchor_sizes, SIZES), [MANY] * len(STRIDES))
    levels = with_finer(levels, finer_levels)
    arguments = {**common, "separable_heads": separable}
    return SSD(features, levels, finer_levels, REFERENCE, MEAN, STD, start=xavier, **arguments)
