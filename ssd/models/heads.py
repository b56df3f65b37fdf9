"""What a level predicts: class logits and box offsets of every anchor."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from ssd.errors import ConfigError
from ssd.models.layers import depthwise
from ssd.records import BACKGROUND


class Head(nn.Module):
    """Both predictions of one level: 3x3 convolutions without activation.

    separable: a depthwise 3x3 convolution with batch norm before each, which are 1x1 then
    width: channels of a 3x3 layer of their own in front of both, None for none
    """

    def __init__(
        self,
        channels: int,
        anchors_per_cell: int,
        num_classes: int,
        separable: bool,
        width: int | None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.tower = nn.Identity() if width is None else tower(channels, width, separable)
        channels = width or channels
        self.before_classify = depthwise(channels) if separable else nn.Identity()
        self.before_locate = depthwise(channels) if separable else nn.Identity()
        kernel, padding = (1, 0) if separable else (3, 1)
        self.classify = nn.Conv2d(channels, anchors_per_cell * num_classes, kernel, padding=padding)
        self.locate = nn.Conv2d(channels, anchors_per_cell * 4, kernel, padding=padding)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, channels, h, w) to (B, h * w * anchors, C) and (B, h * w * anchors, 4)."""
        features = self.tower(features)
        logits = self.classify(self.before_classify(features)).permute(0, 2, 3, 1)
        offsets = self.locate(self.before_locate(features)).permute(0, 2, 3, 1)
        batch = features.shape[0]  # len() would fix it in an export
        return logits.reshape(batch, -1, self.num_classes), offsets.reshape(batch, -1, 4)


def tower(channels: int, width: int, separable: bool) -> nn.Module:
    if width < 1:
        raise ConfigError(f"model.head_width={width}: give channels, or null for no layer")
    if separable:
        return nn.Sequential(depthwise(channels), Conv2dNormActivation(channels, width, 1))
    return Conv2dNormActivation(channels, width, 3)


@torch.no_grad()
def start_as_background(heads: Iterable[Head], object_prior: float) -> None:
    """Heads that first say "background" almost everywhere, so the first steps are not spent on
    learning that; without it a focal loss drowns in negatives (Lin et al., section 3.3).

    object_prior: the probability that they give to all object classes together, by a softmax over
    all and by a sigmoid of each
    """
    if not 0 < object_prior < 1:
        raise ConfigError(f"model.object_prior={object_prior}: give a share above 0, below 1")
    for head in heads:
        nn.init.normal_(head.classify.weight, std=0.01)
        nn.init.normal_(head.locate.weight, std=0.01)
        nn.init.zeros_(head.locate.bias)
        objects = head.num_classes - 1
        bias = head.classify.bias.view(-1, head.num_classes)
        bias[:] = -math.log(objects * (1 - object_prior) / object_prior)
        bias[:, BACKGROUND] = 0
