"""Extra layers: the maps above a backbone's last, each from the one below."""

from collections.abc import Iterable, Sequence
from functools import partial

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from ssd.errors import ConfigError
from ssd.models.layers import depthwise

# Kernel, stride and padding of one extra layer's second convolution
Step = tuple[int, int, int]
HALVE, SHRINK = (3, 2, 1), (3, 1, 0)  # half the side; two cells less


class Features(nn.Module):
    """One feature map a level, finest first: those of a backbone, then one of each extra layer."""

    def __init__(self, backbone: nn.Module, extras: Iterable[nn.Module]) -> None:
        super().__init__()
        self.backbone = backbone
        self.extras = nn.ModuleList(extras)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.backbone(images)
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps


def extra_layers(
    channels: int, widths: Sequence[int], steps: Sequence[Step], norm: bool, squeeze_least: int = 1
) -> list[nn.Module]:
    """A 1x1 convolution to half the width of what follows, then a 3x3 one, as in the paper.

    channels: of the backbone's last map; widths: of each extra map; norm: batch norm after every
    convolution, which then has no bias; squeeze_least: channels that a 1x1 convolution has at least
    """
    check_widths(widths, len(steps))
    layer = partial(Conv2dNormActivation, norm_layer=nn.BatchNorm2d if norm else None)
    layers = []
    for width, step in zip(widths, steps, strict=True):
        squeeze = max(squeeze_least, width // 2)
        layers.append(nn.Sequential(layer(channels, squeeze, 1), layer(squeeze, width, *step)))
        channels = width
    return layers


def separable_layers(channels: int, widths: Sequence[int], number: int) -> list[nn.Module]:
    """As SSDLite has them: 1x1 to half the width, depthwise 3x3 of stride 2, 1x1, each with batch
    norm and ReLU6. number: how many widths there must be"""
    check_widths(widths, number)
    layers = []
    for width in widths:
        squeeze = max(1, width // 2)
        layers.append(
            nn.Sequential(
                Conv2dNormActivation(channels, squeeze, 1, activation_layer=nn.ReLU6),
                depthwise(squeeze, stride=2),
                Conv2dNormActivation(squeeze, width, 1, activation_layer=nn.ReLU6),
            )
        )
        channels = width
    return layers


def check_widths(widths: Sequence[int], number: int) -> None:
    if len(widths) != number or min(widths, default=1) < 1:
        raise ConfigError(
            f"model.extra_channels={list(widths)}: give {number} widths, one for each extra level"
        )
