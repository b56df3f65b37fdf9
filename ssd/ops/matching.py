"""Ground truth to anchors: which anchor has to find which object (paper, section 2.2, "Matching
strategy")."""

import torch
from torch import Tensor

from ssd.ops.boxes import pairwise_iou, to_xyxy

UNMATCHED = -1
CACHE, MEMORY = 1 << 18, 1 << 27  # IoUs held at once: what a CPU's cache, a GPU's memory takes


def match(
    boxes: Tensor, valid: Tensor, anchors: Tensor, iou_threshold: float, own_anchors: bool
) -> Tensor:
    """Which ground-truth box every anchor has to find, over the batch.

    First every box gets an anchor of its own, greedily by falling IoU; then every anchor still free
    takes the box it overlaps most, from `iou_threshold` on. Equal IoUs go to the lowest index. A
    box that overlaps no anchor gets none.

    boxes: (B, G, 4) xyxy, valid: (B, G) bool, False for padding, anchors: (A, 4) cxcywh
    own_anchors: False leaves the first step out, and with it the boxes that no anchor overlaps by
    `iou_threshold`
    returns: (B, A) int64 index into G, UNMATCHED for background
    """
    batch, truths, _ = boxes.shape
    if not truths or not batch:
        return torch.full((batch, len(anchors)), UNMATCHED, device=boxes.device)
    corners = to_xyxy(anchors)
    boxes = boxes * valid.unsqueeze(-1)  # of no area, padding overlaps nothing
    pairs = CACHE if boxes.device.type == "cpu" else MEMORY
    images = max(1, pairs // (truths * len(anchors)))
    parts = [match_part(part, corners, iou_threshold, own_anchors) for part in boxes.split(images)]
    return torch.cat(parts)


def match_part(boxes: Tensor, corners: Tensor, iou_threshold: float, own_anchors: bool) -> Tensor:
    """`match` for as many images as are looked at together. corners: (A, 4) anchors, xyxy"""
    iou = pairwise_iou(boxes, corners)
    matches = (nearest_without_waiting if iou.is_cuda else nearest)(iou, iou_threshold)
    if not own_anchors:
        return matches
    return give(matches, *(greedy_without_waiting if iou.is_cuda else greedy)(iou))


def nearest(iou: Tensor, iou_threshold: float) -> Tensor:
    """The box that each anchor overlaps most, from a threshold on, else UNMATCHED. (B, G, A) to
    (B, A). Which box it is, which takes longer than how much, is asked of few anchors."""
    best = iou.amax(dim=1)
    matches = torch.full_like(best, UNMATCHED, dtype=torch.int64)
    image, anchor = (best >= iou_threshold).nonzero(as_tuple=True)
    matches[image, anchor] = iou[image, :, anchor].argmax(dim=1)
    return matches


def nearest_without_waiting(iou: Tensor, iou_threshold: float) -> Tensor:
    """What `nearest` gives, in shapes that do not depend on the boxes, for a GPU."""
    best, matches = iou.max(dim=1)
    return matches.masked_fill_(best < iou_threshold, UNMATCHED)


def greedy(iou: Tensor) -> tuple[Tensor, Tensor]:
    """An anchor of its own for every box, as the greedy choice by falling IoU gives them.

    Boxes ask for their best anchor; one that is asked twice keeps the better box, and the other
    asks for its next.
    Since both sides rank by the same IoU, this ends in the greedy result, after as many rounds as
    the longest chain of refusals instead of one a box. Chains are rare, so most batches need one
    round.

    iou: (B, G, A), 0 for padding; where boxes were refused, it is 0 for those anchors afterwards
    returns: (B, G) int64 anchors, and (B, G) bool, whether the box has one
    """
    best, anchors = iou.max(dim=2)
    refused = lost(best, anchors, iou.shape[2])
    while refused.any():
        image, box = refused.nonzero(as_tuple=True)
        iou[image, box, anchors[image, box]] = 0
        best[image, box], anchors[image, box] = iou[image, box].max(dim=1)
        refused = lost(best, anchors, iou.shape[2])
    return anchors, best > 0


def greedy_without_waiting(iou: Tensor) -> tuple[Tensor, Tensor]:
    """What `greedy` gives, in a fixed number of rounds: a GPU need not be asked how it went.

    In each round a box asks for the best anchor that no better box asked for. What an anchor holds
    only gets better, so each round settles the best pair that is open, or more, and G rounds are
    enough. The others hold at most G - 1 anchors, so a box looks no further than at its G best.
    """
    truths, anchors = iou.shape[1:]
    ranked, order = sorted_by_iou(iou, min(truths, anchors))
    own = torch.arange(truths, device=iou.device).view(1, -1, 1)
    turn = torch.zeros_like(order[..., :1])
    for _ in range(truths):
        best, asked = ranked.gather(2, turn).squeeze(2), order.gather(2, turn).squeeze(2)
        held, holder = holders(best, asked, anchors)
        held, holder = (
            column.unsqueeze(1).expand(-1, truths, -1).gather(2, order) for column in (held, holder)
        )
        free = (ranked > held) | ((ranked == held) & (own <= holder))
        free[..., -1] = True  # a box that nothing is left for stays at the last, and loses it
        turn = free.int().argmax(dim=2, keepdim=True)
    best, asked = ranked.gather(2, turn).squeeze(2), order.gather(2, turn).squeeze(2)
    return asked, (best > 0) & ~lost(best, asked, anchors)


def sorted_by_iou(iou: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The `most` best anchors of each box, and their IoUs; equal IoUs in the order of anchors.

    topk leaves that order open. The bits of floats from 0 on rank as the floats do, so with the
    place below them every key is another.
    """
    last = iou.shape[2] - 1
    place = torch.arange(last, -1, -1, device=iou.device)
    keys = ((iou.view(torch.int32).long() << 32) | place).topk(most, dim=2).values
    return (keys >> 32).int().view(torch.float32), last - (keys & 0xFFFFFFFF)


def lost(best: Tensor, anchors: Tensor, num_anchors: int) -> Tensor:
    """Boxes whose anchor is asked for by a better box of the same image, or by an equal one before
    them.

    best, anchors: (B, G) IoU and index of the anchor asked for; returns: (B, G) bool
    """
    _, holder = holders(best, anchors, num_anchors)
    order = torch.arange(best.shape[1], device=best.device)
    return (best > 0) & (holder.gather(1, anchors) != order)


def holders(best: Tensor, anchors: Tensor, num_anchors: int) -> tuple[Tensor, Tensor]:
    """The highest IoU that each anchor is asked for with, and the first box that does; 0 and G
    where none does. best, anchors: (B, G); returns: (B, A), both"""
    highest = best.new_zeros(len(best), num_anchors).scatter_reduce(1, anchors, best, "amax")
    leads = (best > 0) & (best == highest.gather(1, anchors))
    last = best.shape[1]
    order = torch.arange(last, device=best.device).expand_as(anchors)
    first = torch.full_like(highest, last, dtype=torch.int64)
    return highest, first.scatter_reduce(1, anchors, order.masked_fill(~leads, last), "amin")


def give(matches: Tensor, own: Tensor, owned: Tensor) -> Tensor:
    """`matches` with every box's own anchor written over. matches: (B, A); own, owned: (B, G)."""
    batch, num_anchors = matches.shape
    spare = torch.cat(
        [matches, matches.new_empty(batch, 1)], dim=1
    )  # takes the writes of those without
    order = torch.arange(own.shape[1], device=own.device).expand_as(own)
    return spare.scatter_(1, own.masked_fill(~owned, num_anchors), order)[:, :num_anchors]
