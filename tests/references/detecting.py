"""What the projects have in common from offsets and scores to detections; their rules are their
own."""

from collections.abc import Callable

import torch
from torch import Tensor

CENTER_VARIANCE, SIZE_VARIANCE = 0.1, 0.2

# boxes (N, 4) xyxy fractions, scores (N,), labels (N,) from 1, of one image
Found = tuple[Tensor, Tensor, Tensor]


def decode(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Boxes xyxy of offsets (..., A, 4) and anchors (A, 4) cxcywh."""
    center = anchors[:, :2] + offsets[..., :2] * CENTER_VARIANCE * anchors[:, 2:]
    size = anchors[:, 2:] * torch.exp(offsets[..., 2:] * SIZE_VARIANCE)
    return torch.cat([center - size / 2, center + size / 2], dim=-1)


def class_by_class(
    boxes: Tensor, scores: Tensor, keep: Callable[[Tensor, Tensor], Tensor]
) -> list[Found]:
    """Per image what `keep` leaves, one class after the other.

    boxes: (B, A, 4); scores: (B, A, classes), without the background
    keep: the rule of a project: of an image's boxes (A, 4) and their scores (A,) of one class the
    rows (N,) that stay, best first
    """
    detections = []
    for places, columns in zip(boxes, scores.unbind(), strict=True):
        found = []
        for label, column in enumerate(columns.unbind(dim=1), start=1):
            kept = keep(places, column)
            found.append((places[kept], column[kept], torch.full_like(kept, label)))
        detections.append(tuple(torch.cat(parts) for parts in zip(*found, strict=True)))
    return detections


def best(detections: list[Found], most: int) -> list[Found]:
    """The best of each image, best first."""
    chosen = []
    for boxes, scores, labels in detections:
        order = scores.sort(descending=True, stable=True).indices[:most]
        chosen.append((boxes[order], scores[order], labels[order]))
    return chosen
