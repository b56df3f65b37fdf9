"""Detection with shapes that no picture changes, for graphs that are traced once."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from ssd.ops.boxes import decode, to_xyxy
from ssd.records import BACKGROUND

NMS_OPSET = 11  # the newest form of ONNX's NonMaxSuppression, and the oldest of ScatterND's

Rank = Callable[[Tensor, int], tuple[Tensor, Tensor]]
Suppress = Callable[[Tensor, Tensor, float, float], Tensor]


class Detecting(nn.Module):
    """What `ops.detecting.detect` finds, padded to N for every picture: N is
    `detections_per_image`, or all candidates where they are fewer.

    Arguments are those of `detect`, without a margin of unions, which no runtime's suppression has.
    Where two boxes overlap by the threshold, up to rounding, runtimes may decide otherwise.
    rank, suppress: the forms of them below that the runtime has
    """

    def __init__(
        self,
        score_threshold: float,
        candidates_per_class: int,
        iou_threshold: float,
        detections_per_image: int,
        clip_boxes: bool,
        activation: str,
        rank: Rank,
        suppress: Suppress,
    ) -> None:
        super().__init__()
        assert activation in ("softmax", "sigmoid"), activation
        self.score_threshold = score_threshold
        self.candidates_per_class = candidates_per_class
        self.iou_threshold = iou_threshold
        self.detections_per_image = detections_per_image
        self.clip_boxes = clip_boxes
        self.activation = activation
        self.rank = rank
        self.suppress = suppress

    def forward(self, logits: Tensor, offsets: Tensor, anchors: Tensor) -> dict[str, Tensor]:
        """The columns of `records.Detections`. logits: (B, A, C), offsets: (B, A, 4), anchors:
        (A, 4) cxcywh"""
        boxes, known = self.boxes(offsets, anchors)
        scores = self.scores(logits).transpose(1, 2)  # (B, C - 1, A)
        classes, most = scores.shape[1], min(self.candidates_per_class, scores.shape[2])
        wanted = (scores > self.score_threshold) & known.unsqueeze(1)
        scores, places = self.rank(torch.where(wanted, scores, 0.0), most)  # (B, C - 1, K)
        scores, boxes = scores.flatten(1), chosen(boxes, places.flatten(1))
        # the classes of all pictures in one row: that many lists of K candidates
        kept = self.suppress(
            boxes.reshape(-1, most, 4),
            scores.reshape(-1, most),
            self.iou_threshold,
            self.score_threshold,
        )
        width = min(self.detections_per_image, classes * most)
        scores, places = self.rank(scores * kept.view_as(scores), width)
        found = scores > 0
        labels = torch.arange(1, classes + 1).repeat_interleave(most).to(places.device)[places]
        return {
            "boxes": torch.where(found.unsqueeze(-1), chosen(boxes, places), 0.0),
            "scores": scores,
            "labels": torch.where(found, labels, BACKGROUND),
        }

    def scores(self, logits: Tensor) -> Tensor:
        """(B, A, C) to (B, A, C - 1): without the background."""
        whole = logits.softmax(dim=-1) if self.activation == "softmax" else logits.sigmoid()
        return whole[..., 1:]

    def boxes(self, offsets: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """(B, A, 4) xyxy, and (B, A) whether they are numbers: others are no detections."""
        boxes = to_xyxy(decode(offsets, anchors))
        if not self.clip_boxes:
            finite = boxes.isfinite()
            return torch.where(finite, boxes, 0.0), finite.all(dim=-1)
        known = ~boxes.isnan()  # infinite sides end at the border
        return torch.where(known, boxes, 0.0).clamp(0, 1), known.all(dim=-1)


def chosen(boxes: Tensor, places: Tensor) -> Tensor:
    """(B, M, 4) at (B, N) places of M."""
    return boxes.gather(1, places.unsqueeze(-1).expand(-1, -1, 4))


def rank_by_keys(values: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The `most` highest of the last dimension and their places, the first of equal ones first,
    which PyTorch's topk does not promise. values: float32 from 0 on, whose bits rank as they do."""
    last = values.shape[-1] - 1
    places = torch.arange(values.shape[-1], device=values.device)
    keys = (values.view(torch.int32).long() << 32) | (last - places)
    keys = keys.topk(most, dim=-1).values
    return (keys >> 32).int().view(torch.float32), last - (keys & 0xFFFFFFFF)


def rank_in_order(values: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The same in ONNX, whose TopK puts the first of equal values first."""
    return torch.topk(values, most, dim=-1)


def suppress_by_torchvision(
    boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float
) -> Tensor:
    """Non-maximum suppression within each of L lists, best first.

    boxes: (L, K, 4) xyxy, scores: (L, K), 0 for what is none; returns: (L, K), 1 for what stays

    In double precision, and the lists so far apart that no boxes of two of them meet.
    """
    lists, places = (scores > 0).nonzero(as_tuple=True)
    apart = 2 * boxes.abs().amax().double() + 1
    moved = boxes[lists, places].double() + (lists * apart).unsqueeze(1)
    # torchvision tells torch.export that at least two stay, so two more do, before the first list
    lonely = -apart * torch.tensor([[3.0, 3, 2, 2], [6, 6, 5, 5]], device=boxes.device)
    found = torch.cat([scores[lists, places], torch.ones_like(lonely[:, 0])])
    kept = nms(torch.cat([moved, lonely]), found.double(), iou_threshold)
    count = scores.numel()
    cells = torch.cat(
        [lists * boxes.shape[1] + places, torch.arange(2, device=boxes.device) + count]
    )[kept]
    stays = scores.new_zeros(count + 2)
    return stays.scatter(0, cells, 1.0)[:count].view_as(scores)


def suppress_by_onnx(
    boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float
) -> Tensor:
    """The same as nodes of ONNX; outside of `torch.onnx.export` it computes nothing."""
    numbers = [torch.tensor([boxes.shape[1]])]
    numbers += [torch.tensor([float(value)]) for value in (iou_threshold, score_threshold)]
    kept = torch.onnx.ops.symbolic(
        "NonMaxSuppression",
        (boxes, scores.unsqueeze(1), *numbers),
        dtype=torch.int64,
        shape=(2, 3),  # (list, class, place) of any number; the class is the only one, 0
        version=NMS_OPSET,
    )
    places = kept[:, ::2]
    ones = (places[:, 0] >= 0).float()
    return torch.onnx.ops.symbolic(
        "ScatterND",
        (scores * 0, places, ones),
        dtype=scores.dtype,
        shape=scores.shape,
        version=NMS_OPSET,
    )
