"""All numbers of a split, from its annotations and the detections in them."""

from typing import NamedTuple, TypedDict

import numpy as np

from ssd.metric.coco import COCO_SUMMARY, coco_precision, coco_summary
from ssd.metric.records import records, truth_columns
from ssd.ops.precision import Curve, DetectionColumns, average_precision, precision_recall
from ssd.records import Annotations

VOC_IOU = 0.5
SUMMARY = ("map_voc07", "map_voc12", *COCO_SUMMARY)  # beside ap/<class>


class ClassScores(TypedDict):
    """One line of the table of classes. A score is nan where the class has no truths."""

    name: str
    truths: int  # the difficult ones left out
    detections: int
    ap_voc07: float
    ap_voc12: float
    ap: float  # COCO, the mean over IoU .50:.95
    ap_50: float  # COCO


class Scores(NamedTuple):
    """All that one pass over a split gives."""

    summary: dict[str, float]  # by the metric names, without the stage
    table: list[ClassScores]  # a line per class
    curves: list[Curve]  # per class, VOC's rule at IoU 0.5
    detections: DetectionColumns  # by image, in pixels of the original


def score(annotations: Annotations, classes: list[str], detections: DetectionColumns) -> Scores:
    """All numbers of a split.

    detections: on the CPU, boxes in pixels of the original image
    """
    truths = truth_columns(annotations)
    curves = precision_recall(truths, detections, len(classes) + 1, VOC_IOU)
    voc07, voc12 = (average_precision(curves, rule) for rule in ("11-point", "area"))
    coco = coco_precision(truths, detections, len(classes) + 1)
    by_class = coco[..., 0]  # all areas
    table = records(
        name=classes,
        truths=[curve.num_truths for curve in curves],
        detections=[len(curve.scores) for curve in curves],
        ap_voc07=voc07.tolist(),
        ap_voc12=voc12.tolist(),
        ap=_absent_as_nan(by_class.mean((0, 1))),
        ap_50=_absent_as_nan(by_class[0].mean(0)),
    )
    summary = {
        "map_voc07": voc07.nanmean().item(),
        "map_voc12": voc12.nanmean().item(),
        **dict(zip(COCO_SUMMARY, coco_summary(coco), strict=True)),
        **{f"ap/{line['name']}": line["ap"] for line in table},
    }
    return Scores(summary, table, curves, detections)


def _absent_as_nan(values: np.ndarray) -> list[float]:
    """COCOeval writes -1 for what does not exist."""
    return np.where(values < 0, np.nan, values).tolist()
