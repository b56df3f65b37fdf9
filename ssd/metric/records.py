"""A split and its detections as COCO's records, and what they are made from."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssd.ops.precision import DetectionColumns, TruthColumns
from ssd.records import Annotations


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
        "images": records(
            id=range(1, len(annotations.ids) + 1),
            file_name=[Path(file).name for file in annotations.files],
            width=annotations.sizes[:, 0].tolist(),
            height=annotations.sizes[:, 1].tolist(),
        ),
        "annotations": coco_records(truths, iscrowd=truths.difficult.int().tolist()),
        "categories": records(id=range(1, len(classes) + 1), name=classes),
    }


def coco_results(detections: DetectionColumns) -> list[dict[str, Any]]:
    """COCO's results format, every digit kept: rounded scores tie, and ties move the numbers."""
    return records(
        image_id=(detections.images + 1).tolist(),
        category_id=detections.labels.tolist(),
        bbox=_xywh(detections.boxes),
        score=detections.scores.tolist(),
    )


def coco_records(
    rows: TruthColumns | DetectionColumns, **more: Iterable[Any]
) -> list[dict[str, Any]]:
    boxes = _xywh(rows.boxes)
    return records(
        id=range(1, len(boxes) + 1),
        image_id=(rows.images + 1).tolist(),
        category_id=rows.labels.tolist(),
        bbox=boxes,
        area=[width * height for _, _, width, height in boxes],
        **more,
    )


def records(**columns: Iterable[Any]) -> list[dict[str, Any]]:
    """A dict per row of columns of one length."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _xywh(boxes: Tensor) -> list[list[float]]:
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).tolist()
