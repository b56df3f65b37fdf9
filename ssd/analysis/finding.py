"""Who finds whom: detections in the order of their scores, the difficult truths left aside."""

import torch
from torch import Tensor

from ssd.analysis.overlaps import Boxes, Pairs, claimed, pair_up, preferred
from ssd.ops.precision import DetectionColumns, TruthColumns


def choosing_order(detections: DetectionColumns) -> Tensor:
    """Rows (N,) by falling score, equal ones by image, then as they were."""
    order = torch.argsort(detections.images, stable=True)
    return order[torch.argsort(detections.scores[order], descending=True, stable=True)]


def places_within(groups: Tensor) -> Tensor:
    """How many rows of the same group (n,) come before each row (n,)."""
    _, members, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    order = torch.argsort(members, stable=True)
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[members[order]]
    return places


def find_truths(
    truths: TruthColumns, ranked: DetectionColumns, least: float, iou_threshold: float
) -> tuple[Pairs, Tensor]:
    """Detections and the truths near them, and which of them find each other.

    ranked: in the order in which they choose, see `choosing_order`
    returns: pairs of an image with an IoU of at least `least`, those of the difficult truths
        left out, as `preferred` orders them; the mask (P,) of those that find each other: each
        detection in turn the free truth of its class that it overlaps most, if by `iou_threshold`
    """
    easy = (~truths.difficult).nonzero().squeeze(1)
    there = Boxes(truths.images[easy], truths.boxes[easy])
    nowhere = torch.zeros_like(easy, dtype=torch.bool)
    pairs = pair_up(Boxes(ranked.images, ranked.boxes), there, nowhere, least)
    pairs = preferred(pairs._replace(truths=easy[pairs.truths]))
    may = ranked.labels[pairs.detections] == truths.labels[pairs.truths]
    may &= pairs.overlaps >= iou_threshold
    found = torch.zeros_like(may)
    found[may.nonzero().squeeze(1)] = claimed(pairs.where(may), torch.zeros_like(truths.difficult))
    return pairs, found


def inside_difficult(truths: TruthColumns, detections: DetectionColumns, share: float) -> Tensor:
    """The mask (N,) of detections with more than this share of them in a difficult truth of their
    class."""
    hard = truths.difficult.nonzero().squeeze(1)
    labels = torch.cat([truths.labels, detections.labels])
    num_labels = int(labels.max()) + 1 if len(labels) else 1
    there = Boxes(truths.images[hard] * num_labels + truths.labels[hard], truths.boxes[hard])
    found = Boxes(detections.images * num_labels + detections.labels, detections.boxes)
    pairs = pair_up(found, there, truths.difficult[hard], share)
    inside = torch.zeros_like(detections.labels, dtype=torch.bool)
    inside[pairs.detections[pairs.overlaps > share]] = True
    return inside
