"""SSDLite on MobileNet V2 and V3, in the layout of torchvision's ssdlite320_mobilenet_v3_large."""

from collections.abc import Collection, Sequence
from typing import Unpack

from torch import nn
from torchvision.models import (
    MobileNet_V2_Weights,
    MobileNet_V3_Large_Weights,
    mobilenet_v2,
    mobilenet_v3_large,
)

from ssd.errors import ConfigError
from ssd.models.extras import Features, separable_layers
from ssd.models.layers import Halving, Tapped
from ssd.models.levels import MANY, check_choice, chosen_sizes, make_levels, with_finer
from ssd.models.pretrained import imagenet_weights
from ssd.models.ssd import SSD, Common

MEAN = STD = (127.5, 127.5, 127.5)
NORM_EPS, NORM_MOMENTUM = 1e-3, 0.03  # of every batch norm
DEVIATION = 0.03  # of new weights

REFERENCE = 320
SIZES = {"lite": [REFERENCE * percent / 100 for percent in (20, 35, 50, 65, 80, 95, 100)]}
SPREAD = (None,) * 6  # levels without a stride of their own
EXTRAS = 4

# The blocks that halve the picture from stride 16, 8 and 4 on
HALVING_V2 = (14, 7, 4)
HALVING_V3 = (13, 7, 4)
FINER = (0, 1, 2)


def ssdlite320_mobilenet_v2(
    anchor_sizes: str | Sequence[float],
    finer_levels: int,
    extra_channels: Sequence[int],
    pretrained: bool,
    **common: Unpack[Common],
) -> SSD:
    """Six levels from stride 16. Arguments as for V3, whose layout this follows."""
    check_choice("finer_levels", finer_levels, FINER)
    backbone = tapped(imagenet_v2(pretrained), HALVING_V2, finer_levels)
    return ssdlite(backbone, pretrained, 1280, extra_channels, anchor_sizes, finer_levels, common)


def ssdlite320_mobilenet_v3(
    anchor_sizes: str | Sequence[float],
    finer_levels: int,
    extra_channels: Sequence[int],
    reduced_tail: bool,
    pretrained: bool,
    **common: Unpack[Common],
) -> SSD:
    """Six levels from stride 16, 3,234 anchors at 320 pixels, on MobileNet V3 large.

    anchor_sizes: "lite", a fifth to 0.95 of the side, or seven sizes in pixels of an input of 320
    finer_levels: 1 adds stride 8, 2 adds strides 8 and 4
    extra_channels: see `separable_layers`
    reduced_tail: half the channels from the last halving on, as torchvision's published weights
        have it; the ImageNet weights are of the whole one
    """
    check_choice("finer_levels", finer_levels, FINER)
    if pretrained and reduced_tail:
        raise ConfigError("model.pretrained=true: those weights need model.reduced_tail=false")
    network = mobilenet_v3_large(weights=None, reduced_tail=reduced_tail)
    if pretrained:
        network.load_state_dict(imagenet_weights(MobileNet_V3_Large_Weights.IMAGENET1K_V1))
    backbone = tapped(network.features, HALVING_V3, finer_levels)
    channels = 480 if reduced_tail else 960
    return ssdlite(
        backbone, pretrained, channels, extra_channels, anchor_sizes, finer_levels, common
    )


def imagenet_v2(pretrained: bool) -> nn.Sequential:
    """torchvision's MobileNet V2 to its last 1x1 convolution, 1280 channels."""
    network = mobilenet_v2(weights=None)
    if pretrained:
        network.load_state_dict(imagenet_weights(MobileNet_V2_Weights.IMAGENET1K_V1))
    return network.features


def tapped(blocks: Sequence[nn.Module], halving: Collection[int], finer_levels: int) -> Tapped:
    """The blocks in a row; the last halving one and `finer_levels` before it are levels, and the
    end. All of them are taken apart, so that names do not depend on that."""
    layers = list(blocks)
    for index in halving:
        widen, *rest = (
            layers[index].block if hasattr(blocks[index], "block") else blocks[index].conv
        )
        layers[index] = Halving(widen, rest)
    return Tapped(layers, [*halving[: finer_levels + 1], len(layers) - 1])


def ssdlite(
    backbone: Tapped,
    pretrained: bool,
    channels: int,
    extra_channels: Sequence[int],
    anchor_sizes: str | Sequence[float],
    finer_levels: int,
    common: Common,
) -> SSD:
    """channels: of the backbone's last map."""
    extras = separable_layers(channels, extra_channels, EXTRAS)
    features = Features(backbone, extras)
    normal(features.extras if pretrained else features)
    levels = make_levels(SPREAD, chosen_sizes(anchor_sizes, SIZES), [MANY] * len(SPREAD))
    levels = with_finer(levels, finer_levels)
    network = SSD(features, levels, finer_levels, REFERENCE, MEAN, STD, start=normal, **common)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps, layer.momentum = NORM_EPS, NORM_MOMENTUM
    return network


def normal(module: nn.Module) -> None:
    """torchvision's initialisation: normal weights, zero biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=DEVIATION)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
