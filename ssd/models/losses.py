"""The MultiBox loss (paper, section 2.2, "Training objective")."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ssd.errors import ConfigError
from ssd.models.class_losses import (
    SigmoidFocal,
    Softmax,
    SoftmaxFocal,
    background_losses,
    rightly_classified,
)
from ssd.ops.boxes import to_xyxy
from ssd.ops.matching import UNMATCHED, match
from ssd.ops.mining import OVER_BATCH
from ssd.records import BACKGROUND, Batch, Predictions

DIVISORS = ("positives", "images", "anchors")


class MultiBoxLoss(nn.Module):
    """The classes of positive and chosen negative anchors, and the boxes of the positive ones.

    iou_threshold: overlap from which an anchor is positive
    own_anchors: whether every box also gets an anchor of its own, see `ops.matching.match`
    classes: what an anchor's class costs, one of `models.class_losses`
    mining: which negatives are used, one of `ops.mining`: (losses, positive) to negative
    box: what each box costs, one of `models.box_losses`: (offsets, boxes, anchors) to costs
    box_weight: the paper's alpha
    normalise_by: what the caller divides the sums by, one of DIVISORS
    """

    def __init__(
        self,
        iou_threshold: float,
        own_anchors: bool,
        classes: Softmax | SoftmaxFocal | SigmoidFocal,
        mining: Callable[[Tensor, Tensor], Tensor],
        box: Callable[[Tensor, Tensor, Tensor], Tensor],
        box_weight: float,
        normalise_by: str,
    ) -> None:
        super().__init__()
        if not 0 < iou_threshold <= 1:
            raise ConfigError(f"loss.iou_threshold={iou_threshold}: give a share above 0, up to 1")
        if normalise_by not in DIVISORS:
            raise ConfigError(
                f"loss.normalise_by={normalise_by}: give one of {', '.join(DIVISORS)}"
            )
        if box_weight < 0:
            raise ConfigError(f"loss.box_weight={box_weight}: give 0 or more")
        unit = torch.tensor([[0.5, 0.5, 1, 1]])
        mining(unit, unit > 1)  # numbers that these refuse are refused now, not at the first step
        box(unit, unit, unit)
        self.iou_threshold = iou_threshold
        self.own_anchors = own_anchors
        self.classes = classes
        self.mining = mining
        self.box = box
        self.box_weight = box_weight
        self.normalise_by = normalise_by

    @property
    def mines_over_batch(self) -> bool:
        """Whether images share their negatives, so that it matters which come together."""
        return getattr(self.mining, "func", self.mining) in OVER_BATCH

    @property
    def activation(self) -> str:
        """What the logits are made for, see `ops.detecting.detect`."""
        return self.classes.activation

    def forward(self, predictions: Predictions, batch: Batch, anchors: Tensor) -> dict[str, Tensor]:
        """Sums and counts over the batch by name; those of two batches add up.

        anchors: (A, 4) cxcywh
        returns: "class", "box" () float32, to be divided by "divisor"; and () int64 "positives",
        "divisor", "right", all anchors whose likeliest class is their target, "right_positives"
        """
        # picking rows would make a GPU wait for their number
        return self.sums(predictions, batch, anchors, pick=predictions.logits.device.type == "cpu")

    def sums(
        self, predictions: Predictions, batch: Batch, anchors: Tensor, pick: bool
    ) -> dict[str, Tensor]:
        """`forward`. pick: whether costs are computed for the anchors that count alone, or for all,
        in shapes that do not depend on what was matched"""
        logits, offsets = predictions
        labels, boxes = (with_one(batch[name]) for name in ("labels", "boxes"))
        with torch.no_grad():
            matches = match(boxes, labels > 0, anchors, self.iou_threshold, self.own_anchors)
            positive = matches != UNMATCHED
            truth = matches.clamp(min=0)
            targets = labels.gather(1, truth).masked_fill_(~positive, BACKGROUND)
            used = positive | self.mining(background_losses(logits, self.activation), positive)
            right = rightly_classified(logits, targets, self.activation)
        if pick:
            # by rows of a flat batch, whose gradients are faster than those of a mask
            rows = used.flatten().nonzero().squeeze(1)
            classes = self.classes(
                logits.flatten(0, 1).index_select(0, rows), targets.flatten()[rows]
            )
            image, anchor = positive.nonzero(as_tuple=True)
            box = self.box(
                offsets.flatten(0, 1).index_select(0, image * len(anchors) + anchor),
                boxes[image, truth[image, anchor]],
                anchors[anchor],
            )
        else:
            used_logits = torch.where(used.unsqueeze(2), logits, 0)
            classes = self.classes(used_logits.flatten(0, 1), targets.flatten())
            classes = torch.where(used.flatten(), classes, 0)
            # an anchor without a box stands for itself: nothing that costs becomes infinite
            own = to_xyxy(anchors).expand_as(offsets)
            found = boxes.gather(1, truth.unsqueeze(2).expand_as(offsets))
            found = torch.where(positive.unsqueeze(2), found, own)
            # and what a network says there gives no gradient, also where it is infinite
            used_offsets = torch.where(positive.unsqueeze(2), offsets, 0)
            columns = (used_offsets, found, anchors.expand_as(offsets))
            box = self.box(*(column.flatten(0, 1) for column in columns))
            box = torch.where(positive.flatten(), box, 0)
        return {
            "class": classes.sum(),
            "box": self.box_weight * box.sum(),
            "positives": positive.sum(),
            "divisor": self.divisor(positive),
            "right": right.sum(),
            "right_positives": (right & positive).sum(),
        }

    def divisor(self, positive: Tensor) -> Tensor:
        """What `normalise_by` counts. positive: (B, A) bool; returns: () int64."""
        if self.normalise_by == "positives":
            return positive.sum()
        count = len(positive) if self.normalise_by == "images" else positive.numel()
        return torch.full((), count, device=positive.device)


def with_one(column: Tensor) -> Tensor:
    """A batch's column, of padding alone where no image has a box. (B, G, ...) with G at least 1"""
    return column if column.shape[1] else column.new_zeros(len(column), 1, *column.shape[2:])
