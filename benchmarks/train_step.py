"""Training steps of SSD300 on VGG-16, beside torchvision's: forward, loss, backward, optimizer.

Random weights, SGD with momentum and weight decay. Each side runs as its users run it:
torchvision's `model(images, targets)` on float images, ours on the uint8 batch that the loader
gives, in bf16 and channels_last, with the optimizer that train.py makes.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.optim import SGD
from torchvision.models.detection import ssd300_vgg16

from benchmarks.configuring import compose, ssd300
from benchmarks.timing import DEVICE, OURS, Timed, in_turn_apart
from ssd.optim.parameters import make_optimizer

CLASSES, SIDE, BATCH, BOXES = 21, 300, 8, 3
RULES = {"lr": 1e-4, "momentum": 0.9, "weight_decay": 5e-4}


def measure(rounds: int) -> Iterator[Timed]:
    makers = {
        OURS: ours,
        "torchvision, fp32": partial(torchvisions, bf16=False, channels_last=False),
        "torchvision, bf16": partial(torchvisions, bf16=True, channels_last=False),
        "torchvision, bf16, channels_last": partial(torchvisions, bf16=True, channels_last=True),
    }
    case = f"{BATCH} images, {BOXES} boxes each"
    yield in_turn_apart("training step", case, "images", BATCH, makers, rounds)


def make_data(batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """uint8 images (B, 3, H, W) in the loader's memory order, boxes xyxy in fractions, labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (batch, SIDE, SIDE, 3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    low = torch.rand(batch, BOXES, 2, generator=generator) * 0.5
    sides = 0.1 + 0.4 * torch.rand(batch, BOXES, 2, generator=generator)
    labels = torch.randint(1, CLASSES, (batch, BOXES), generator=generator)
    columns = images.permute(0, 3, 1, 2), torch.cat([low, low + sides], dim=2), labels
    return tuple(column.to(DEVICE) for column in columns)


def ours() -> Callable[[], Tensor]:
    images, boxes, labels = make_data(BATCH)
    network = ssd300(CLASSES).to(DEVICE, memory_format=torch.channels_last)
    loss = instantiate(compose("experiment=ssd_torchvision").loss, _convert_="all")
    optimizer = make_optimizer(network, partial(SGD, **RULES), {}, [], may_fuse=True)

    def step() -> Tensor:
        with torch.autocast(DEVICE, torch.bfloat16):
            sums = loss(network(images), {"boxes": boxes, "labels": labels}, network.anchors)
            total = (sums["class"] + sums["box"]) / sums["divisor"].clamp(min=1)
        return take(total, optimizer)

    return step


def torchvisions(bf16: bool, channels_last: bool) -> Callable[[], Tensor]:
    images, boxes, labels = make_data(BATCH)
    model: nn.Module = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=CLASSES)
    order = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(DEVICE, memory_format=order).train()
    pixels = list((images.float() / 255).contiguous())
    targets = [{"boxes": b * SIDE, "labels": label} for b, label in zip(boxes, labels, strict=True)]
    optimizer = SGD(model.parameters(), **RULES, fused=channels_last)  # its best form has all

    def step() -> Tensor:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
            losses = model(pixels, targets)
        return take(sum(losses.values()), optimizer)

    return step


def take(loss: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()
