"""VOC's and COCO's average precision of a split as large as the test split of VOC 2007.

VOC's rule beside the devkit's own loop, over the detections of one class after another; COCO's
numbers with faster-coco-eval beside pycocotools, both through `ssd.metric`. Each case says what
memory ours took above the data.
"""

import contextlib
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.timing import OURS, Timed, in_turn
from ssd.metric.coco import coco_precision
from ssd.metric.scores import VOC_IOU
from ssd.ops.precision import (
    DetectionColumns,
    TruthColumns,
    average_precision,
    precision_recall,
)

IMAGES, TRUTHS, DETECTIONS, CLASSES = 4952, 12_040, 495_000, 20
SIZE = torch.tensor([500, 375], dtype=torch.float64)
NEAR = 0.1  # of the detections lie around a truth
EXTRA = "faster_coco_eval"


def measure(rounds: int) -> Iterator[Timed]:
    truths = make_truths()
    detections = make_detections(truths)
    sides = {OURS: partial(ours, truths, detections), "a loop": partial(loop, truths, detections)}
    voc = case("VOC", sides[OURS])  # first: memory that was used before would hide its own
    check(*(side() for side in sides.values()))
    yield in_turn("scoring", voc, "images", IMAGES, sides, rounds)
    run = partial(coco_precision, truths, detections, CLASSES + 1)
    sides = {OURS: run, "with pycocotools": partial(without_extra, run)}
    coco = case("COCO", sides[OURS])
    check(*(side() for side in sides.values()))
    yield in_turn("scoring", coco, "images", IMAGES, sides, rounds)


def make_truths() -> TruthColumns:
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.rand, generator=generator, dtype=torch.float64)
    low = draw(TRUTHS, 2) * 0.8 * SIZE
    high = torch.minimum(low + 10 + draw(TRUTHS, 2) ** 2 * SIZE, SIZE)
    images = torch.randint(IMAGES, (TRUTHS,), generator=generator).sort().values
    labels = torch.randint(1, CLASSES + 1, (TRUTHS,), generator=generator)
    return TruthColumns(images, labels, torch.cat([low, high], dim=1), draw(TRUTHS) < 0.2)


def make_detections(truths: TruthColumns) -> DetectionColumns:
    """As many in every image: some around a truth, with better scores, and the others anywhere."""
    generator = torch.Generator().manual_seed(1)
    draw = partial(torch.rand, generator=generator, dtype=torch.float64)
    near = torch.randint(TRUTHS, (int(NEAR * DETECTIONS),), generator=generator)
    far = DETECTIONS - len(near)
    noise = 8 * torch.randn(len(near), 4, generator=generator, dtype=torch.float64)
    low = draw(far, 2) * 0.8 * SIZE
    elsewhere = torch.cat([low, low + 5 + draw(far, 2) * 0.2 * SIZE], dim=1)
    images = torch.cat([truths.images[near], torch.arange(far) * IMAGES // far])
    labels = torch.randint(1, CLASSES + 1, (far,), generator=generator)
    scores = draw(DETECTIONS).float() / 2
    scores[: len(near)] += draw(len(near)).float() / 2
    found = DetectionColumns(
        images,
        torch.cat([truths.labels[near], labels]),
        scores,
        torch.cat([truths.boxes[near] + noise, elsewhere]),
    )
    order = torch.argsort(images, stable=True)
    return DetectionColumns(*(column[order] for column in found))


def ours(truths: TruthColumns, detections: DetectionColumns) -> np.ndarray:
    """(2, C - 1) VOC 2007's and VOC 2012's average precision."""
    curves = precision_recall(truths, detections, CLASSES + 1, VOC_IOU)
    return np.stack([average_precision(curves, rule).numpy() for rule in ("11-point", "area")])


def loop(truths: TruthColumns, detections: DetectionColumns) -> np.ndarray:
    """VOCevaldet.m and VOCap.m, a detection at a time."""
    columns = [loop_over_class(truths, detections, label) for label in range(1, CLASSES + 1)]
    return np.array(columns).T


def loop_over_class(
    truths: TruthColumns, detections: DetectionColumns, label: int
) -> tuple[float, float]:
    true = [column[truths.labels == label].numpy() for column in truths]
    found = [column[detections.labels == label].numpy() for column in detections]
    by_image = defaultdict(list)
    for row, image in enumerate(true[0].tolist()):
        by_image[image].append(row)
    claimed = np.zeros(len(true[0]), dtype=bool)
    right, wrong = np.zeros((2, len(found[0])))
    order = np.argsort(-found[2], kind="stable")
    for rank, (image, box) in enumerate(
        zip(found[0][order].tolist(), found[3][order], strict=True)
    ):
        rows = by_image[image]
        overlaps = overlap(box, true[2][rows])
        if not rows or overlaps.max() < VOC_IOU:
            wrong[rank] = 1
            continue
        best = rows[overlaps.argmax()]
        if not true[3][best]:
            right[rank], wrong[rank] = (0, 1) if claimed[best] else (1, 0)
            claimed[best] = True
    rights, wrongs = right.cumsum(), wrong.cumsum()
    recall, precision = rights / (~true[3]).sum(), rights / np.maximum(rights + wrongs, 1)
    best = [precision[recall >= t].max(initial=0) for t in np.arange(0, 1.1, 0.1)]
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return sum(best) / 11, float((np.diff(recall, prepend=0) * envelope).sum())


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU (n,) of a box with n others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.maximum(high - low, 0).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1)
    return shared / ((box[2:] - box[:2]).prod() + areas - shared)


def without_extra(run: Callable[[], np.ndarray]) -> np.ndarray:
    """As where faster-coco-eval is not installed."""
    extra = sys.modules.get(EXTRA)
    sys.modules[EXTRA] = None
    try:
        return run()
    finally:
        del sys.modules[EXTRA]
        if extra:
            sys.modules[EXTRA] = extra


def case(what: str, run: Callable[[], object]) -> str:
    memory = above_the_data(run)
    taken = "" if math.isnan(memory) else f", {memory:.0f} MiB above the data"
    return f"{what}, {DETECTIONS:,} detections{taken}"


def above_the_data(run: Callable[[], object]) -> float:
    """What the process grew by at most, in MiB; nan where the system does not tell, as Linux
    does."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now
        before = peak()
        run()
        return peak() - before
    return math.nan


def peak() -> float:
    """The most memory so far, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def check(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Both sides found the same."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
