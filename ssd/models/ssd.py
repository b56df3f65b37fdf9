"""SSD: a backbone that gives feature maps, a head pair on each, and the anchors that go with
them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssd.errors import ConfigError
from ssd.models.layers import Normalize
from ssd.ops.anchors import Level, ShapedLevel, pyramid_anchors
from ssd.records import BACKGROUND, Predictions


class Head(nn.Module):
    """What one level predicts: class logits and box offsets, 3x3 convolutions without
    activation."""

    def __init__(self, channels: int, anchors_per_cell: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.classify = nn.Conv2d(channels, anchors_per_cell * num_classes, 3, padding=1)
        self.locate = nn.Conv2d(channels, anchors_per_cell * 4, 3, padding=1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, channels, h, w) to (B, h * w * anchors, C) and (B, h * w * anchors, 4)."""
        logits = self.classify(features).permute(0, 2, 3, 1)
        offsets = self.locate(features).permute(0, 2, 3, 1)
        batch = len(features)
        return logits.reshape(batch, -1, self.num_classes), offsets.reshape(batch, -1, 4)


class SSD(nn.Module):
    """A single-shot detector. It predicts; what the predictions mean is said by `ops.detecting`.

    features: a module that turns normalised images into one feature map a level, finest first
    levels: the anchors of each map, written for an input whose shorter side is `reference`
    num_classes: with the background; image_size: (height, width) of the input
    mean, std: see `Normalize`; clip_anchors: one of `ops.anchors.CLIPS`
    `anchors`: (A, 4) cxcywh, a buffer that follows the network and stays out of checkpoints
    """

    anchors: Tensor

    def __init__(
        self,
        features: nn.Module,
        levels: Sequence[Level | ShapedLevel],
        reference: int,
        num_classes: int,
        image_size: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        clip_anchors: str,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.image_size = image_size
        self.normalize = Normalize(mean, std)
        self.features = features
        maps = feature_shapes(features, image_size)
        self.heads = nn.ModuleList(
            Head(channels, len(level.shapes), num_classes)
            for (channels, *_), level in zip(maps, levels, strict=True)
        )
        cells = [(height, width) for _, height, width in maps]
        anchors = pyramid_anchors(levels, cells, image_size, reference, clip_anchors)
        self.register_buffer("anchors", anchors, persistent=False)

    def forward(self, images: Tensor) -> Predictions:
        """images: (B, 3, H, W) uint8 RGB of `image_size`."""
        maps = self.features(self.normalize(images))
        logits, offsets = zip(
            *(head(m) for head, m in zip(self.heads, maps, strict=True)), strict=True
        )
        return Predictions(torch.cat(logits, dim=1).float(), torch.cat(offsets, dim=1).float())


@torch.no_grad()
def feature_shapes(features: nn.Module, image_size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """(channels, height, width) of every feature map, from a pass over one empty image."""
    training = features.training
    try:
        maps = features.eval()(torch.zeros(1, 3, *image_size))
    except RuntimeError as error:
        height, width = image_size
        raise ConfigError(
            f"model.image_size={height}x{width} is too small for this network: {error}"
        ) from error
    features.train(training)
    return [tuple(m.shape[1:]) for m in maps]


def side_pair(image_size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of an input given as one side or as both."""
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or min(sides) < 1:
        raise ConfigError(
            f"model.image_size={image_size}: give one side or [height, width], in pixels"
        )
    return sides


@torch.no_grad()
def start_as_background(network: SSD, object_prior: float) -> None:
    """Heads that first say "background" almost everywhere, so the first steps are not spent on
    learning that; without it a focal loss drowns in negatives (Lin et al., section 3.3).

    object_prior: the probability that they give to all object classes together, by a softmax over
    all and by a sigmoid of each
    """
    if not 0 < object_prior < 1:
        raise ConfigError(f"model.object_prior={object_prior}: give a share above 0, below 1")
    for head in network.heads:
        nn.init.normal_(head.classify.weight, std=0.01)
        nn.init.normal_(head.locate.weight, std=0.01)
        nn.init.zeros_(head.locate.bias)
        objects = network.num_classes - 1
        bias = head.classify.bias.view(-1, network.num_classes)
        bias[:] = -math.log(objects * (1 - object_prior) / object_prior)
        bias[:, BACKGROUND] = 0
