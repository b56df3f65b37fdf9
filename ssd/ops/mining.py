"""Which background anchors to learn from: hard negatives, those that the network gets most wrong
(paper, section 2.2, "Hard negative mining").

Each function takes `losses` (B, A), what each anchor costs as background, -log of its probability,
and `positive` (B, A) bool, and returns (B, A) bool that never overlaps `positive`.
"""

import torch
from torch import Tensor

from ssd.errors import ConfigError


def per_image(losses: Tensor, positive: Tensor, ratio: float, minimum: int) -> Tensor:
    """Every image's negatives of the highest loss; equal losses go to the lowest index.

    ratio: negatives for every positive of the image; minimum: negatives of an image without
    positives, which would otherwise teach nothing
    """
    check(ratio=ratio, minimum=minimum)
    num_positive = positive.sum(dim=1, keepdim=True)
    wanted = torch.where(num_positive > 0, num_positive * ratio, minimum).long()
    wanted = torch.minimum(wanted, (~positive).sum(dim=1, keepdim=True))
    return hardest(losses.masked_fill(positive, -torch.inf), wanted)


def hardest(losses: Tensor, wanted: Tensor) -> Tensor:
    """The `wanted` (B, 1) highest of each row, of equal ones the first. A loss that is no number is
    among them, so that it is seen."""
    if not losses.numel():
        return torch.zeros_like(losses, dtype=torch.bool)
    # A GPU is not asked how many are wanted: it would have to be waited for.
    most = losses.shape[1] if losses.is_cuda else max(1, int(wanted.max()))
    ordered = losses.topk(most, dim=1).values
    last = ordered.gather(1, (wanted - 1).clamp(min=0))
    above, equal = ~(losses <= last), losses == last
    spare = wanted - above.sum(dim=1, keepdim=True)
    return (above | equal & (equal.cumsum(dim=1) <= spare)) & (wanted > 0)


def over_batch(losses: Tensor, positive: Tensor, ratio: float, minimum: int) -> Tensor:
    """As `per_image`, with the whole batch for one image: hard images give more than easy ones."""
    flat = per_image(losses.reshape(1, -1), positive.reshape(1, -1), ratio, minimum)
    return flat.view_as(positive)


def all_negatives(losses: Tensor, positive: Tensor) -> Tensor:
    """No mining: every anchor that is not positive."""
    return ~positive


def balancap(losses: Tensor, positive: Tensor, ratio: float) -> Tensor:
    """The rule of balancap/SSD-Tensorflow (ssd_losses), over the whole batch.

    `ratio` negatives for every positive and one an image give the background probability that a
    negative has to stay below; so the last one counted drops, and those equal to it.
    """
    check(ratio=ratio)
    probability = torch.exp(-losses).masked_fill(positive, 1)
    wanted = (positive.sum() * ratio).long() + len(losses)
    wanted = torch.minimum(wanted, (~positive).sum())
    # the one entry more is for a batch without images, where there is nothing to look up
    ordered = torch.cat([probability.flatten(), probability.new_ones(1)]).sort().values
    highest = ordered.gather(0, (wanted - 1).clamp(min=0).view(1))
    return ~positive & (probability < highest)


OVER_BATCH = (over_batch, balancap)


def check(**counts: float) -> None:
    """Refuse counts below 0."""
    for name, count in counts.items():
        if count < 0:
            raise ConfigError(f"loss.mining.{name}={count}: give 0 or more")
