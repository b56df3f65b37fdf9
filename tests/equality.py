"""Whether a converted checkpoint predicts and detects what the network that it came from does."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from references.detecting import Found
from torch import Tensor, nn

from ssd.ops.detecting import detect
from ssd.records import Detections
from ssd.weights.checkpoints import build_network

LOGITS, OFFSETS = 3.0, 1.0  # standard deviations that heads are scaled to


class Differences(NamedTuple):
    """The largest ones; boxes in pixels of the network's input."""

    logits: float
    offsets: float
    boxes: float
    scores: float


def random_images(side: int, number: int = 2) -> Tensor:
    """(B, 3, side, side) uint8 of noise on several scales, so that no two places look alike."""
    images = torch.zeros(number, 3, side, side)
    for cells in (3, 11, 40):
        noise = torch.rand(number, 3, cells, cells) * 85
        images += nn.functional.interpolate(noise, (side, side), mode="bilinear")
    return images.to(torch.uint8)


@torch.no_grad()
def randomise(network: nn.Module) -> None:
    """Weights through which signals neither die nor grow, and norms that do something."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                module.bias.normal_(std=0.1)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)


@torch.no_grad()
def spread(
    classify: Iterable[nn.Conv2d], locate: Iterable[nn.Conv2d], run: Callable[[], Any]
) -> None:
    """Scale the heads so that the logits and offsets they say in `run` vary by about LOGITS and
    OFFSETS."""
    deviations = {**dict.fromkeys(classify, LOGITS), **dict.fromkeys(locate, OFFSETS)}
    seen: dict[nn.Module, float] = {}
    hooks = [
        head.register_forward_hook(lambda head, _, out: seen.__setitem__(head, float(out.std())))
        for head in deviations
    ]
    run()
    for hook in hooks:
        hook.remove()
    for head, deviation in deviations.items():
        head.weight *= deviation / seen[head]
        if head.bias is not None:
            head.bias *= deviation / seen[head]


@torch.no_grad()
def differences(
    checkpoint: dict[str, Any],
    images: Tensor,
    logits: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    found: Sequence[Found],
) -> Differences:
    """Between a checkpoint of ours and the original's predictions for `images`.

    Both are computed in float64, so that what is left is not the rounding of deep networks.
    images: (B, 3, H, W) uint8; logits (B, A, C) with the background first, offsets and anchors
    (A, 4) cxcywh: the original's, in whatever order of anchors; found: its detections
    """
    network = build_network(checkpoint).double()
    ours = network(images)
    parts = network.anchors.split(1000)  # all pairs at once would take gigabytes
    nearest = [torch.cdist(part, anchors.double()).min(dim=1) for part in parts]
    distance, theirs = (torch.cat(column) for column in zip(*nearest, strict=True))
    assert sorted(theirs.tolist()) == list(range(len(anchors)))  # each has one counterpart
    assert distance.max() < 1e-6
    apart = [
        (ours.logits - logits[:, theirs]).abs().max(),
        (ours.offsets - offsets[:, theirs]).abs().max(),
    ]
    height, width = network.image_size
    pixels = torch.tensor([width, height, width, height])
    detections = detect(ours, network.anchors, **checkpoint["ssd"]["detecting"])
    boxes_apart = scores_apart = 0.0
    for image, (boxes, scores, labels) in enumerate(found):
        kept = detections.labels[image] > 0
        own = ordered(
            detections.boxes[image][kept],
            detections.scores[image][kept],
            detections.labels[image][kept],
        )
        boxes, scores, labels = ordered(boxes, scores, labels)
        assert len(labels) > 20  # else it shows nothing
        assert own[2].tolist() == labels.tolist()
        boxes_apart = max(boxes_apart, float(((own[0] - boxes) * pixels).abs().max()))
        scores_apart = max(scores_apart, float((own[1] - scores).abs().max()))
    return Differences(*(float(x) for x in apart), boxes_apart, scores_apart)


def ordered(boxes: Tensor, scores: Tensor, labels: Tensor) -> Found:
    """By label, then by falling score."""
    order = scores.argsort(descending=True, stable=True)
    order = order[labels[order].argsort(stable=True)]
    return boxes[order], scores[order], labels[order]


def assert_same(ours: Detections, found: Found) -> None:
    """That all our detections of the one image are the original's, but for rounding."""
    boxes, scores, labels = ordered(ours.boxes[0], ours.scores[0], ours.labels[0])
    assert labels.tolist() == ordered(*found)[2].tolist()
    torch.testing.assert_close((boxes, scores), ordered(*found)[:2])


def assert_equal(apart: Differences) -> None:
    assert apart.logits <= 1e-5
    assert apart.offsets <= 1e-5
    assert apart.boxes <= 0.01
    assert apart.scores <= 1e-5
