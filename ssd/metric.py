"""What a split scores: average precision by the rules of VOC and of COCO.

`score` is the whole computation on columns; `DetectionMetric` gathers the columns over batches and
processes. The VOC numbers come from `ops.precision`, the COCO numbers from pycocotools, fed with
the very records that `coco_ground_truth` and `coco_results` give for files.
"""

import contextlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor
from torchmetrics import Metric

from ssd.ops.precision import (
    Curve,
    DetectionColumns,
    TruthColumns,
    average_precision,
    precision_recall,
)
from ssd.records import BACKGROUND, Annotations, Detections

VOC_IOU = 0.5
COCO_SUMMARY = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")  # COCOeval.stats
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


class DetectionMetric(Metric):
    """Average precision over a split, each image of which must come exactly once.

    `result` is what the last `compute` found, the same on every rank; it outlives `reset`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, annotations: Annotations, classes: list[str]) -> None:
        """classes: names without the background; class k has label k + 1"""
        super().__init__()
        self.annotations = annotations
        self.classes = classes
        self.result: Scores | None = None
        for name in self._no_rows():
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, detections: Detections, indices: Tensor) -> None:
        """indices: (B,) rows of the annotations, -1 for a repeat that must not count"""
        real = indices >= 0
        found = ((detections.labels != BACKGROUND) & real[:, None]).nonzero(as_tuple=True)
        self.seen.append(indices[real])
        self.images.append(indices[found[0]])
        self.labels.append(detections.labels[found])
        self.scores.append(detections.scores[found].float())
        self.boxes.append(detections.boxes[found].float())

    def sync(self, **options: Any) -> None:
        """A rank that got no batch takes part with no rows: the gathering needs type and shape."""
        for name, rows in self._no_rows().items():
            if len(getattr(self, name)) == 0:
                setattr(self, name, [rows.to(self.device)])
        super().sync(**options)

    def compute(self) -> dict[str, float]:
        """The summary of `result`; an error unless every image came once."""
        rows = {name: self._gathered(name, none) for name, none in self._no_rows().items()}
        _check_coverage(rows.pop("seen"), self.annotations.ids)
        order = torch.argsort(rows["images"], stable=True)  # as if one batch had brought all
        detections = DetectionColumns(**{name: column[order] for name, column in rows.items()})
        sizes = self.annotations.sizes[detections.images].repeat(1, 2)
        detections = detections._replace(boxes=detections.boxes.double() * sizes)
        self.result = score(self.annotations, self.classes, detections)
        return self.result.summary

    def table(self) -> list[ClassScores]:
        """A line per class, from the last `compute`."""
        if self.result is None:
            raise RuntimeError("the table comes from compute(), which has not run yet")
        return self.result.table

    def _gathered(self, name: str, none: Tensor) -> Tensor:
        state = getattr(self, name)  # a list of chunks, or one tensor once ranks are gathered
        chunks = [state] if isinstance(state, Tensor) else state
        return torch.cat([none, *(chunk.cpu() for chunk in chunks)])

    @staticmethod
    def _no_rows() -> dict[str, Tensor]:
        """Every state as it is without rows. Boxes are fractions of the image until `compute`."""
        integers = torch.zeros(0, dtype=torch.int64)  # also between ranks: float32 ends at 2**24
        return {
            "seen": integers,  # images, also those without detections
            "images": integers,
            "labels": integers,
            "scores": torch.zeros(0),
            "boxes": torch.zeros(0, 4),
        }


def score(annotations: Annotations, classes: list[str], detections: DetectionColumns) -> Scores:
    """All numbers of a split.

    detections: on the CPU, boxes in pixels of the original image
    """
    truths = truth_columns(annotations)
    curves = precision_recall(truths, detections, len(classes) + 1, VOC_IOU)
    voc07, voc12 = (average_precision(curves, rule) for rule in ("11-point", "area"))
    truth = coco_ground_truth(annotations, classes)
    coco = _coco_evaluation(truth, coco_results(detections))
    precision = coco.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class): all areas, 100 boxes
    table = _records(
        name=classes,
        truths=[curve.num_truths for curve in curves],
        detections=[len(curve.scores) for curve in curves],
        ap_voc07=voc07.tolist(),
        ap_voc12=voc12.tolist(),
        ap=_absent_as_nan(precision.mean((0, 1))),
        ap_50=_absent_as_nan(precision[0].mean(0)),
    )
    summary = {
        "map_voc07": voc07.nanmean().item(),
        "map_voc12": voc12.nanmean().item(),
        **dict(zip(COCO_SUMMARY, _absent_as_nan(coco.stats[:6]), strict=True)),
        **{f"ap/{line['name']}": line["ap"] for line in table},
    }
    return Scores(summary, table, curves, detections)


def truth_columns(annotations: Annotations) -> TruthColumns:
    """The boxes of a split with the row of their image, in pixels."""
    images = torch.repeat_interleave(annotations.starts.diff())
    return TruthColumns(images, annotations.labels, annotations.boxes, annotations.difficult)


def coco_ground_truth(annotations: Annotations, classes: list[str]) -> dict[str, Any]:
    """The split as a COCO data set: image id = row + 1, category id = label.

    Difficult boxes are crowds, the one way to tell COCOeval that a detection there is neither right
    nor wrong. Ids of boxes begin at 1, since COCOeval takes 0 for "no match". An area is its box's.
    """
    truths = truth_columns(annotations)
    boxes = _xywh(truths.boxes)
    return {
        "info": {},  # older releases of loadRes() copy it unasked
        "images": _records(
            id=range(1, len(annotations.ids) + 1),
            file_name=[Path(file).name for file in annotations.files],
            width=annotations.sizes[:, 0].tolist(),
            height=annotations.sizes[:, 1].tolist(),
        ),
        "annotations": _records(
            id=range(1, len(boxes) + 1),
            image_id=(truths.images + 1).tolist(),
            category_id=truths.labels.tolist(),
            bbox=boxes,
            area=[width * height for _, _, width, height in boxes],
            iscrowd=truths.difficult.int().tolist(),
        ),
        "categories": _records(id=range(1, len(classes) + 1), name=classes),
    }


def coco_results(detections: DetectionColumns) -> list[dict[str, Any]]:
    """COCO's results format, every digit kept: rounded scores tie, and ties move the numbers."""
    return _records(
        image_id=(detections.images + 1).tolist(),
        category_id=detections.labels.tolist(),
        bbox=_xywh(detections.boxes),
        score=detections.scores.tolist(),
    )


def _records(**columns: Iterable[Any]) -> list[dict[str, Any]]:
    """A dict per row of columns of one length."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _xywh(boxes: Tensor) -> list[list[float]]:
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).tolist()


def _coco_evaluation(truth: dict[str, Any], results: list[dict[str, Any]]) -> COCOeval:
    """pycocotools' evaluation of boxes, its printing swallowed.

    The fields that loadRes() would add are filled in here: it fails on an empty list, and adds
    polygons that boxes do not need.
    """
    found = [
        {**result, "id": row + 1, "area": result["bbox"][2] * result["bbox"][3], "iscrowd": 0}
        for row, result in enumerate(results)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_indexed(truth), _indexed({**truth, "annotations": found}), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _indexed(dataset: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def _absent_as_nan(values: np.ndarray) -> list[float]:
    """pycocotools writes -1 for what does not exist."""
    return np.where(values < 0, np.nan, values).tolist()


def _check_coverage(seen: Tensor, ids: Sequence[str]) -> None:
    """Raises unless every row of the split was seen once: each number would be another split's."""
    times = torch.bincount(seen, minlength=len(ids))
    for what, wrong in (("were never seen", times == 0), ("were seen more than once", times > 1)):
        rows = wrong.nonzero().squeeze(1).tolist()
        if rows:
            names = ", ".join(ids[row] for row in rows[:3]) + (", ..." if len(rows) > 3 else "")
            raise RuntimeError(
                f"a score needs every image of the split once, but {len(rows)} of {len(ids)} "
                f"{what}: {names}; call reset() before a pass and compute() after a whole one"
            )
