"""Matching and MultiBox loss with its gradient, beside torchvision's, on the same predictions."""

from collections.abc import Callable, Iterator

import torch
from hydra.utils import instantiate
from torch import Tensor
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection._utils import SSDMatcher
from torchvision.ops import box_iou

from benchmarks.configuring import compose, ssd300
from benchmarks.timing import DEVICE, OURS, Timed, in_turn
from ssd.ops.boxes import to_xyxy
from ssd.records import Predictions

CLASSES, SIDE = 21, 300
CASES = ((8, 3), (8, 20), (8, 100), (32, 3), (32, 20), (32, 100))  # images, boxes an image


def measure(rounds: int) -> Iterator[Timed]:
    anchors = ssd300(CLASSES).anchors.to(DEVICE)
    loss = instantiate(compose("experiment=ssd_torchvision").loss, _convert_="all")
    theirs = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=CLASSES)
    for batch, boxes in CASES:
        data = make_data(batch, boxes, len(anchors))
        sides = {
            OURS: ours(loss, anchors, *data),
            "torchvision": torchvisions(theirs, anchors, *data),
        }
        check(*(side() for side in sides.values()))
        case = f"{batch} images, {boxes} boxes each"
        yield in_turn("matching and loss", case, "images", batch, sides, rounds)


def make_data(batch: int, boxes: int, anchors: int) -> tuple[Tensor, ...]:
    """Logits, offsets, boxes xyxy in fractions, labels."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, anchors, CLASSES, generator=generator)
    offsets = torch.randn(batch, anchors, 4, generator=generator)
    low = torch.rand(batch, boxes, 2, generator=generator) * 0.8
    sides = 0.04 + (0.96 - low) * torch.rand(batch, boxes, 2, generator=generator) ** 2
    truth = torch.cat([low, (low + sides).clamp(max=1)], dim=2)
    labels = torch.randint(1, CLASSES, (batch, boxes), generator=generator)
    return tuple(column.to(DEVICE) for column in (logits, offsets, truth, labels))


def ours(
    loss: torch.nn.Module,
    anchors: Tensor,
    logits: Tensor,
    offsets: Tensor,
    boxes: Tensor,
    labels: Tensor,
) -> Callable[[], float]:
    leaves = [column.clone().requires_grad_() for column in (logits, offsets)]

    def step() -> float:
        sums = loss(Predictions(*leaves), {"boxes": boxes, "labels": labels}, anchors)
        total = (sums["class"] + sums["box"]) / sums["divisor"].clamp(min=1)
        total.backward()
        for leaf in leaves:
            leaf.grad = None
        return total

    return step


def torchvisions(
    model: torch.nn.Module,
    anchors: Tensor,
    logits: Tensor,
    offsets: Tensor,
    boxes: Tensor,
    labels: Tensor,
) -> Callable[[], float]:
    """What SSD.forward of torchvision does between its head and its losses; its anchors are made
    before, though it makes them at every step."""
    leaves = [column.clone().requires_grad_() for column in (logits, offsets)]
    corners = to_xyxy(anchors) * SIDE
    targets = [{"boxes": b * SIDE, "labels": label} for b, label in zip(boxes, labels, strict=True)]
    matcher = SSDMatcher(0.5)

    def step() -> float:
        matches = [matcher(box_iou(target["boxes"], corners)) for target in targets]
        head = {"cls_logits": leaves[0], "bbox_regression": leaves[1]}
        losses = model.compute_loss(targets, head, [corners] * len(targets), matches)
        total = sum(losses.values())
        total.backward()
        for leaf in leaves:
            leaf.grad = None
        return total

    return step


def check(ours: Tensor, theirs: Tensor) -> None:
    """Both sides did the same work; they match some boxes otherwise, as torchvision has no greedy
    pass."""
    if not torch.isclose(ours, theirs, rtol=0.1):
        raise AssertionError(f"the losses differ: {float(ours)} and {float(theirs)}")
