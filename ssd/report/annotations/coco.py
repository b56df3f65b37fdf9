"""COCO: predictions.json, the results as COCOeval takes them, and instances_train.json, a data set
whose images and categories they belong to, with the detections as its annotations.

In both a category's id is the label, and no digit is rounded: rounded scores tie.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssd.report.annotations.found import Found
from ssd.report.results import write_json


def write(folder: Path, found: Sequence[Found], classes: Sequence[str]) -> None:
    results = [result for one in found for result in results_of(one)]
    annotations = [
        {"id": id, **result, "area": result["bbox"][2] * result["bbox"][3], "iscrowd": 0}
        for id, result in enumerate(results, start=1)
    ]
    categories = [{"id": id, "name": name} for id, name in enumerate(classes, start=1)]
    data_set = {
        "images": [image_of(one) for one in found],
        "annotations": annotations,
        "categories": categories,
    }
    (folder / "annotations").mkdir()
    write_json(folder / "predictions.json", results, indent=None)
    write_json(folder / "annotations" / "instances_train.json", data_set, indent=None)


def results_of(one: Found) -> list[dict[str, Any]]:
    boxes = np.concatenate([one.boxes[:, :2], one.boxes[:, 2:] - one.boxes[:, :2]], axis=1)
    columns = (one.labels.tolist(), boxes.tolist(), one.scores.tolist())
    return [
        {"image_id": one.number, "category_id": label, "bbox": box, "score": score}
        for label, box, score in zip(*columns, strict=True)
    ]


def image_of(one: Found) -> dict[str, Any]:
    width, height = one.size
    image = {"id": one.number, "file_name": one.name, "width": width, "height": height}
    return {**image, "frame": one.frame, "seconds": one.seconds} if one.video else image
