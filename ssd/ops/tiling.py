"""Windows over a large picture, and the objects that they find made one set. All in pixels.

A window cuts the objects at its edge, and its neighbour, which overlaps it, sees them too. A box
that ends at an edge of its window which is none of the picture is called cut. Three rules make one
object of what is one:

1. Boxes that are not cut suppress each other by their IoU, the better the worse, as everywhere.
2. A cut box that lies by more than half in one that is not cut goes, whatever its score: the whole
   object has been seen. An object no larger than the overlap is whole in some window.
3. Cut boxes of two windows are pieces of one object where they agree on what both windows see: by
   their IoU there. One box around all pieces stays, with the best piece's score and label.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import nms

from ssd.ops.boxes import pairwise_iou

Window = tuple[int, int, int, int]  # xyxy, whole pixels of the picture

EDGE = 1 / 32  # of a window's side: how far from its edge a box may end and be cut; boxes are rough
INSIDE = 0.5  # of a cut box's area: what makes it a piece of another
ROWS = 256  # boxes compared with all others at once; a low score leaves tens of thousands


class Tiling(NamedTuple):
    """How a picture is divided."""

    side: int  # pixels, a window's longer side
    overlap: float  # of a window's side, at least
    whole: bool  # whether the whole picture is looked at too, for objects larger than a window


class Objects(NamedTuple):
    """Objects of a picture, best first."""

    boxes: Tensor  # (N, 4) xyxy, pixels of the picture
    scores: Tensor  # (N,)
    labels: Tensor  # (N,) int64


def make_windows(
    size: tuple[int, int], tiling: Tiling | None, view: tuple[int, int]
) -> list[Window]:
    """The windows of a picture; only the whole where it is no larger than a window.

    size: (width, height); view: (width, height) of the network's input, whose shape windows have
    """
    width, height = size
    whole = (0, 0, width, height)
    if tiling is None:
        return [whole]
    across, down = (max(1, round(tiling.side * side / max(view))) for side in view)
    across, down = min(across, width), min(down, height)
    windows = [
        (left, top, left + across, top + down)
        for top in starts(height, down, tiling.overlap)
        for left in starts(width, across, tiling.overlap)
    ]
    return [whole, *windows] if tiling.whole and windows != [whole] else windows


def starts(length: int, side: int, overlap: float) -> list[int]:
    """Where windows begin along a side of the picture: as few as overlap enough, spread evenly."""
    step = max(1, math.floor(side * (1 - overlap)))
    last = math.ceil((length - side) / step)
    return [round(index * (length - side) / max(last, 1)) for index in range(last + 1)]


def united(
    found: Objects,
    windows: Tensor,
    size: tuple[int, int],
    iou_threshold: float,
    agnostic: bool,
) -> Objects:
    """What several windows of a picture found, each object once.

    found: in pixels of the picture; windows: (N, 4) that of each box; size: (width, height)
    agnostic: whether boxes of two classes can be one object
    """
    kinds = torch.zeros_like(found.labels) if agnostic else found.labels
    cut = is_cut(found.boxes, windows, size)
    whole, pieces = (~cut).nonzero().squeeze(1), cut.nonzero().squeeze(1)
    whole = whole[suppressed(found.boxes[whole], found.scores[whole], kinds[whole], iou_threshold)]
    lone = [
        rows[~(inside(found.boxes[rows], found.boxes[whole]) & alike(kinds, rows, whole)).any(1)]
        for rows in pieces.split(ROWS)
    ]
    pieces = torch.cat(lone)
    same = [
        agreeing(found.boxes, windows, rows, pieces, iou_threshold) & alike(kinds, rows, pieces)
        for rows in pieces.split(ROWS)
    ]
    same = torch.cat(same) | torch.eye(len(pieces), dtype=torch.bool)
    joined = around(Objects(*(column[pieces] for column in found)), groups(same))
    columns = zip(Objects(*(column[whole] for column in found)), joined, strict=True)
    both = Objects(*(torch.cat(column) for column in columns))
    kinds = torch.zeros_like(both.labels) if agnostic else both.labels
    kept = suppressed(both.boxes, both.scores, kinds, iou_threshold)
    return Objects(*(column[kept] for column in both))


def is_cut(boxes: Tensor, windows: Tensor, size: tuple[int, int]) -> Tensor:
    """Which boxes end at an inner edge of their window. boxes, windows: (N, 4); returns: (N,)"""
    margins = (windows[:, 2:] - windows[:, :2]) * EDGE
    inner_low, inner_high = windows[:, :2] > 0, windows[:, 2:] < windows.new_tensor(size)
    low = inner_low & (boxes[:, :2] < windows[:, :2] + margins)
    high = inner_high & (boxes[:, 2:] > windows[:, 2:] - margins)
    return (low | high).any(dim=1)


def suppressed(boxes: Tensor, scores: Tensor, kinds: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes that stay, best first; those of different kinds do not compete."""
    kept = [
        rows[nms(boxes[rows], scores[rows].to(boxes.dtype), iou_threshold)]
        for rows in ((kinds == kind).nonzero().squeeze(1) for kind in kinds.unique())
    ]
    kept = torch.cat(kept) if kept else kinds
    return kept[scores[kept].argsort(descending=True, stable=True)]


def alike(kinds: Tensor, rows: Tensor, others: Tensor) -> Tensor:
    """Which boxes are of one kind. rows: (M,), others: (N,) indices; returns: (M, N) bool"""
    return kinds[rows].unsqueeze(1) == kinds[others]


def inside(boxes: Tensor, others: Tensor) -> Tensor:
    """Which boxes lie by most of their area in which others. (M, 4) and (N, 4) to (M, N) bool"""
    low = torch.maximum(boxes[:, None, :2], others[:, :2])
    high = torch.minimum(boxes[:, None, 2:], others[:, 2:])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return (high - low).clamp(min=0).prod(dim=-1) > INSIDE * areas.unsqueeze(1)


def agreeing(
    boxes: Tensor, windows: Tensor, rows: Tensor, others: Tensor, iou_threshold: float
) -> Tensor:
    """Which boxes of two windows are alike within what both windows see.

    boxes, windows: (N, 4); rows: (M,), others: (K,) indices; returns: (M, K) bool
    """
    one, other = windows[rows].unsqueeze(1), windows[others]
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one, other)[..., 2:]
    shared = (low < high).all(dim=-1) & (one != other).any(dim=-1)

    def seen(boxes: Tensor) -> Tensor:
        """Boxes, (M, 1, 4) or (K, 4), within what each two windows see: (M, K, 1, 4)."""
        corners = [boxes[..., :2].clamp(low, high), boxes[..., 2:].clamp(low, high)]
        return torch.cat(corners, dim=-1).unsqueeze(2)

    overlap = pairwise_iou(seen(boxes[rows].unsqueeze(1)), seen(boxes[others]))
    return shared & (overlap[..., 0, 0] > iou_threshold)


def groups(same: Tensor) -> Tensor:
    """The first of those that each is one with, by however many steps. same: (M, M) bool,
    symmetric, each the same as itself; returns: (M,) int64"""
    first = torch.arange(len(same))
    while len(same):
        nearest = torch.where(same, first, len(same)).amin(dim=1)
        if torch.equal(nearest, first):
            break
        first = nearest
    return first


def around(pieces: Objects, group: Tensor) -> Objects:
    """A box around the pieces of each group, with the score and label of the best one."""
    whole = [pieces.boxes[:0], pieces.scores[:0], pieces.labels[:0]]
    for first in group.unique():
        boxes, scores, labels = (column[group == first] for column in pieces)
        box = torch.cat([boxes[:, :2].amin(dim=0), boxes[:, 2:].amax(dim=0)])
        best = scores.argmax(dim=0, keepdim=True)
        more = (box.unsqueeze(0), scores[best], labels[best])
        whole = [torch.cat(pair) for pair in zip(whole, more, strict=True)]
    return Objects(*whole)
