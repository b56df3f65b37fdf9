import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from ssd.errors import ConfigError
from ssd.models.class_losses import (
    SigmoidFocal,
    Softmax,
    SoftmaxFocal,
    background_losses,
    rightly_classified,
)

EVERY = [Softmax(0.1), SoftmaxFocal(0.25, 0.75, 2), SoftmaxFocal(1, 1, 0.5), SigmoidFocal(0.25, 2)]
NAMES = ["softmax", "focal", "focal, gamma .5", "sigmoid focal"]


def anchors(rows: int = 50, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, classes, generator=generator) * 3
    return logits, torch.randint(0, classes, (rows,), generator=generator)


@pytest.mark.parametrize("smoothing", [0, 0.1, 0.5])
def test_label_smoothing_spreads_a_share_of_the_target_over_all_classes(smoothing: float) -> None:
    logits, targets = anchors()
    spread = torch.full_like(logits, smoothing / 5)
    spread[torch.arange(50), targets] += 1 - smoothing
    expected = functional.cross_entropy(logits, spread, reduction="none")
    torch.testing.assert_close(Softmax(smoothing)(logits, targets), expected)


def test_softmax_focal_loss_equals_its_formula() -> None:
    logits, targets = anchors()
    losses = SoftmaxFocal(alpha=0.25, background_alpha=0.75, gamma=2)(logits, targets)
    for row, target, loss in zip(logits.tolist(), targets.tolist(), losses.tolist(), strict=True):
        p = math.exp(row[target]) / sum(math.exp(value) for value in row)
        weight = 0.25 if target else 0.75
        assert loss == pytest.approx(-weight * (1 - p) ** 2 * math.log(p), rel=1e-4, abs=1e-9)


def test_focal_loss_without_focus_and_weights_is_cross_entropy() -> None:
    logits, targets = anchors()
    losses = SoftmaxFocal(alpha=1, background_alpha=1, gamma=0)(logits, targets)
    torch.testing.assert_close(losses, functional.cross_entropy(logits, targets, reduction="none"))


def test_sigmoid_focal_loss_equals_torchvisions_over_the_object_classes() -> None:
    logits, targets = anchors()
    truth = torch.zeros(50, 5)
    truth[torch.arange(50), targets] = 1
    expected = sigmoid_focal_loss(logits[:, 1:], truth[:, 1:], alpha=0.3, gamma=1.5)
    torch.testing.assert_close(SigmoidFocal(0.3, 1.5)(logits, targets), expected.sum(dim=1))


def test_sigmoid_focal_loss_of_background_counts_every_object_class() -> None:
    logits = torch.tensor([[9.0, 1.0, -2.0]])
    loss = SigmoidFocal(alpha=0.25, gamma=2)(logits, torch.tensor([0]))
    p = [1 / (1 + math.exp(-x)) for x in (1, -2)]
    assert loss.item() == pytest.approx(sum(-0.75 * x**2 * math.log(1 - x) for x in p))


def test_the_backgrounds_logit_says_nothing_to_sigmoids() -> None:
    logits, targets = anchors()
    other = logits + torch.tensor([7.0, 0, 0, 0, 0])
    loss = SigmoidFocal(0.25, 2)
    assert torch.equal(loss(other, targets), loss(logits, targets))
    assert torch.equal(background_losses(other, "sigmoid"), background_losses(logits, "sigmoid"))


@pytest.mark.parametrize("loss", EVERY, ids=NAMES)
def test_extreme_logits_give_finite_losses_and_gradients(loss: Softmax) -> None:
    logits = torch.tensor([[1e4, -1e4, 0], [-1e4, 1e4, 0], [0, 0, 0], [200, -200, 90]])
    logits = logits.repeat(3, 1).requires_grad_()
    targets = torch.arange(3).repeat_interleave(4)
    losses = loss(logits, targets)
    losses.sum().backward()
    assert losses.dtype == torch.float32
    assert losses.isfinite().all()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", EVERY, ids=NAMES)
def test_no_anchors_cost_nothing(loss: Softmax) -> None:
    assert loss(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Softmax(1), "label_smoothing=1: give a share from 0, below 1"),
        (lambda: Softmax(-0.1), "label_smoothing=-0.1"),
        (lambda: SoftmaxFocal(2, 0.75, 2), "alpha=2: give a share from 0 to 1"),
        (lambda: SoftmaxFocal(0.25, -1, 2), "background_alpha=-1"),
        (lambda: SoftmaxFocal(0.25, 0.75, -1), "gamma=-1: give 0 or more"),
        (lambda: SigmoidFocal(1.5, 2), "alpha=1.5"),
        (lambda: SigmoidFocal(0.25, 0.5), "gamma=0.5: give 0, or 1 and more"),
    ],
)
def test_numbers_that_cannot_work_are_refused(build: type, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"loss\.classes\.{message}"):
        build()


def test_background_costs_its_cross_entropy() -> None:
    logits, _ = anchors()
    expected = functional.cross_entropy(
        logits, torch.zeros(50, dtype=torch.int64), reduction="none"
    )
    torch.testing.assert_close(background_losses(logits, "softmax"), expected)


def test_background_by_sigmoids_is_that_no_object_is_there() -> None:
    logits, _ = anchors()
    absent = (1 - logits[:, 1:].double().sigmoid()).prod(dim=1)
    torch.testing.assert_close(background_losses(logits, "sigmoid"), -absent.log().float())


def test_the_likeliest_class_is_right_or_wrong() -> None:
    logits, targets = anchors()
    expected = logits.argmax(dim=1) == targets
    assert torch.equal(rightly_classified(logits, targets, "softmax"), expected)


def test_by_sigmoids_background_is_likeliest_where_no_object_reaches_a_half() -> None:
    logits, targets = anchors()
    likely, objects = logits[:, 1:].sigmoid().max(dim=1)
    said = torch.where(likely < 0.5, 0, objects + 1)
    assert 0 < (said == 0).sum() < 50
    assert torch.equal(rightly_classified(logits, targets, "sigmoid"), said == targets)
