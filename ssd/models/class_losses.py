"""What the class of an anchor costs: the choices of `loss/classes`.

Each is called with logits (P, C) and targets (P,) int64, 0 for background, of the anchors that are
used, and returns their losses (P,) float32. Its `activation` says how the logits become
probabilities, in mining and in detection too: "softmax" over all classes, or "sigmoid" of every
object class for itself.
"""

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from ssd.errors import ConfigError
from ssd.records import BACKGROUND


class Softmax:
    """Cross-entropy (paper, equation 3).

    label_smoothing: share of the target that is spread evenly over all classes
    """

    activation = "softmax"

    def __init__(self, label_smoothing: float) -> None:
        if not 0 <= label_smoothing < 1:
            raise ConfigError(
                f"loss.classes.label_smoothing={label_smoothing}: give a share from 0, below 1"
            )
        self.label_smoothing = label_smoothing

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(
            logits, targets, reduction="none", label_smoothing=self.label_smoothing
        )


class SoftmaxFocal:
    """Focal loss on the softmax: -alpha (1 - p)^gamma log p of the target's probability p (Lin et
    al., "Focal Loss for Dense Object Detection", equation 5).

    alpha: weight of anchors on objects; background_alpha: of those on background
    gamma: how much anchors that are right already weigh less; 0 for not at all
    """

    activation = "softmax"

    def __init__(self, alpha: float, background_alpha: float, gamma: float) -> None:
        check_shares(alpha=alpha, background_alpha=background_alpha)
        if gamma < 0:
            raise ConfigError(f"loss.classes.gamma={gamma}: give 0 or more")
        self.alpha = alpha
        self.background_alpha = background_alpha
        self.gamma = gamma

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_p = logits.log_softmax(dim=-1).gather(1, targets.unsqueeze(1)).squeeze(1)
        # kept off 0, where a gamma below 1 has no finite slope
        missing = -torch.expm1(log_p).clamp(max=-torch.finfo(log_p.dtype).tiny)
        alpha = torch.where(targets == BACKGROUND, self.background_alpha, self.alpha)
        return -alpha * missing**self.gamma * log_p


class SigmoidFocal:
    """Focal loss on a sigmoid per object class, summed over the classes (as RetinaNet has it).

    The background is where no object is; its logit is not used and learns nothing.
    alpha: weight of the class that is there, and 1 - alpha of those that are not
    gamma: how much classes that are right already weigh less; 0 for not at all
    """

    activation = "sigmoid"

    def __init__(self, alpha: float, gamma: float) -> None:
        check_shares(alpha=alpha)
        if gamma != 0 and gamma < 1:
            raise ConfigError(
                f"loss.classes.gamma={gamma}: give 0, or 1 and more; between them torchvision's "
                "gradient is no number where a class is certain"
            )
        self.alpha = alpha
        self.gamma = gamma

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        truth = functional.one_hot(targets, logits.shape[1])[:, 1:].to(logits.dtype)
        return sigmoid_focal_loss(logits[:, 1:], truth, self.alpha, self.gamma).sum(dim=1)


def check_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ConfigError(f"loss.classes.{name}={share}: give a share from 0 to 1")


def background_losses(logits: Tensor, activation: str) -> Tensor:
    """What each anchor costs as background, -log of its probability. (B, A, C) to (B, A)."""
    if activation == "sigmoid":  # background is that no object is there
        return functional.softplus(logits[..., 1:]).sum(dim=-1)
    return -logits.log_softmax(dim=-1)[..., BACKGROUND]


def rightly_classified(logits: Tensor, targets: Tensor, activation: str) -> Tensor:
    """Where the likeliest class is the target. (B, A, C) and (B, A) to (B, A) bool.

    By sigmoids the background is likeliest where no object reaches a half, a logit of 0.
    """
    if activation == "sigmoid":
        logits = torch.cat([torch.zeros_like(logits[..., :1]), logits[..., 1:]], dim=-1)
    # twice as fast as argmax
    return logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1) == logits.amax(dim=-1)
