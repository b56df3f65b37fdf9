"""Anchors: the paper's default boxes, laid over the real feature maps of a network."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Level(NamedTuple):
    """One row of a pyramid: the anchors of every cell of one feature map (paper, section 2.2).

    Sizes and strides are in pixels of an input whose shorter side is the table's reference size.
    """

    stride: float  # pixels from one cell to the next
    size: float  # side of the small square anchor, and of the others before their ratio
    next_size: float  # size of the level above: the second square has sqrt(size * next_size)
    ratios: tuple[float, ...]  # width to height; each also gives its inverse

    @property
    def anchors_per_cell(self) -> int:
        return 2 + 2 * len(self.ratios)


def cell_shapes(level: Level) -> Tensor:
    """Width and height of the anchors of one cell, in the table's pixels.

    returns: (anchors_per_cell, 2) in the order of the Caffe code: both squares, then r and 1/r for
    every ratio
    """
    middle = math.sqrt(level.size * level.next_size)
    shapes = [(level.size, level.size), (middle, middle)]
    for ratio in level.ratios:
        wide, tall = level.size * math.sqrt(ratio), level.size / math.sqrt(ratio)
        shapes += [(wide, tall), (tall, wide)]
    return torch.tensor(shapes, dtype=torch.float64)


def level_anchors(
    level: Level, cells: tuple[int, int], image_size: tuple[int, int], reference: int
) -> Tensor:
    """Anchors of one level, row by row, all of a cell together.

    cells, image_size: (height, width); reference: the shorter side of the table's input
    returns: (cells * anchors_per_cell, 4) float64 cxcywh, fractions of the image
    """
    centers = [
        grid(count, side, level.stride) for count, side in zip(cells, image_size, strict=True)
    ]
    y, x = torch.meshgrid(*centers, indexing="ij")
    height, width = image_size
    scale = min(image_size) / reference
    shapes = cell_shapes(level) * scale / torch.tensor([width, height])
    positions = torch.stack([x, y], dim=-1).reshape(-1, 1, 2).expand(-1, len(shapes), -1)
    return torch.cat([positions, shapes.expand_as(positions)], dim=-1).reshape(-1, 4)


def grid(cells: int, side: int, stride: float) -> Tensor:
    """Centers of the cells along one side of the image, as fractions of it. (cells,) float64.

    The Caffe code steps by the table's stride, also where that leaves the image (38 x 8 > 300).
    That holds for a map with as many cells as the stride makes; on another input size the cells are
    spread evenly instead.
    """
    if math.ceil(side / stride) != cells:
        stride = side / cells
    return (torch.arange(cells, dtype=torch.float64) + 0.5) * stride / side


def pyramid_anchors(
    levels: Sequence[Level],
    cells: Sequence[tuple[int, int]],
    image_size: tuple[int, int],
    reference: int,
    clip: bool,
) -> Tensor:
    """Anchors of a whole network, level by level.

    cells: (height, width) of each level's real feature map; image_size: of the input, likewise
    reference: shorter side of the input that the table was written for; sizes grow with the input's
    clip: cut anchors at the image's border; the paper's own code does not
    returns: (A, 4) float32 cxcywh, fractions of the image
    """
    anchors = torch.cat(
        [
            level_anchors(level, shape, image_size, reference)
            for level, shape in zip(levels, cells, strict=True)
        ]
    )
    if clip:
        low, high = anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2
        low, high = low.clamp(0, 1), high.clamp(0, 1)
        anchors = torch.cat([(low + high) / 2, high - low], dim=1)
    return anchors.float()
