"""Predictions to detections: decode, threshold, non-maximum suppression, the best of an image."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ssd.ops.boxes import decode, pairwise_iou, to_xyxy
from ssd.records import Detections, Predictions

FIRST_LOOK = 512  # candidates of an image tried first; all only where suppression leaves too few
MOST_PAIRS = 1 << 24  # IoUs held at once


def detect(
    predictions: Predictions,
    anchors: Tensor,
    score_threshold: float,
    candidates_per_class: int,
    iou_threshold: float,
    detections_per_image: int,
    clip_boxes: bool,
    activation: str = "softmax",
    union_margin: float = 0,
) -> Detections:
    """Objects of a batch: the result of a plain loop over images and classes, without the loop.

    A class's candidates are its `candidates_per_class` best anchors above `score_threshold`; one
    that overlaps a better one of its class by more than `iou_threshold` goes; the
    `detections_per_image` best of all classes stay.
    anchors: (A, 4) cxcywh; clip_boxes: whether boxes are cut at the image's border, and that before
    they are compared
    activation: "softmax" or "sigmoid", what the network's loss made the logits for
    union_margin: see `pairwise_iou`, as a share of the image; some projects' IoU has one
    """
    scores = class_scores(predictions.logits, activation)
    scores, labels, anchor = candidates(scores, score_threshold, candidates_per_class)
    offsets = predictions.offsets.gather(1, anchor.unsqueeze(-1).expand(-1, -1, 4))
    boxes = to_xyxy(decode(offsets, anchors[anchor]))
    boxes = boxes.clamp(0, 1) if clip_boxes else boxes
    overlap = partial(overlapping, iou_threshold=iou_threshold, union_margin=union_margin)
    found = boxes, scores, labels
    first = tuple(column[:, :FIRST_LOOK] for column in found)
    keep = suppress(*first, overlap)
    if scores.shape[1] > FIRST_LOOK and too_few(keep, scores, detections_per_image):
        keep = suppress_by_class(*found, overlap)
        return best(keep, *found, detections_per_image)
    return best(keep, *first, detections_per_image)


def class_scores(logits: Tensor, activation: str) -> Tensor:
    """Probability of every object class. (B, A, C) to (B, A, C - 1). With "sigmoid" each class
    stands for itself and the background's logit says nothing."""
    if activation == "sigmoid":
        return logits[..., 1:].sigmoid()
    assert activation == "softmax", activation
    return logits.softmax(dim=-1)[..., 1:]


def candidates(
    scores: Tensor, score_threshold: float, per_class: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The anchors and classes worth suppressing, per image, best first.

    scores: (B, A, C - 1); returns: (B, M) scores (0 for padding), labels, anchor indices
    """
    classes = scores.shape[2]
    scores = scores.transpose(1, 2).contiguous()  # (B, C - 1, A)
    scores = torch.where(scores > score_threshold, scores, 0)
    anchors = scores.shape[2]
    # topk leaves the order of equal scores open. The bits of floats from 0 on rank as the floats
    # do, so with the anchor's place below them every key is another: equal scores go to the first.
    place = torch.arange(anchors - 1, -1, -1, device=scores.device)
    keys = (scores.view(torch.int32).long() << 32) | place
    keys = keys.topk(min(per_class, anchors), dim=2).values
    anchor = anchors - 1 - (keys & 0xFFFFFFFF)
    scores = (keys >> 32).int().view(torch.float32)
    labels = torch.arange(1, classes + 1, device=scores.device).view(1, -1, 1).expand_as(anchor)
    scores, order = scores.flatten(1).sort(dim=1, descending=True, stable=True)
    most = int((scores > 0).sum(dim=1).max())
    order = order[:, :most]
    return scores[:, :most], labels.flatten(1).gather(1, order), anchor.flatten(1).gather(1, order)


def suppress(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    overlap: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """Greedy non-maximum suppression per class, over a batch of candidates sorted by falling score.

    boxes: (B, M, 4) xyxy, scores: (B, M), 0 for padding, labels: (B, M); overlap: `overlapping`
    returns: (B, M) bool, those that stay
    """
    pairs = boxes.shape[1] ** 2
    images = max(1, MOST_PAIRS // max(1, pairs))
    parts = [
        survivors(overlap(*part)) & (part[1] > 0)
        for part in zip(
            boxes.split(images), scores.split(images), labels.split(images), strict=True
        )
    ]
    return torch.cat(parts)


def suppress_by_class(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    overlap: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """What `suppress` finds, in a table with a row a class: many candidates of an image are few of
    each class, and pairs of two classes are not held."""
    images, most = labels.shape
    classes = int(labels.max()) + 1
    labels = torch.where(scores > 0, labels, 0)
    counts = torch.zeros(images, classes, dtype=torch.int64, device=labels.device)
    counts.scatter_add_(1, labels, torch.ones_like(labels))
    counts[:, 0] = 0  # padding
    width = int(counts.max())
    order = labels.argsort(dim=1, stable=True)  # class by class, the best of each first
    label = labels.gather(1, order)
    start = counts.cumsum(dim=1) - counts + (labels == 0).sum(dim=1, keepdim=True)
    rank = torch.arange(most, device=labels.device) - start.gather(1, label)
    cell = torch.where(label > 0, label * width + rank, 0)  # row 0 takes the padding
    table = torch.full((images, classes * width), most, device=labels.device)
    table.scatter_(1, cell, torch.where(label > 0, order, most))
    image = torch.arange(images, device=labels.device).unsqueeze(1)
    rows = [
        torch.cat([column, torch.zeros_like(column[:, :1])], dim=1)[image, table].unflatten(
            1, (classes, width)
        )
        for column in (boxes, scores, labels)
    ]
    kept = suppress(*(column.flatten(0, 1) for column in rows), overlap).view(images, -1)
    keep = torch.zeros(images, most + 1, dtype=torch.bool, device=labels.device)
    return keep.scatter_(1, table, kept)[:, :most]


def overlapping(
    boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float, union_margin: float
) -> Tensor:
    """(B, M, M) bool: candidate i would suppress candidate j: better, of the same class, and in the
    same place."""
    same = labels.unsqueeze(1) == labels.unsqueeze(2)
    iou = pairwise_iou(boxes, boxes, union_margin)
    over = (iou > iou_threshold) & same & (scores > 0).unsqueeze(2)
    return over.triu_(diagonal=1)


def survivors(over: Tensor) -> Tensor:
    """Which candidates a greedy pass keeps. over: (B, M, M) bool, upper triangular; returns: (B, M)
    bool.

    A candidate stays if nothing that stays suppresses it. Repeating that from "all stay" settles
    the first k candidates after k rounds, and in practice everything after as many rounds as the
    longest chain of overlaps.
    """
    over = over.float()
    keep = over.new_ones(over.shape[:2])
    while True:
        settled = (torch.bmm(keep.unsqueeze(1), over).squeeze(1) == 0).float()
        if torch.equal(settled, keep):
            return keep.bool()
        keep = settled


def too_few(keep: Tensor, scores: Tensor, wanted: int) -> bool:
    """Whether an image has fewer than it may show and candidates that nobody looked at."""
    waiting = scores[:, keep.shape[1]] > 0
    return bool((waiting & (keep.sum(dim=1) < wanted)).any())


def best(keep: Tensor, boxes: Tensor, scores: Tensor, labels: Tensor, most: int) -> Detections:
    """The first `most` of those kept, padded to the fullest image of the batch."""
    order = keep.sort(dim=1, descending=True, stable=True).indices
    width = min(most, int(keep.sum(dim=1).max())) if keep.numel() else 0
    order = order[:, :width]
    kept = keep.gather(1, order)
    return Detections(
        boxes=boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4)) * kept.unsqueeze(-1),
        scores=scores.gather(1, order) * kept,
        labels=labels.gather(1, order) * kept,
    )
