"""The MultiBox loss (paper, section 2.2, "Training objective")."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssd.errors import ConfigError
from ssd.ops.boxes import encode, to_cxcywh
from ssd.ops.matching import UNMATCHED, match
from ssd.ops.mining import hard_negatives
from ssd.records import BACKGROUND, Batch, Predictions


class MultiBoxLoss(nn.Module):
    """Softmax cross-entropy over positives and hard negatives, and smooth L1 over the positives'
    offsets.

    iou_threshold: overlap from which an anchor is positive
    negative_ratio: hard negatives for every positive, per image
    min_negatives: hard negatives of an image without positives
    box_weight: the paper's alpha
    """

    def __init__(
        self, iou_threshold: float, negative_ratio: float, min_negatives: int, box_weight: float
    ) -> None:
        super().__init__()
        if not 0 < iou_threshold <= 1:
            raise ConfigError(f"loss.iou_threshold={iou_threshold}: give a share above 0, up to 1")
        self.iou_threshold = iou_threshold
        self.negative_ratio = negative_ratio
        self.min_negatives = min_negatives
        self.box_weight = box_weight

    def forward(self, predictions: Predictions, batch: Batch, anchors: Tensor) -> dict[str, Tensor]:
        """Sums over the batch by name, and the count of positives that the caller divides them by.

        anchors: (A, 4) cxcywh; returns: "class", "box" () float32 and "positives" () int64
        """
        with torch.no_grad():
            matches = match(batch["boxes"], batch["labels"] > 0, anchors, self.iou_threshold)
            positive = matches != UNMATCHED
            losses = -predictions.logits.log_softmax(dim=-1)[..., BACKGROUND]
            negative = hard_negatives(losses, positive, self.negative_ratio, self.min_negatives)
        return {
            "class": class_loss(predictions.logits, batch["labels"], matches, negative),
            "box": self.box_weight
            * box_loss(predictions.offsets, batch["boxes"], matches, anchors),
            "positives": positive.sum(),
        }


def class_loss(logits: Tensor, labels: Tensor, matches: Tensor, negative: Tensor) -> Tensor:
    """Summed cross-entropy. logits: (B, A, C), labels: (B, G), matches: (B, A), negative: (B, A)
    bool."""
    positive = matches != UNMATCHED
    targets = torch.zeros_like(matches)
    targets[positive] = matched(labels, matches)
    used = positive | negative
    return functional.cross_entropy(logits[used], targets[used], reduction="sum")


def box_loss(offsets: Tensor, boxes: Tensor, matches: Tensor, anchors: Tensor) -> Tensor:
    """Summed smooth L1. offsets: (B, A, 4), boxes: (B, G, 4) xyxy, matches: (B, A), anchors: (A, 4)
    cxcywh."""
    positive = matches != UNMATCHED
    targets = encode(to_cxcywh(matched(boxes, matches)), anchors[positive.nonzero()[:, 1]])
    return functional.smooth_l1_loss(offsets[positive], targets, reduction="sum")


def matched(values: Tensor, matches: Tensor) -> Tensor:
    """The ground truth of every positive anchor, in the order of `matches[positive]`. values: (B,
    G, …)."""
    image, _ = (matches != UNMATCHED).nonzero(as_tuple=True)
    return values[image, matches[matches != UNMATCHED]]
