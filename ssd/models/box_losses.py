"""What the boxes of positive anchors cost: the choices of `loss/box`.

offsets: (P, 4) as predicted, see `ops.boxes.encode`; boxes: (P, 4) xyxy, the truth; anchors: (P, 4)
cxcywh; returns: (P,) float32
"""

from torch import Tensor
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss

from ssd.errors import ConfigError
from ssd.ops.boxes import decode, encode, to_cxcywh, to_xyxy


def smooth_l1(offsets: Tensor, boxes: Tensor, anchors: Tensor, beta: float) -> Tensor:
    """The paper's, on offsets: x² / (2 beta) up to beta, a line of slope 1 beyond it."""
    if beta <= 0:
        raise ConfigError(f"loss.box.beta={beta}: give a number above 0; loss/box=l1 is its limit")
    targets = encode(to_cxcywh(boxes), anchors)
    return functional.smooth_l1_loss(offsets, targets, reduction="none", beta=beta).sum(dim=-1)


def l1(offsets: Tensor, boxes: Tensor, anchors: Tensor) -> Tensor:
    """Absolute differences of the offsets."""
    return functional.l1_loss(offsets, encode(to_cxcywh(boxes), anchors), reduction="none").sum(
        dim=-1
    )


def giou(offsets: Tensor, boxes: Tensor, anchors: Tensor) -> Tensor:
    """1 - generalised IoU of the decoded boxes with the truth, from 0 to 2 a box (Rezatofighi et
    al., 2019)."""
    return generalized_box_iou_loss(to_xyxy(decode(offsets, anchors)), boxes)
