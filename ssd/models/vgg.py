"""SSD300 and SSD512 on VGG-16, as the paper's own code has them (weiliu89/caffe, branch ssd,
ssd_pascal.py)."""

from collections.abc import Sequence
from urllib.error import URLError

from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16
from torchvision.models.vgg import cfgs, make_layers

from ssd.errors import ConfigError
from ssd.models.layers import L2Norm
from ssd.models.port_anchors import MXNET, TENSORFLOW
from ssd.models.ssd import SSD, side_pair, start_as_background
from ssd.ops.anchors import Level, ShapedLevel

STD = (1.0, 1.0, 1.0)

Levels = tuple[Level, ...] | tuple[ShapedLevel, ...]

FEW, MANY = (2.0,), (2.0, 3.0)  # aspect ratios

LEVELS_300 = {
    "voc": (  # smallest 0.1, then 0.2 to 0.9: the paper's VOC models
        Level(stride=8, size=30, next_size=60, ratios=FEW),  # conv4_3
        Level(stride=16, size=60, next_size=111, ratios=MANY),  # fc7
        Level(stride=32, size=111, next_size=162, ratios=MANY),  # conv8_2
        Level(stride=64, size=162, next_size=213, ratios=MANY),  # conv9_2
        Level(stride=100, size=213, next_size=264, ratios=FEW),  # conv10_2
        Level(stride=300, size=264, next_size=315, ratios=FEW),  # conv11_2
    ),
    "coco": (  # smallest 0.07, then 0.15 to 0.9
        Level(stride=8, size=21, next_size=45, ratios=FEW),
        Level(stride=16, size=45, next_size=99, ratios=MANY),
        Level(stride=32, size=99, next_size=153, ratios=MANY),
        Level(stride=64, size=153, next_size=207, ratios=MANY),
        Level(stride=100, size=207, next_size=261, ratios=FEW),
        Level(stride=300, size=261, next_size=315, ratios=FEW),
    ),
    "hellcat_tf": TENSORFLOW,
    "hellcat_mxnet": MXNET,
}

LEVELS_512 = {
    "voc": (  # smallest 0.07, then 0.15 to 0.9
        Level(stride=8, size=35.84, next_size=76.8, ratios=FEW),
        Level(stride=16, size=76.8, next_size=153.6, ratios=MANY),
        Level(stride=32, size=153.6, next_size=230.4, ratios=MANY),
        Level(stride=64, size=230.4, next_size=307.2, ratios=MANY),
        Level(stride=128, size=307.2, next_size=384.0, ratios=MANY),
        Level(stride=256, size=384.0, next_size=460.8, ratios=FEW),
        Level(stride=512, size=460.8, next_size=537.6, ratios=FEW),
    ),
    "coco": (  # smallest 0.04, then 0.1 to 0.9
        Level(stride=8, size=20.48, next_size=51.2, ratios=FEW),
        Level(stride=16, size=51.2, next_size=133.12, ratios=MANY),
        Level(stride=32, size=133.12, next_size=215.04, ratios=MANY),
        Level(stride=64, size=215.04, next_size=296.96, ratios=MANY),
        Level(stride=128, size=296.96, next_size=378.88, ratios=MANY),
        Level(stride=256, size=378.88, next_size=460.8, ratios=FEW),
        Level(stride=512, size=460.8, next_size=542.72, ratios=FEW),
    ),
}

# The layers above fc7: (channels of the 1x1, channels of the next, its kernel, stride, padding)
EXTRAS_300 = ((256, 512, 3, 2, 1), (128, 256, 3, 2, 1), (128, 256, 3, 1, 0), (128, 256, 3, 1, 0))
EXTRAS_512 = (
    (256, 512, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 4, 1, 1),
)


class VGGFeatures(nn.Module):
    """VGG-16 to conv4_3 and fc7, then the extra layers; one feature map a level.

    fc6 is a dilated convolution over a pool5 of stride 1, so fc7 keeps the stride of 16.
    norm_scale: where the L2 norm of conv4_3 starts; dropout: share of fc6's and fc7's outputs, the
    latter on the way up alone: the head on fc7 sees the map before
    """

    def __init__(
        self,
        extras: Sequence[tuple[int, int, int, int, int]],
        pretrained: bool,
        norm_scale: float,
        dropout: float,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ConfigError(f"model.dropout={dropout}: give a share from 0, below 1")
        layers = list(vgg_layers(pretrained))
        layers[16].ceil_mode = True  # pool3: 75 pixels to 38, not 37
        self.conv4_3 = nn.Sequential(*layers[:23])
        self.norm = L2Norm(512, norm_scale)
        self.fc7 = nn.Sequential(
            *layers[23:30],
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
            nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(dropout)),  # of 0 hands its input on
            nn.Conv2d(1024, 1024, 1),
            nn.ReLU(inplace=True),
        )
        self.dropout = nn.Dropout(dropout)
        self.extras = nn.ModuleList()
        channels = 1024
        for squeeze, out, kernel, stride, padding in extras:
            self.extras.append(
                nn.Sequential(
                    nn.Conv2d(channels, squeeze, 1),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(squeeze, out, kernel, stride, padding),
                    nn.ReLU(inplace=True),
                )
            )
            channels = out
        xavier(self.fc7[8:])
        xavier(self.extras)

    def forward(self, images: Tensor) -> list[Tensor]:
        conv4_3 = self.conv4_3(images)
        fc7 = self.fc7(conv4_3)
        maps = [self.norm(conv4_3), fc7]
        features = self.dropout(fc7)
        for extra in self.extras:
            features = extra(features)
            maps.append(features)
        return maps


def vgg_layers(pretrained: bool) -> nn.Sequential:
    """torchvision's VGG-16 up to conv5_3 and pool5: new, or with the Caffe weights that torchvision
    keeps."""
    if not pretrained:
        layers = make_layers(cfgs["D"], batch_norm=False)  # without the classifier's 120 million
        xavier(layers)
        return layers
    weights = VGG16_Weights.IMAGENET1K_FEATURES
    try:
        return vgg16(weights=weights).features
    except (URLError, OSError) as error:
        raise OSError(
            f"model.pretrained=true needs {weights.url}, which cannot be fetched ({error}); put "
            "that file into hub/checkpoints of TORCH_HOME, or set model.pretrained=false"
        ) from error


def xavier(module: nn.Module) -> None:
    """The paper's initialisation of new layers: Xavier uniform weights, zero biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def ssd300_vgg16(
    num_classes: int,
    image_size: int | Sequence[int],
    anchor_sizes: str,
    clip_anchors: str,
    pretrained: bool,
    norm_scale: float,
    dropout: float,
    mean: Sequence[float],
    object_prior: float | None,
) -> SSD:
    """SSD300: six levels from stride 8, 8,732 anchors at 300 pixels.

    num_classes: with the background; anchor_sizes: "voc" or "coco", the paper's two tables, or one
    of `models.port_anchors`
    pretrained: ImageNet weights for the VGG layers; fc6, fc7 and what follows start new
    norm_scale, dropout: see `VGGFeatures`; mean: of each channel, RGB, 0 to 255
    object_prior: see `start_as_background`; None for the paper's Xavier
    """
    levels = table(LEVELS_300, anchor_sizes)
    features = VGGFeatures(EXTRAS_300, pretrained, norm_scale, dropout)
    return vgg_ssd(features, levels, 300, num_classes, image_size, clip_anchors, mean, object_prior)


def ssd512_vgg16(
    num_classes: int,
    image_size: int | Sequence[int],
    anchor_sizes: str,
    clip_anchors: str,
    pretrained: bool,
    norm_scale: float,
    dropout: float,
    mean: Sequence[float],
    object_prior: float | None,
) -> SSD:
    """SSD512: seven levels from stride 8, 24,564 anchors at 512 pixels. Arguments as for SSD300,
    without the tables of the ports."""
    levels = table(LEVELS_512, anchor_sizes)
    features = VGGFeatures(EXTRAS_512, pretrained, norm_scale, dropout)
    return vgg_ssd(features, levels, 512, num_classes, image_size, clip_anchors, mean, object_prior)


def table(tables: dict[str, Levels], anchor_sizes: str) -> Levels:
    if anchor_sizes not in tables:
        raise ConfigError(f"model.anchor_sizes={anchor_sizes}: give one of {', '.join(tables)}")
    return tables[anchor_sizes]


def vgg_ssd(
    features: VGGFeatures,
    levels: Levels,
    reference: int,
    num_classes: int,
    image_size: int | Sequence[int],
    clip_anchors: str,
    mean: Sequence[float],
    object_prior: float | None,
) -> SSD:
    if len(mean) != 3:
        raise ConfigError(f"model.mean={list(mean)}: give three numbers, for red, green and blue")
    network = SSD(
        features=features,
        levels=levels,
        reference=reference,
        num_classes=num_classes,
        image_size=side_pair(image_size),
        mean=mean,
        std=STD,
        clip_anchors=clip_anchors,
    )
    xavier(network.heads)
    if object_prior is not None:
        start_as_background(network, object_prior)
    return network
