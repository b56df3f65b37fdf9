"""Time and memory as the work grows: sides of images, classes, boxes of an image, records.

Every point is measured in a process of its own, so its peak of memory is its own.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from hydra.utils import instantiate

from benchmarks.configuring import compose, ssd300
from benchmarks.timing import time_of
from ssd.data.checks import POLICIES, Report
from ssd.data.columns import Records, to_annotations
from ssd.data.dividing import held_out
from ssd.ops.detecting import detect
from ssd.records import Predictions

GROWTH = "growth"
RUNS = 3
BATCH = 2


class Point(NamedTuple):
    axis: str  # what grows
    value: int
    seconds: float
    megabytes: float  # peak, above that of the imports


def measure() -> Iterator[Point]:
    """Every point of every axis."""
    context = multiprocessing.get_context("spawn")
    for axis, (values, _) in AXES.items():
        for value in values:
            with context.Pool(1) as pool:
                yield Point(axis, value, *pool.apply(point, (axis, value)))


def line(found: Point) -> str:
    return (
        f"{GROWTH}, {found.axis}: {found.value:>9,}{found.seconds:10.3f} s{found.megabytes:9.0f} MB"
    )


def point(axis: str, value: int) -> tuple[float, float]:
    """Seconds of the best of some runs, and the most megabytes that they took. In its own process,
    on Linux."""
    run = AXES[axis][1](value)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    run()
    seconds = min(time_of(run) for _ in range(RUNS))
    return seconds, memory("VmHWM") - before


def memory(field: str) -> float:
    """A field of this process's status, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def images(side: int) -> Callable[[], None]:
    """A training step of the small network at that size."""
    cfg = compose("model=small", f"model.image_size={side}")
    network = instantiate(cfg.model, num_classes=21, _convert_="all")
    network.to(memory_format=torch.channels_last)
    loss = instantiate(cfg.loss, _convert_="all")
    pixels = torch.zeros(BATCH, side, side, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    boxes, labels = truth(3)

    def step() -> None:
        sums = loss(network(pixels), {"boxes": boxes, "labels": labels}, network.anchors)
        (sums["class"] + sums["box"]).backward()

    return step


def classes(number: int) -> Callable[[], None]:
    """Loss and detections of SSD300's anchors with so many classes and the background."""
    return loss_and_detections(number + 1, 3)


def boxes(number: int) -> Callable[[], None]:
    """Loss and detections of SSD300's anchors with so many boxes an image."""
    return loss_and_detections(21, number)


def loss_and_detections(num_classes: int, number: int) -> Callable[[], None]:
    cfg = compose("experiment=ssd_torchvision")
    anchors = ssd300(2).anchors
    loss = instantiate(cfg.loss, _convert_="all")
    settings = {"activation": "softmax", **instantiate(cfg.detecting)}
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(BATCH, len(anchors), num_classes, generator=generator)
    logits[..., 0] += 7
    offsets = torch.randn(BATCH, len(anchors), 4, generator=generator)
    corners, labels = truth(number)

    def step() -> None:
        leaves = Predictions(logits.requires_grad_(), offsets.requires_grad_())
        sums = loss(leaves, {"boxes": corners, "labels": labels}, anchors)
        (sums["class"] + sums["box"]).backward()
        logits.grad = offsets.grad = None
        with torch.no_grad():
            detect(Predictions(logits, offsets), anchors, **settings)

    return step


def records(number: int) -> Callable[[], None]:
    """Reading so many images with seven boxes each: columns to tensors, classes, splits."""
    rng = np.random.default_rng(0)
    many = 7 * number
    corners = rng.uniform(0, 300, (many, 2))
    columns = Records(
        ids=[f"{place:012}" for place in range(number)],
        files=[f"images/{place:012}.jpg" for place in range(number)],
        sizes=np.full((number, 2), 640),
        starts=np.arange(number + 1) * 7,
        boxes=np.concatenate([corners, corners + 20], axis=1),
        names=rng.integers(0, 80, many),
        difficult=np.zeros(many, bool),
        crowd=np.zeros(many, bool),
        vocabulary=[f"class {place}" for place in range(80)],
    )

    def step() -> None:
        report = Report(dict.fromkeys(POLICIES, "raise"))
        out = held_out(columns, "test")
        for part in (columns.subset(out), columns.subset(~out)):
            to_annotations(part, columns.vocabulary, report)

    return step


def truth(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(BATCH, number, 2, generator=generator) * 0.8
    corners = torch.cat([low, low + 0.2], dim=2)
    return corners, torch.ones(BATCH, number, dtype=torch.int64)


AXES = {
    "pixels of a side": ((300, 512, 768, 1024), images),
    "classes": ((20, 80, 365, 1203), classes),
    "boxes of an image": ((1, 10, 100, 300), boxes),
    "images of a data set": ((1_000, 10_000, 100_000, 1_000_000), records),
}
