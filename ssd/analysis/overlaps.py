"""Detections and truths that lie on each other, and who may have which."""

from typing import NamedTuple

import torch
from torch import Tensor

PAIRS = 2**20  # compared at once: bounds the memory on crowded images


class Boxes(NamedTuple):
    """Boxes that are compared only where their keys are equal, such as the row of their image."""

    keys: Tensor  # (n,) int64
    boxes: Tensor  # (n, 4) float64 xyxy, pixels


class Pairs(NamedTuple):
    """P pairs of a detection and a truth with equal keys, by detection."""

    detections: Tensor  # (P,) int64 rows
    truths: Tensor  # (P,) int64 rows
    overlaps: Tensor  # (P,) float64 IoU; of a crowd the share of the detection that is inside

    def where(self, mask: Tensor) -> "Pairs":
        """The pairs of a mask (P,)."""
        return Pairs(*(column[mask] for column in self))


def pair_up(detections: Boxes, truths: Boxes, crowds: Tensor, least: float) -> Pairs:
    """All pairs that overlap by at least `least` > 0, by detection, within it by truth.

    crowds: (G,) bool
    """
    keys, order = torch.sort(truths.keys, stable=True)
    starts = torch.searchsorted(keys, detections.keys)
    counts = torch.searchsorted(keys, detections.keys, right=True) - starts
    edges, found = _edges(detections.boxes), []
    truth_edges = _edges(truths.boxes[order])
    its_crowds = crowds[order]
    for rows in _blocks(counts):
        pairs = torch.repeat_interleave(rows, counts[rows])
        shifts = starts[rows] - (counts[rows].cumsum(0) - counts[rows])
        places = torch.arange(len(pairs)) + torch.repeat_interleave(shifts, counts[rows])
        overlaps = _overlaps(edges[pairs], truth_edges[places], its_crowds[places])
        found.append(Pairs(pairs, order[places], overlaps).where(overlaps >= least))
    return Pairs(*(torch.cat(column) for column in zip(*found, strict=True)))


def preferred(pairs: Pairs) -> Pairs:
    """By detection, within it the greatest overlap first, of equal ones the first truth."""
    order = torch.argsort(pairs.overlaps, descending=True, stable=True)
    return pairs.where(order[torch.argsort(pairs.detections[order], stable=True)])


def firsts(keys: Tensor) -> Tensor:
    """The mask of the first row of each run of equal keys (n,)."""
    return torch.cat([keys[:1] == keys[:1], keys[1:] != keys[:-1]])


def claimed(pairs: Pairs, shared: Tensor) -> Tensor:
    """The mask (P,) of the pairs that come about if one detection after the other takes, of the
    truths that are still free, the one that it likes best.

    All truths like the same detections best, the earlier ones, so this is the one stable matching,
    and Gale and Shapley's deferred acceptance finds it for all images at once: everybody asks its
    next best truth, and each truth keeps the earliest who ever asked.

    pairs: by detection in the order of choosing, within it by falling preference
    shared: (G,) bool: truths that any number of detections may have
    """
    nobody = len(pairs.detections)
    leads_on = torch.cat([~firsts(pairs.detections)[1:], torch.zeros(min(nobody, 1)).bool()])
    holders = torch.full(shared.shape, nobody)
    taken = torch.zeros(nobody, dtype=torch.bool)
    asking = firsts(pairs.detections).nonzero().squeeze(1)
    while len(asking):
        open_to_all = shared[pairs.truths[asking]]
        taken[asking[open_to_all]] = True
        asking = asking[~open_to_all]
        asked = pairs.truths[asking].unique()
        before = holders[asked]
        holders.scatter_reduce_(0, pairs.truths[asking], asking, "amin")
        driven_out = before[(before < nobody) & (holders[asked] != before)]
        refused = asking[holders[pairs.truths[asking]] != asking]
        disappointed = torch.cat([driven_out, refused])
        asking = disappointed[leads_on[disappointed]] + 1
    taken[holders[holders < nobody]] = True
    return taken


def _blocks(counts: Tensor) -> list[Tensor]:
    """Rows with pairs, in runs of about PAIRS pairs; at least one run."""
    rows = counts.nonzero().squeeze(1)
    runs = torch.div(counts[rows].cumsum(0), PAIRS, rounding_mode="floor")
    sizes = torch.unique_consecutive(runs, return_counts=True)[1]
    return list(rows.split(sizes.tolist())) or [rows]


def _edges(boxes: Tensor) -> Tensor:
    """(n, 6) left, top, right, bottom, width and height, rounded as pycocotools does: its boxes are
    corner and size, to which it adds the corner again."""
    boxes = boxes.double()
    sizes = boxes[:, 2:] - boxes[:, :2]
    return torch.cat([boxes[:, :2], boxes[:, :2] + sizes, sizes], dim=1)


def _overlaps(edges: Tensor, others: Tensor, crowds: Tensor) -> Tensor:
    """(P,) of edges (P, 6) with others (P, 6), as maskApi.c's bbIou; 0 of boxes without area."""
    lower = torch.maximum(edges[:, :2], others[:, :2])
    upper = torch.minimum(edges[:, 2:4], others[:, 2:4])
    width, height = (upper - lower).clamp(min=0).unbind(1)
    shared = width * height
    area, other_area = edges[:, 4] * edges[:, 5], others[:, 4] * others[:, 5]
    whole = torch.where(crowds, area, area + other_area - shared)
    return torch.where(shared > 0, shared / whole, 0.0)
