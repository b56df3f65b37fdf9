"""Hard negatives: the background anchors that the network gets most wrong (paper, section 2.2)."""

import torch
from torch import Tensor


def hard_negatives(losses: Tensor, positive: Tensor, ratio: float, minimum: int) -> Tensor:
    """The negatives to learn from, per image: those with the highest loss.

    losses: (B, A) what each anchor costs as background, positive: (B, A) bool
    ratio: negatives for every positive of the image; minimum: negatives of an image without
    positives, which would otherwise teach nothing
    returns: (B, A) bool, never overlapping `positive`; equal losses go to the lowest index
    """
    num_positive = positive.sum(dim=1)
    wanted = torch.where(num_positive > 0, num_positive * ratio, minimum).long()
    wanted = torch.minimum(wanted, (~positive).sum(dim=1))
    order = (
        losses.masked_fill(positive, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    )
    rank = torch.arange(losses.shape[1], device=losses.device)
    return torch.zeros_like(positive).scatter_(1, order, rank < wanted.unsqueeze(1))
