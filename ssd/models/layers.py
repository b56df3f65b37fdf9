"""Layers that torch and torchvision lack."""

from collections.abc import Collection, Iterable, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork


class Normalize(nn.Module):
    """Pixels to what the backbone expects: uint8 RGB in, (pixel - mean) / std in float32 out.

    The first layer of every network, so training, evaluation, prediction and export cannot differ.
    mean, std: of each channel, in units of the pixel, 0 to 255
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            column = torch.tensor(values, dtype=torch.float32).view(3, 1, 1)
            self.register_buffer(name, column, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std  # uint8 becomes float32 on the way


class L2Norm(nn.Module):
    """Feature vectors of unit length, times a learned scale per channel (paper, section 3.1).

    Computed in float32 whatever the precision around it: the sum over 512 squares loses too much in
    half.
    """

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), float(scale)))

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            unit = nn.functional.normalize(features.float(), dim=1, eps=1e-10)
            return unit * self.scale.view(-1, 1, 1)


class Halving(nn.Module):
    """A block that halves the picture, in two steps: what widens the map before that, which can be
    a level, and the rest."""

    def __init__(self, widen: nn.Module, rest: Iterable[nn.Module]) -> None:
        super().__init__()
        self.widen = widen
        self.rest = nn.Sequential(*rest)


class Tapped(nn.Sequential):
    """Layers in a row, some of whose outputs are feature maps: those of the indices `taps`. Of a
    `Halving` it is the output of its first step."""

    def __init__(self, layers: Iterable[nn.Module], taps: Collection[int]) -> None:
        super().__init__(*layers)
        self.taps = taps

    def forward(self, features: Tensor) -> list[Tensor]:
        maps = []
        for index, layer in enumerate(self):
            halves = isinstance(layer, Halving)
            features = layer.widen(features) if halves else layer(features)
            if index in self.taps:
                maps.append(features)
            features = layer.rest(features) if halves else features
        return maps


class TopDown(nn.Module):
    """A feature pyramid network over maps, finest first: what the coarser ones know is added to the
    finer (Lin et al., "Feature Pyramid Networks for Object Detection")."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.pyramid = FeaturePyramidNetwork(list(channels), width)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return list(self.pyramid({str(level): m for level, m in enumerate(maps)}).values())


def depthwise(channels: int, stride: int = 1) -> nn.Module:
    """A 3x3 convolution of each channel for itself, with batch norm and ReLU6, as in SSDLite."""
    return Conv2dNormActivation(
        channels, channels, 3, stride, groups=channels, activation_layer=nn.ReLU6
    )


def xavier(module: nn.Module) -> None:
    """The paper's initialisation of new layers: Xavier uniform weights, zero biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
