"""Splits of drawn rows for tests of scores: what there is to find, and what was found."""

import torch
from torch import Tensor

from ssd.ops.precision import DetectionColumns, TruthColumns

Box = tuple[float, float, float, float]
SQUARE: Box = (0, 0, 10, 10)
ELSEWHERE: Box = (50, 50, 60, 60)


def truths(*rows: tuple[int, int, Box, bool]) -> TruthColumns:
    """Rows of (image, label, box, difficult)."""
    images, labels, boxes, difficult = zip(*rows, strict=True) if rows else ((), (), (), ())
    return TruthColumns(
        torch.tensor(images, dtype=torch.int64),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        torch.tensor(difficult, dtype=torch.bool),
    )


def detections(*rows: tuple[int, int, float, Box]) -> DetectionColumns:
    """Rows of (image, label, score, box)."""
    images, labels, scores, boxes = zip(*rows, strict=True) if rows else ((), (), (), ())
    return DetectionColumns(
        torch.tensor(images, dtype=torch.int64),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(scores, dtype=torch.float64),
        torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
    )


def random_split(seed: int) -> tuple[TruthColumns, DetectionColumns]:
    """Whole pixels and few distinct scores make ties; detections lie around truths."""
    draw = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=draw)

    lower = integers(0, 30, 60, 2)
    boxes = torch.cat([lower, lower + integers(3, 20, 60, 2)], dim=1).double()
    true = TruthColumns(integers(0, 12, 60), integers(1, 5, 60), boxes, integers(0, 5, 60) == 0)
    near = integers(0, 60, 400)
    corners = true.boxes[near] + integers(-2, 3, 400, 4)
    found = DetectionColumns(
        true.images[near],
        torch.where(integers(0, 4, 400) == 0, integers(1, 5, 400), true.labels[near]),
        integers(1, 20, 400) / 20,
        corners,
    )
    return true, found
