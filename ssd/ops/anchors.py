"""Anchors: the paper's default boxes, laid over the real feature maps of a network."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ssd.errors import ConfigError
from ssd.ops.boxes import to_cxcywh, to_xyxy

# What happens to anchors that reach beyond the image: nothing, as in the paper's own code; they are
# cut at its border; width and height, wherever the anchor lies, are limited to the image's, as
# torchvision's DefaultBoxGenerator does it; or all four numbers are clamped, the center's too, as
# ssd.pytorch and many after it do.
CLIPS = ("never", "border", "sides", "center_and_sides")


class Level(NamedTuple):
    """One row of a pyramid: the anchors of every cell of one feature map (paper, section 2.2).

    Sizes and strides are in pixels of an input whose shorter side is the table's reference size.
    """

    stride: float | None  # pixels from one cell to the next; None: the cells are spread evenly
    size: float  # side of the small square anchor, and of the others before their ratio
    next_size: float  # size of the level above: the second square has sqrt(size * next_size)
    ratios: tuple[float, ...]  # width to height; each also gives its inverse

    @property
    def shapes(self) -> tuple[tuple[float, float], ...]:
        """Width and height of every anchor of a cell, in the order of the Caffe code: both squares,
        then r and 1/r for every ratio."""
        middle = math.sqrt(self.size * self.next_size)
        shapes = [(self.size, self.size), (middle, middle)]
        for ratio in self.ratios:
            wide, tall = self.size * math.sqrt(ratio), self.size / math.sqrt(ratio)
            shapes += [(wide, tall), (tall, wide)]
        return tuple(shapes)


class ShapedLevel(NamedTuple):
    """A row whose anchors do not follow from sizes and ratios. Units as for `Level`."""

    stride: float | None
    shapes: tuple[tuple[float, float], ...]  # width and height of every anchor of a cell


class Pyramid(NamedTuple):
    """What all anchors of a network follow from: the arguments of `pyramid_anchors`."""

    levels: Sequence[Level | ShapedLevel]
    cells: Sequence[tuple[int, int]]  # (height, width) of each level's real feature map
    image_size: tuple[int, int]  # (height, width) of the input
    reference: int  # shorter side of the input that the levels were written for
    clip: str  # one of CLIPS


def level_anchors(
    level: Level | ShapedLevel, cells: tuple[int, int], image_size: tuple[int, int], reference: int
) -> Tensor:
    """Anchors of one level, row by row, all of a cell together.

    cells, image_size: (height, width); reference: the shorter side of the table's input
    returns: (cells * shapes, 4) float64 cxcywh, fractions of the image
    """
    centers = [
        grid(count, side, level.stride) for count, side in zip(cells, image_size, strict=True)
    ]
    y, x = torch.meshgrid(*centers, indexing="ij")
    height, width = image_size
    scale = min(image_size) / reference
    shapes = torch.tensor(level.shapes, dtype=torch.float64)
    shapes = shapes * scale / torch.tensor([width, height])
    positions = torch.stack([x, y], dim=-1).reshape(-1, 1, 2).expand(-1, len(shapes), -1)
    return torch.cat([positions, shapes.expand_as(positions)], dim=-1).reshape(-1, 4)


def grid(cells: int, side: int, stride: float | None) -> Tensor:
    """Centers of the cells along one side of the image, as fractions of it. (cells,) float64.

    The Caffe code steps by the table's stride, also where that leaves the image (38 x 8 > 300).
    That holds for a map with as many cells as the stride makes; on another input size the cells are
    spread evenly instead, as they are where the table has no stride.
    """
    if stride is None or math.ceil(side / stride) != cells:
        stride = side / cells
    return (torch.arange(cells, dtype=torch.float64) + 0.5) * stride / side


def pyramid_anchors(
    levels: Sequence[Level | ShapedLevel],
    cells: Sequence[tuple[int, int]],
    image_size: tuple[int, int],
    reference: int,
    clip: str,
) -> Tensor:
    """Anchors of a whole network, level by level.

    cells: (height, width) of each level's real feature map; image_size: of the input, likewise
    reference: shorter side of the input that the table was written for; sizes grow with the input's
    clip: one of CLIPS
    returns: (A, 4) float32 cxcywh, fractions of the image
    """
    if clip not in CLIPS:
        raise ConfigError(f"model.clip_anchors={clip}: give one of {', '.join(CLIPS)}")
    anchors = torch.cat(
        [
            level_anchors(level, shape, image_size, reference)
            for level, shape in zip(levels, cells, strict=True)
        ]
    )
    if clip == "border":
        anchors = to_cxcywh(to_xyxy(anchors).clamp(0, 1))
    if clip in ("sides", "center_and_sides"):
        anchors[:, 2:].clamp_(max=1)
    if clip == "center_and_sides":
        anchors[:, :2].clamp_(max=1)  # it is above 0 anyway
    return anchors.float()
