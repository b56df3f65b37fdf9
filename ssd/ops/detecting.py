"""Predictions to detections: decode, threshold, non-maximum suppression, the best of an image."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ssd.ops.boxes import decode, pairwise_iou, to_xyxy
from ssd.records import BACKGROUND, Detections, Predictions

FIRST_LOOK = 384  # candidates of an image tried first; more only where suppression leaves too few
MORE = 8  # times as many at each further look
# What is held at once, on a CPU and on a GPU: what its cache, or its memory, takes.
PAIRS_CPU, PAIRS_GPU = 1 << 18, 1 << 24  # IoUs
SCORES_CPU, SCORES_GPU = 1 << 22, 1 << 28

Overlap = Callable[[Tensor, Tensor, Tensor], Tensor]


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
    agnostic: bool = False,
    class_thresholds: Tensor | None = None,
) -> Detections:
    """Objects of a batch: the result of a plain loop over images and classes, without the loop.

    A class's candidates are its `candidates_per_class` best anchors above `score_threshold`; one
    that overlaps a better one of its class by more than `iou_threshold` goes; the
    `detections_per_image` best of all classes stay.
    anchors: (A, 4) cxcywh; clip_boxes: whether boxes are cut at the image's border, and that before
    they are compared
    activation: "softmax" or "sigmoid", what the network's loss made the logits for
    union_margin: see `pairwise_iou`, as a share of the image; some projects' IoU has one
    agnostic: whether all classes count as one where candidates are counted and suppressed
    class_thresholds: (C,) a score for each class that its candidates are above too
    """
    part = partial(
        detect_part,
        anchors=anchors,
        score_threshold=score_threshold,
        candidates_per_class=candidates_per_class,
        overlap=partial(overlapping, iou_threshold=iou_threshold, union_margin=union_margin),
        detections_per_image=detections_per_image,
        clip_boxes=clip_boxes,
        activation=activation,
        agnostic=agnostic,
        class_thresholds=class_thresholds,
    )
    logits, offsets = predictions
    most = SCORES_CPU if logits.device.type == "cpu" else SCORES_GPU
    images = max(1, most // logits[0].numel()) if len(logits) else 1
    parts = zip(logits.split(images), offsets.split(images), strict=True)
    return together([part(*few) for few in parts])


def detect_part(
    logits: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    score_threshold: float,
    candidates_per_class: int,
    overlap: Overlap,
    detections_per_image: int,
    clip_boxes: bool,
    activation: str,
    agnostic: bool,
    class_thresholds: Tensor | None,
    most: int = FIRST_LOOK,
) -> Detections:
    """`detect` for as many images as are looked at together.

    Suppression goes by falling score, so what it says of the best candidates does not depend on the
    others: the `most` best are looked at first, and more only in images where too few of them stay.
    """
    scores = class_scores(logits, activation)
    if class_thresholds is not None:
        scores = torch.where(scores > class_thresholds, scores, 0)
    found = candidates(scores, score_threshold, most)
    rows = found.anchors.unsqueeze(-1).expand(-1, -1, 4)
    boxes = to_xyxy(decode(offsets.gather(1, rows), anchors[found.anchors]))
    boxes = boxes.clamp(0, 1) if clip_boxes else boxes
    scores = torch.where(boxes.isfinite().all(dim=-1), found.scores, 0)  # others are no detections
    rivals = torch.ones_like(found.labels) if agnostic else found.labels
    if boxes.shape[1] <= min(FIRST_LOOK, candidates_per_class):
        keep = suppress(boxes, scores, rivals, overlap)
    else:
        keep = suppress_by_class(boxes, scores, rivals, overlap, candidates_per_class)
    done = best(keep, boxes, scores, found.labels, detections_per_image)
    waiting = found.waiting & (keep.sum(dim=1) < detections_per_image)
    if not waiting.any():
        return done
    more = detect_part(
        logits[waiting],
        offsets[waiting],
        anchors,
        score_threshold,
        candidates_per_class,
        overlap,
        detections_per_image,
        clip_boxes,
        activation,
        agnostic,
        class_thresholds,
        most * MORE,
    )
    return replaced(done, more, waiting)


def replaced(found: Detections, others: Detections, images: Tensor) -> Detections:
    """With other detections of some images. images: (B,) bool, as many true ones as others"""
    width = max(found.scores.shape[1], others.scores.shape[1])
    found, others = widened(found, width), widened(others, width)
    for column, other in zip(found, others, strict=True):
        column[images] = other
    return found


def widened(found: Detections, width: int) -> Detections:
    """With padding up to so many detections."""
    more = width - found.scores.shape[1]
    return Detections(
        pad(found.boxes, (0, 0, 0, more)),
        pad(found.scores, (0, more)),
        pad(found.labels, (0, more)),
    )


def together(parts: list[Detections]) -> Detections:
    """Detections of several batches as of one."""
    width = max(part.scores.shape[1] for part in parts)
    wide = [widened(part, width) for part in parts]
    return Detections(*(torch.cat(column) for column in zip(*wide, strict=True)))


def class_scores(logits: Tensor, activation: str) -> Tensor:
    """Probability of every class, 0 for the background. (B, A, C) to (B, A, C). With "sigmoid" each
    class stands for itself and the background's logit says nothing."""
    if activation not in ("softmax", "sigmoid"):
        raise ValueError(f"activation={activation!r}: must be softmax or sigmoid")
    logits = logits.float()
    scores = logits.softmax(dim=-1) if activation == "softmax" else logits.sigmoid()
    scores[..., BACKGROUND] = 0
    return scores


class Candidates(NamedTuple):
    """Anchors and classes worth suppressing, best first; equal scores by class, then by anchor."""

    scores: Tensor  # (B, M), 0 for padding
    labels: Tensor  # (B, M) int64
    anchors: Tensor  # (B, M) int64
    waiting: Tensor  # (B,) bool: whether worse ones were left out


def candidates(scores: Tensor, score_threshold: float, most: int) -> Candidates:
    """The best of each image above a threshold: at most `most`, and none of those that are as good
    as one left out. scores: (B, A, C)"""
    anchors, classes = scores.shape[1:]
    values, place = highest(scores, most + 1)
    waiting = torch.zeros_like(values[:, :1], dtype=torch.bool)
    least = torch.full_like(values[:, :1], score_threshold)
    if values.shape[1] > most:
        least = values[:, most:].clamp(min=score_threshold)
        waiting = least > score_threshold
    values = torch.where(values > least, values, 0)
    # The bits of floats from 0 on rank as the floats do, and with the place below them every key is
    # another: equal scores are in order.
    place = place % classes * anchors + place // classes
    last = anchors * classes - 1
    keys = (values.view(torch.int32).long() << 32) | (last - place)
    count = int((values > 0).sum(dim=1).max()) if len(values) else 0
    keys = keys.topk(count, dim=1).values
    place = last - (keys & 0xFFFFFFFF)
    values = (keys >> 32).int().view(torch.float32)
    return Candidates(values, place // anchors, place % anchors, waiting.squeeze(1))


def highest(scores: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The `most` highest of each image's scores, or all, and where they are in anchors x classes.

    scores: (B, A, C)

    They are those of the `most` anchors with the highest best score: far fewer to choose from.
    """
    anchors, classes = scores.shape[1:]
    best_scores = scores.amax(dim=2)
    if best_scores.isnan().any():  # they would rank above all numbers
        return highest(scores.nan_to_num(nan=0), most)
    if most >= anchors:
        return scores.flatten(1).topk(min(most, anchors * classes), dim=1)
    anchor = best_scores.topk(most, dim=1).indices
    rows = scores.gather(1, anchor.unsqueeze(-1).expand(-1, -1, classes))
    values, place = rows.flatten(1).topk(most, dim=1)
    return values, anchor.gather(1, place // classes) * classes + place % classes


def suppress(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    overlap: Overlap,
) -> Tensor:
    """Greedy non-maximum suppression per class, over a batch of candidates sorted by falling score.

    boxes: (B, M, 4) xyxy, scores: (B, M), 0 for padding, labels: (B, M); overlap: `overlapping`
    returns: (B, M) bool, those that stay
    """
    pairs = boxes.shape[1] ** 2
    most = PAIRS_CPU if boxes.device.type == "cpu" else PAIRS_GPU
    images = max(1, most // max(1, pairs))
    parts = [
        survivors(overlap(*part)) & (part[1] > 0)
        for part in zip(
            boxes.split(images), scores.split(images), labels.split(images), strict=True
        )
    ]
    return torch.cat(parts)


def suppress_by_class(
    boxes: Tensor, scores: Tensor, labels: Tensor, overlap: Overlap, most: int
) -> Tensor:
    """What `suppress` finds among the `most` best of each class, in a table with a row a class:
    many candidates of an image are few of each class, and pairs of two classes are not held."""
    images, count = labels.shape
    classes = int(labels.max()) + 1
    labels = torch.where(scores > 0, labels, 0)
    counts = torch.zeros(images, classes, dtype=torch.int64, device=labels.device)
    counts.scatter_add_(1, labels, torch.ones_like(labels))
    order = labels.argsort(dim=1, stable=True)  # class by class, the best of each first
    label = labels.gather(1, order)
    rank = torch.arange(count, device=labels.device) - (counts.cumsum(dim=1) - counts).gather(
        1, label
    )
    counts[:, 0] = 0  # padding
    width = max(1, min(most, int(counts.max())))
    real = (label > 0) & (rank < width)
    cell = torch.where(real, label * width + rank, 0)  # row 0 takes the others
    table = torch.full((images, classes * width), count, device=labels.device)
    table.scatter_(1, cell, torch.where(real, order, count))
    image = torch.arange(images, device=labels.device).unsqueeze(1)
    rows = [
        torch.cat([column, torch.zeros_like(column[:, :1])], dim=1)[image, table].unflatten(
            1, (classes, width)
        )
        for column in (boxes, scores, labels)
    ]
    rows = [column.flatten(0, 1) for column in rows]
    kept = rows[1] > 0
    several = kept[:, 1:].any(dim=1) if width > 1 else kept[:, 0] & False  # others have no rival
    kept[several] = suppress(*(column[several] for column in rows), overlap)
    kept = kept.view(images, -1)
    keep = torch.zeros(images, count + 1, dtype=torch.bool, device=labels.device)
    return keep.scatter_(1, table, kept)[:, :count]


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


def best(keep: Tensor, boxes: Tensor, scores: Tensor, labels: Tensor, most: int) -> Detections:
    """The first `most` of those kept, padded to the fullest image of the batch."""
    order = keep.sort(dim=1, descending=True, stable=True).indices
    width = min(most, int(keep.sum(dim=1).max())) if keep.numel() else 0
    order = order[:, :width]
    kept = keep.gather(1, order)
    chosen = boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4))
    return Detections(
        boxes=torch.where(kept.unsqueeze(-1), chosen, 0),
        scores=scores.gather(1, order) * kept,
        labels=labels.gather(1, order) * kept,
    )
