"""SSD300 on ResNet, in the layout of NVIDIA's DeepLearningExamples and of MLPerf: the backbone ends
with conv4_x, which keeps the stride of 8."""

from collections.abc import Sequence
from typing import Unpack

from torch import nn
from torchvision.models import ResNet, get_model, get_model_weights

from ssd.models.extras import HALVE, SHRINK, Features, extra_layers
from ssd.models.layers import Tapped, xavier
from ssd.models.levels import check_choice, chosen_sizes, make_levels, with_finer
from ssd.models.pretrained import imagenet_weights
from ssd.models.ssd import SSD, Common
from ssd.models.vgg import RATIOS_300, SIZES_300, STRIDES_300

MEAN = (123.675, 116.28, 103.53)  # torchvision's, times 255
STD = (58.395, 57.12, 57.375)

STEPS = (HALVE, HALVE, HALVE, SHRINK, SHRINK)
EXTRA_CHANNELS = {  # by depth
    18: (512, 512, 256, 256, 128),
    34: (512, 512, 256, 256, 256),
    50: (512, 512, 256, 256, 256),
}
SQUEEZE_LEAST = 128  # channels
LAYER1, LAYER3 = 4, 6  # indices in the backbone
FINER = (0, 1)


def ssd300_resnet(
    depth: int,
    anchor_sizes: str | Sequence[float],
    finer_levels: int,
    extra_channels: Sequence[int] | None,
    extra_norm: bool,
    pretrained: bool,
    **common: Unpack[Common],
) -> SSD:
    """Six levels from stride 8, with the anchors of SSD300.

    depth: 18, 34 or 50; anchor_sizes: "voc", "coco", or seven sizes in pixels of an input of 300
    finer_levels: 1 adds conv2_x, at stride 4
    extra_channels: None for NVIDIA's; extra_norm: see `extra_layers`
    pretrained: ImageNet weights for the backbone
    """
    check_choice("depth", depth, tuple(EXTRA_CHANNELS))
    check_choice("finer_levels", finer_levels, FINER)
    resnet = backbone(depth, pretrained)
    channels = resnet.layer4[0].conv1.in_channels
    widths = EXTRA_CHANNELS[depth] if extra_channels is None else extra_channels
    extras = extra_layers(channels, widths, STEPS, extra_norm, SQUEEZE_LEAST)
    for extra in extras:
        xavier(extra)
    taps = (LAYER1, LAYER3) if finer_levels else (LAYER3,)
    features = Features(Tapped(list(resnet.children())[: LAYER3 + 1], taps), extras)
    levels = make_levels(STRIDES_300, chosen_sizes(anchor_sizes, SIZES_300), RATIOS_300)
    levels = with_finer(levels, finer_levels)
    return SSD(features, levels, finer_levels, 300, MEAN, STD, start=xavier, **common)


def backbone(depth: int, pretrained: bool) -> ResNet:
    """torchvision's ResNet with a conv4_x of stride 1."""
    resnet = get_model(f"resnet{depth}", weights=None)
    if pretrained:
        weights = get_model_weights(f"resnet{depth}").IMAGENET1K_V1
        resnet.load_state_dict(imagenet_weights(weights))
    for layer in resnet.layer3[0].modules():
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)
    return resnet
