"""SSD300 and SSD512 on VGG-16, as the paper's own code has them (weiliu89/caffe, branch ssd,
ssd_pascal.py)."""

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor, nn
from torchvision.models import VGG16_Weights
from torchvision.models.vgg import cfgs, make_layers

from ssd.errors import ConfigError
from ssd.models.extras import HALVE, SHRINK, extra_layers
from ssd.models.layers import L2Norm, Tapped, xavier
from ssd.models.levels import (
    FEW,
    MANY,
    Levels,
    check_choice,
    chosen_sizes,
    make_levels,
    spread_sizes,
    with_finer,
)
from ssd.models.port_anchors import MXNET, TENSORFLOW
from ssd.models.pretrained import imagenet_weights
from ssd.models.ssd import SSD, Common

STD = (1.0, 1.0, 1.0)

STRIDES_300 = (8, 16, 32, 64, 100, 300)
RATIOS_300 = (FEW, MANY, MANY, MANY, FEW, FEW)
SIZES_300 = {
    "voc": spread_sizes(300, 10, 20, 90, levels=6),  # the paper's VOC models
    "coco": spread_sizes(300, 7, 15, 90, levels=6),
}
PORTS = {"hellcat_tf": TENSORFLOW, "hellcat_mxnet": MXNET}

STRIDES_512 = (8, 16, 32, 64, 128, 256, 512)
RATIOS_512 = (FEW, MANY, MANY, MANY, MANY, FEW, FEW)
SIZES_512 = {
    "voc": spread_sizes(512, 7, 15, 90, levels=7),
    "coco": spread_sizes(512, 4, 10, 90, levels=7),
}

STEPS_300 = (HALVE, HALVE, SHRINK, SHRINK)
STEPS_512 = (HALVE, HALVE, HALVE, HALVE, (4, 1, 1))

CONV3_3, CONV4_3, FC6, FC7 = 15, 22, 32, 34  # indices of their ReLUs
FINER = (0, 1)
NORMS = ("l2", "batch")  # the paper's; that of qfgaohao/pytorch-ssd


class VGGFeatures(nn.Module):
    """VGG-16 to conv4_3 and fc7, then the extra layers; one feature map a level.

    fc6 is a dilated convolution over a pool5 of stride 1, so fc7 keeps the stride of 16. The layers
    of `backbone` are numbered as in VGG16-reducedfc files.
    finer: whether conv3_3 is a level too
    norm: of conv4_3 (and conv3_3) for its head alone, one of NORMS; norm_scale: where it starts
    dropout: share of fc6's and fc7's outputs, the latter on the way up alone: the head on fc7 sees
        the map before
    """

    def __init__(
        self,
        extras: Sequence[nn.Module],
        pretrained: bool,
        finer: bool,
        norm: str,
        norm_scale: float,
        dropout: float,
    ) -> None:
        super().__init__()
        check_choice("conv4_3_norm", norm, NORMS)
        if not 0 <= dropout < 1:
            raise ConfigError(f"model.dropout={dropout}: give a share from 0, below 1")
        layers = list(vgg_layers(pretrained))[:30]
        layers[16].ceil_mode = True  # pool3: 75 pixels to 38, not 37
        top = [
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
            nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(dropout)),  # of 0 hands its input on
            nn.Conv2d(1024, 1024, 1),
            nn.ReLU(inplace=True),
        ]
        for layer in top:
            xavier(layer)
        taps = (CONV3_3, CONV4_3, FC7) if finer else (CONV4_3, FC7)
        self.backbone = Tapped([*layers, *top], taps)
        self.norm = make_norm(norm, 512, norm_scale)
        self.finer_norm = make_norm(norm, 256, norm_scale) if finer else None
        self.dropout = nn.Dropout(dropout)
        self.extras = nn.ModuleList(extras)
        xavier(self.extras)

    def forward(self, images: Tensor) -> list[Tensor]:
        *finer, conv4_3, fc7 = self.backbone(images)
        maps = [self.norm(conv4_3), fc7]
        features = self.dropout(fc7)
        for extra in self.extras:
            features = extra(features)
            maps.append(features)
        return [*(self.finer_norm(conv3_3) for conv3_3 in finer), *maps]


def make_norm(norm: str, channels: int, scale: float) -> nn.Module:
    if norm == "l2":
        return L2Norm(channels, scale)
    layer = nn.BatchNorm2d(channels)
    nn.init.constant_(layer.weight, scale)
    return layer


def vgg_layers(pretrained: bool) -> nn.Sequential:
    """torchvision's VGG-16 up to conv5_3 and pool5: new, or with the Caffe weights that torchvision
    keeps."""
    layers = make_layers(cfgs["D"], batch_norm=False)  # without the classifier's 120 million
    xavier(layers)
    if pretrained:
        weights = imagenet_weights(VGG16_Weights.IMAGENET1K_FEATURES)
        front = "features."
        layers.load_state_dict(
            {n.removeprefix(front): value for n, value in weights.items() if n.startswith(front)}
        )
    return layers


def ssd300_vgg16(
    anchor_sizes: str | Sequence[float],
    finer_levels: int,
    extra_channels: Sequence[int],
    extra_norm: bool,
    pretrained: bool,
    conv4_3_norm: str,
    norm_scale: float,
    dropout: float,
    mean: Sequence[float],
    **common: Unpack[Common],
) -> SSD:
    """SSD300: six levels from stride 8, 8,732 anchors at 300 pixels.

    anchor_sizes: "voc" or "coco", the paper's two tables; one of `models.port_anchors`; or seven
    sizes in pixels of an input of 300
    finer_levels: 1 adds conv3_3, at stride 4
    extra_channels, extra_norm: see `extra_layers`
    pretrained: ImageNet weights for the VGG layers; fc6, fc7 and what follows start new
    conv4_3_norm, norm_scale, dropout: see `VGGFeatures`; mean: of each channel, RGB, 0 to 255
    """
    levels = levels_300(anchor_sizes)
    extras = extra_layers(1024, extra_channels, STEPS_300, extra_norm)
    check_choice("finer_levels", finer_levels, FINER)
    features = VGGFeatures(extras, pretrained, finer_levels > 0, conv4_3_norm, norm_scale, dropout)
    return vgg_ssd(features, levels, finer_levels, 300, mean, common)


def ssd512_vgg16(
    anchor_sizes: str | Sequence[float],
    finer_levels: int,
    extra_channels: Sequence[int],
    extra_norm: bool,
    pretrained: bool,
    conv4_3_norm: str,
    norm_scale: float,
    dropout: float,
    mean: Sequence[float],
    **common: Unpack[Common],
) -> SSD:
    """SSD512: seven levels from stride 8, 24,564 anchors at 512 pixels. Arguments as for SSD300,
    without the tables of the ports; eight sizes, in pixels of an input of 512."""
    levels = levels_512(anchor_sizes)
    extras = extra_layers(1024, extra_channels, STEPS_512, extra_norm)
    check_choice("finer_levels", finer_levels, FINER)
    features = VGGFeatures(extras, pretrained, finer_levels > 0, conv4_3_norm, norm_scale, dropout)
    return vgg_ssd(features, levels, finer_levels, 512, mean, common)


def levels_300(anchor_sizes: str | Sequence[float]) -> Levels:
    if isinstance(anchor_sizes, str) and anchor_sizes in PORTS:
        return PORTS[anchor_sizes]
    sizes = chosen_sizes(anchor_sizes, SIZES_300, *PORTS)
    return make_levels(STRIDES_300, sizes, RATIOS_300)


def levels_512(anchor_sizes: str | Sequence[float]) -> Levels:
    return make_levels(STRIDES_512, chosen_sizes(anchor_sizes, SIZES_512), RATIOS_512)


def vgg_ssd(
    features: VGGFeatures,
    levels: Levels,
    finer_levels: int,
    reference: int,
    mean: Sequence[float],
    common: Common,
) -> SSD:
    if len(mean) != 3:
        raise ConfigError(f"model.mean={list(mean)}: give three numbers, for red, green and blue")
    levels = with_finer(levels, finer_levels)
    return SSD(features, levels, finer_levels, reference, mean, STD, start=xavier, **common)
