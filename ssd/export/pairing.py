"""Detections of one picture by two runtimes, told which are the same."""

from typing import NamedTuple

import torch
from torch import Tensor

from ssd.records import Detections

PAIR = 0.1  # of a box's longer side: the farthest that any side of the same detection may move
EDGE = 1e-3  # of scores: this near to what is left out by its score, either may leave it out


class Pairing(NamedTuple):
    """How much two runtimes differ on a picture."""

    found: int  # detections of the first
    without_partner: int  # of either, but for those that are as good as what the other left out
    score: float  # the largest difference of partners
    box: float  # likewise, of any side, in pixels of the original


def pair(
    ours: Detections, theirs: Detections, size: Tensor, score_threshold: float, most: int
) -> Pairing:
    """Partners have one label, are the nearest to each other, and nearly in the same place.

    ours, theirs: without padding; size: (2,) width and height of the original
    score_threshold, most: what is left out: lower scores, and detections beyond so many
    """
    boxes, others = (found.boxes * size.repeat(2) for found in (ours, theirs))
    moved = (boxes.unsqueeze(1) - others).abs().amax(dim=-1)
    differ = (ours.scores.unsqueeze(1) - theirs.scores).abs()
    side = (boxes[:, 2:] - boxes[:, :2]).amax(dim=-1).clamp(min=1)
    far = moved / side.unsqueeze(1)
    same = (ours.labels.unsqueeze(1) == theirs.labels) & (far <= PAIR)
    far = torch.where(same, far + differ, torch.inf)  # of several in one place that of this score
    partners = mutual(far)
    left = [
        alone(found.scores, rows, other.scores, score_threshold, most)
        for found, other, rows in zip((ours, theirs), (theirs, ours), partners, strict=True)
    ]
    score, box = (largest(column[partners]) for column in (differ, moved))
    return Pairing(len(boxes), sum(left), score, box)


def mutual(far: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns that are the nearest to each other. far: (M, N), infinite for no pair"""
    if not far.numel():
        none = torch.zeros(0, dtype=torch.int64)
        return none, none
    nearest, column = far.min(dim=1)
    row = torch.arange(len(far))
    paired = nearest.isfinite() & (far.argmin(dim=0)[column] == row)
    return row[paired], column[paired]


def alone(
    scores: Tensor, partners: Tensor, others: Tensor, score_threshold: float, most: int
) -> int:
    """How many have no partner, though the other runtime leaves out nothing as good."""
    left_out = others.min().item() if len(others) >= most else score_threshold
    counts = scores > left_out + EDGE
    counts[partners] = False
    return int(counts.sum())


def largest(values: Tensor) -> float:
    return values.max().item() if len(values) else 0.0
