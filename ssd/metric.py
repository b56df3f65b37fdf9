"""What a split scores: average precision by the rules of VOC and of COCO.

`score` is the whole computation on columns; `DetectionMetric` gathers the columns over batches and
processes. The VOC numbers come from `ops.precision`, the COCO numbers from faster-coco-eval where
it is installed and from pycocotools where it is not, equal to the last digit.
"""

import contextlib
import gc
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch
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
COCO_DETECTIONS = 100  # of an image and class, the best ones; COCO's rule for all of its precisions
HALVES = np.exp2(-np.arange(32.0))  # recalls: for n >= 2 truths one of them is in (1 / n, 2 / n]
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
    coco = coco_precision(truths, detections, len(classes) + 1)
    by_class = coco[..., 0]  # all areas
    table = _records(
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
        **dict(zip(COCO_SUMMARY, _coco_summary(coco), strict=True)),
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
    return {
        "info": {},  # older releases of loadRes() copy it unasked
        "images": _records(
            id=range(1, len(annotations.ids) + 1),
            file_name=[Path(file).name for file in annotations.files],
            width=annotations.sizes[:, 0].tolist(),
            height=annotations.sizes[:, 1].tolist(),
        ),
        "annotations": _coco_records(truths, iscrowd=truths.difficult.int().tolist()),
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


def _coco_records(
    rows: TruthColumns | DetectionColumns, **more: Iterable[Any]
) -> list[dict[str, Any]]:
    boxes = _xywh(rows.boxes)
    return _records(
        id=range(1, len(boxes) + 1),
        image_id=(rows.images + 1).tolist(),
        category_id=rows.labels.tolist(),
        bbox=boxes,
        area=[width * height for _, _, width, height in boxes],
        **more,
    )


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
        "images": _records(id=images),
        "categories": _records(id=truths.labels[:1].tolist()),
    }
    there = _coco_records(truths, iscrowd=truths.difficult.int().tolist())
    found = _coco_records(detections, score=detections.scores.tolist())
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


def _coco_summary(precision: np.ndarray) -> list[float]:
    """COCO_SUMMARY of `coco_precision`, as COCOeval.summarize() takes its means."""
    everywhere, small, medium, large = np.moveaxis(precision, 3, 0)
    chosen = (everywhere, everywhere[0], everywhere[5], small, medium, large)  # IoU .5 is 0, .75 5
    there = (values[values > -1] for values in chosen)
    return [float(values.mean()) if len(values) else np.nan for values in there]


def _absent_as_nan(values: np.ndarray) -> list[float]:
    """COCOeval writes -1 for what does not exist."""
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
