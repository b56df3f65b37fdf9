"""COCO's average precision, one class at a time, by the fastest evaluation that is installed."""

import contextlib
import gc
import io
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch

from ssd.metric.records import coco_records, records
from ssd.ops.precision import DetectionColumns, TruthColumns

COCO_SUMMARY = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")  # COCOeval.stats
COCO_DETECTIONS = 100  # of an image and class, the best ones; COCO's rule for all of its precisions
HALVES = np.exp2(-np.arange(32.0))  # recalls: for n >= 2 truths one of them is in (1 / n, 2 / n]


def coco_precision(
    truths: TruthColumns, detections: DetectionColumns, num_classes: int
) -> np.ndarray:
    """COCOeval's table of precisions, at most 100 detections of an image and class.

    Classes know nothing of each other: one at a time keeps the records of one in memory, and leaves
    out the images that have neither truths nor detections of it, which are most.

    num_classes: C, the background included
    returns: (10, 101, C - 1, 4) IoU from .5 to .95, recalls from 0 to 1, classes, areas: all,
        small, medium, large; -1 where there are no truths
    """
    coco, coco_eval = coco_tools()
    pairs = zip(_by_class(truths, num_classes), _by_class(detections, num_classes), strict=True)
    with _without_collections():
        tables = [_class_precision(*pair, coco, coco_eval) for pair in pairs]
    return np.stack(tables, axis=2)


def coco_tools() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """COCO and COCOeval of faster-coco-eval where that is installed, else of pycocotools."""
    if find_spec("faster_coco_eval"):
        from faster_coco_eval import COCO, COCOeval_faster

        return COCO, partial(COCOeval_faster, print_function=lambda text: None)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return COCO, COCOeval


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Python's search for cycles walks through all objects of the program again and again as
    records come by the million; they have no cycles, and it takes as long as the evaluation."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _by_class(rows: NamedTuple, num_classes: int) -> Iterator[NamedTuple]:
    """The rows of label 1, of label 2 and so on, each in the order that they had."""
    order = torch.argsort(rows.labels, stable=True)
    sizes = torch.bincount(rows.labels, minlength=num_classes).tolist()
    return (rows._make(column[its] for column in rows) for its in order.split(sizes)[1:])


def _class_precision(
    truths: TruthColumns,
    detections: DetectionColumns,
    coco: Callable[..., Any],
    coco_eval: Callable[..., Any],
) -> np.ndarray:
    """(10, 101, 4) `coco_precision` of one class."""
    if truths.difficult.all():
        return np.full((10, 101, 4), -1.0)
    images = torch.cat([truths.images, detections.images]).add(1).unique().tolist()
    about = {
        "images": records(id=images),
        "categories": records(id=truths.labels[:1].tolist()),
    }
    there = coco_records(truths, iscrowd=truths.difficult.int().tolist())
    found = coco_records(detections, score=detections.scores.tolist())
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        sets = ({**about, "annotations": rows} for rows in (there, found))
        evaluation = coco_eval(*(_indexed(coco, dataset) for dataset in sets), "bbox")
        params = evaluation.params
        params.maxDets = [COCO_DETECTIONS]
        recalls, params.recThrs = params.recThrs, np.union1d(params.recThrs, HALVES)
        evaluation.evaluate()
        evaluation.accumulate()
    table = evaluation.eval["precision"][:, :, 0, :, 0]
    precision, at_halves = (
        table[:, np.searchsorted(params.recThrs, which)] for which in (recalls, HALVES)
    )
    areas = np.array([row["area"] for row in there if not row["iscrowd"]])
    for area, (low, high) in enumerate(params.areaRng):
        num_truths = int(((areas >= low) & (areas <= high)).sum())
        _divide_as_coco(precision[..., area], at_halves[..., area], num_truths)
    return precision


def _divide_as_coco(precision: np.ndarray, at_halves: np.ndarray, num_truths: int) -> None:
    """Put pycocotools' 1 / (1 + 2**-52) where faster-coco-eval has 1 / 1; change nothing else.

    pycocotools adds 2**-52 to the count of detections. That is lost in any count but 1, so it is
    left where the first detection is right and the second, or the lack of one, is not: where the
    precision is below 1 as soon as the recall is above 1 / num_truths.

    precision: (10, 101), at_halves: (10, 32) at the recalls HALVES; of one class and area
    """
    half = (num_truths - 1).bit_length() - 1  # 2**-half is in (1 / num_truths, 2 / num_truths]
    alone = at_halves[:, half] < 1 if num_truths > 1 else np.full(len(precision), True)
    precision[alone[:, None] & (precision == 1)] = 1 / (1 + np.spacing(1.0))


def _indexed(coco: Callable[..., Any], dataset: dict[str, Any]) -> Any:
    """Made by hand: loadRes() fails on an empty list, and adds polygons that boxes do not need."""
    indexed = coco()
    indexed.dataset = dataset
    indexed.createIndex()
    return indexed


def coco_summary(precision: np.ndarray) -> list[float]:
    """COCO_SUMMARY of `coco_precision`, as COCOeval.summarize() takes its means."""
    everywhere, small, medium, large = np.moveaxis(precision, 3, 0)
    chosen = (everywhere, everywhere[0], everywhere[5], small, medium, large)  # IoU .5 is 0, .75 5
    there = (values[values > -1] for values in chosen)
    return [float(values.mean()) if len(values) else np.nan for values in there]
