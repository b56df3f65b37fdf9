"""Scored splits of drawn images, for tests of reports."""

from pathlib import Path

import cv2
import numpy as np
import torch
from test_metric import Box, annotated

from ssd.data.dataset import DetectionDataset
from ssd.metric import coco_ground_truth, coco_results
from ssd.metric.scores import score
from ssd.ops.precision import DetectionColumns
from ssd.report.assessment import Assessment, assess
from ssd.report.results import Scored
from ssd.report.speed import DETECTING, LOSS, NETWORK, SCORING, Stopwatch

CAT, DOG = 1, 2
LEFT, RIGHT = (20, 20, 60, 60), (120, 30, 180, 90)  # pixels of 200 x 100
ABOUT = {"checkpoint": "a.ckpt", "device": "cpu"}

Truth = tuple[int, Box, bool]
Found = tuple[int, float, Box]


def split(
    folder: Path, classes: list[str], truths: list[list[Truth]], found: list[list[Found]]
) -> Scored:
    """Gray images with these truths, and what was found in them."""
    annotations = annotated(*truths)
    files = [str(folder / f"{id}.png") for id in annotations.ids]
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        cv2.imwrite(file, np.full((100, 200, 3), 128, np.uint8))
    annotations = annotations._replace(files=files)
    rows = [(image, *one) for image, ones in enumerate(found) for one in ones]
    images, labels, scores, boxes = zip(*rows, strict=True) if rows else ((), (), (), ())
    detections = DetectionColumns(
        torch.tensor(images, dtype=torch.int64),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
    )
    result = score(annotations, classes, detections)
    return Scored(
        classes=classes,
        summary=result.summary,
        table=result.table,
        curves=result.curves,
        annotations=annotations,
        detections=detections,
        predictions=coco_results(detections),
        ground_truth=coco_ground_truth(annotations, classes),
        dataset=DetectionDataset(annotations, (64, 64), None, True, True, seed=0),
        stopwatch=timed(len(truths)),
    )


def timed(images: int) -> Stopwatch:
    watch = Stopwatch(torch.device("cpu"))
    watch.begin(images)
    for stage in (NETWORK, DETECTING, LOSS, SCORING):
        watch.lap(stage)
    return watch


def assessed(folder: Path, *split_of: object, name: str = "run", draws: int = 20) -> Assessment:
    return assess(split(folder, *split_of), name, "test", ABOUT, draws)
