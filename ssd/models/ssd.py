"""SSD: a backbone that gives feature maps, a head pair on each, and the anchors that go with
them."""

from collections.abc import Callable, Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn

from ssd.errors import ConfigError
from ssd.models.heads import Head, start_as_background
from ssd.models.layers import Normalize, TopDown
from ssd.models.levels import Levels, with_ratios
from ssd.ops.anchors import Pyramid, pyramid_anchors
from ssd.records import Predictions


class Common(TypedDict):
    """Arguments that every network takes.

    num_classes: with the background
    image_size: one side of the input, or (height, width)
    anchor_ratios: of the anchors of every level that are not square, each with its inverse; None:
        as the architecture has them
    clip_anchors: one of `ops.anchors.CLIPS`
    separable_heads, head_width: see `Head`
    top_down: channels of a feature pyramid network over all levels, see `TopDown`; None for none
    object_prior: see `start_as_background`; None: as the architecture has it
    """

    num_classes: int
    image_size: int | Sequence[int]
    anchor_ratios: Sequence[float] | None
    clip_anchors: str
    separable_heads: bool
    head_width: int | None
    top_down: int | None
    object_prior: float | None


class SSD(nn.Module):
    """A single-shot detector. It predicts; what the predictions mean is said by `ops.detecting`.

    features: a module that turns normalised images into one feature map a level, finest first
    levels: the anchors of each map, written for an input whose shorter side is `reference`
    finer_levels: how many of them, the first, the architecture has not by itself
    mean, std: see `Normalize`; start: initialises new heads, None for torch's own start
    separable_heads: of all levels, or of each; the rest: see `Common`
    `anchors`: (A, 4) cxcywh, a buffer that follows the network and stays out of checkpoints; they
    are those of `pyramid`
    """

    anchors: Tensor

    def __init__(
        self,
        features: nn.Module,
        levels: Levels,
        finer_levels: int,
        reference: int,
        mean: Sequence[float],
        std: Sequence[float],
        start: Callable[[nn.Module], None] | None,
        num_classes: int,
        image_size: int | Sequence[int],
        anchor_ratios: Sequence[float] | None,
        clip_anchors: str,
        separable_heads: bool | Sequence[bool],
        head_width: int | None,
        top_down: int | None,
        object_prior: float | None,
    ) -> None:
        super().__init__()
        if anchor_ratios is not None:
            levels = with_ratios(levels, anchor_ratios)
        self.num_classes = num_classes
        self.image_size = side_pair(image_size)
        self.normalize = Normalize(mean, std)
        self.features = features
        maps = feature_shapes(features, self.image_size)
        channels = [channels for channels, _, _ in maps]
        self.top_down = None
        if top_down is not None:
            self.top_down = make_top_down(channels, top_down)
            channels = [top_down] * len(maps)
        if isinstance(separable_heads, bool):
            separable_heads = [separable_heads] * len(maps)
        heads = [
            Head(width, len(level.shapes), num_classes, separable, head_width)
            for width, level, separable in zip(channels, levels, separable_heads, strict=True)
        ]
        # by level, so that weights fit a network with another number of finer levels
        names = [f"finer{n}" for n in range(finer_levels, 0, -1)]
        names += [str(n) for n in range(len(heads) - finer_levels)]
        self.heads = nn.ModuleDict(zip(names, heads, strict=True))
        if start is not None:
            start(self.heads)
        if object_prior is not None:
            start_as_background(heads, object_prior)
        cells = [(height, width) for _, height, width in maps]
        self.pyramid = Pyramid(tuple(levels), cells, self.image_size, reference, clip_anchors)
        anchors = pyramid_anchors(*self.pyramid)
        self.register_buffer("anchors", anchors, persistent=False)

    def forward(self, images: Tensor) -> Predictions:
        """images: (B, 3, H, W) uint8 RGB of `image_size`."""
        maps = self.features(self.normalize(images))
        if self.top_down is not None:
            maps = self.top_down(maps)
        logits, offsets = zip(
            *(head(m) for head, m in zip(self.heads.values(), maps, strict=True)), strict=True
        )
        return Predictions(*(not_below_float32(torch.cat(c, dim=1)) for c in (logits, offsets)))


def not_below_float32(column: Tensor) -> Tensor:
    """What a loss can sum; a network in float64 stays in it."""
    return column.to(torch.promote_types(column.dtype, torch.float32))


@torch.no_grad()
def feature_shapes(features: nn.Module, image_size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """(channels, height, width) of every feature map, from a pass over one empty image."""
    training = features.training
    try:
        maps = features.eval()(torch.zeros(1, 3, *image_size))
    except (RuntimeError, AssertionError) as error:
        height, width = image_size
        raise ConfigError(
            f"model.image_size=[{height},{width}] does not suit this network, give larger sides, "
            f"or multiples of 32: {error or type(error).__name__}"
        ) from error
    features.train(training)
    return [tuple(m.shape[1:]) for m in maps]


@torch.no_grad()
def norms_one_cell(network: SSD) -> bool:
    """Whether a batch norm that is training sees maps of one cell, which a batch of one image
    cannot train."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    cells: list[int] = []
    hooks = [
        norm.register_forward_pre_hook(lambda _, inputs: cells.append(inputs[0][0, 0].numel()))
        for norm in norms
    ]
    for norm in norms:
        norm.eval()
    network.forward(  # not a compiled one: that would compile for this image
        torch.zeros(1, 3, *network.image_size, dtype=torch.uint8, device=network.anchors.device)
    )
    for norm, hook in zip(norms, hooks, strict=True):
        norm.train()
        hook.remove()
    return 1 in cells


def make_top_down(channels: Sequence[int], width: int) -> TopDown:
    if width < 1:
        raise ConfigError(f"model.top_down={width}: give channels, or null for no pyramid network")
    return TopDown(channels, width)


def side_pair(image_size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of an input given as one side or as both."""
    several = isinstance(image_size, Sequence) and not isinstance(image_size, str)
    sides = tuple(image_size) if several else (image_size, image_size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ConfigError(
            f"model.image_size={image_size}: give one side or [height, width], in pixels"
        )
    return sides
