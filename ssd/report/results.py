"""The files that a run leaves: results.json, and what anyone needs to score it again."""

import csv
import json
import logging
import math
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ssd.ops.precision import Curve, DetectionColumns
from ssd.records import Annotations
from ssd.report.speed import Stopwatch
from ssd.report.table import Row, class_table

log = logging.getLogger(__name__)

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "pycocotools")
COCO_EXTRA = "faster-coco-eval"  # gives the COCO numbers where it is installed


class Images(Protocol):
    """The images of a split, by row."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Any:
        """As the network gets it."""

    def picture(self, row: int) -> np.ndarray:
        """As it is. (H, W, 3) uint8 RGB"""


class Scored(NamedTuple):
    """What was found on a split, beside the truth."""

    classes: list[str]
    summary: dict[str, float]  # by the metric names, without the stage
    table: list[Row]  # a row per class
    curves: list[Curve]  # per class, VOC's rule at IoU 0.5
    annotations: Annotations
    detections: DetectionColumns  # by image, in pixels of the original
    predictions: list[dict[str, Any]]  # COCO results, pixels of the original image
    ground_truth: dict[str, Any]  # a COCO data set
    dataset: Images
    stopwatch: Stopwatch  # of the pass


def write_results(folder: Path, results: Mapping[str, Any], scored: Scored | None) -> None:
    """Write results.json; with `scored` also predictions.json and ground_truth.json, which any COCO
    tool scores to the same numbers, and print the table of classes."""
    classes = scored and scored.table
    content = {**results, "classes": classes, "versions": versions()}
    write_json(folder / "results.json", content, indent=1)
    if scored:
        write_json(folder / "predictions.json", scored.predictions, indent=None)
        write_json(folder / "ground_truth.json", scored.ground_truth, indent=None)
        log.info("%s", class_table(scored.table))


def earlier_results(folder: Path, step: int) -> dict[str, Any]:
    """The results that a run has written of its last step; or, where it was stopped before that,
    the scores of its last validation."""
    file = folder / "results.json"
    written = json.loads(file.read_text()) if file.is_file() else {}
    if written.get("steps") == step:
        return written
    if not (folder / "metrics.csv").is_file():
        return {}
    with (folder / "metrics.csv").open(newline="") as rows:
        validated = [row for row in csv.DictReader(rows) if row.get("val/map")]
    scores = validated[-1].items() if validated else ()
    return {name: float(value) for name, value in scores if name.startswith("val/") and value}


def versions() -> dict[str, str | None]:
    """The packages that numbers depend on."""
    return {name: installed(name) for name in (*PACKAGES, COCO_EXTRA)}


def installed(name: str) -> str | None:
    """The version of a package; None where it is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def write_json(path: Path, content: Any, indent: int | None) -> None:
    """All of the file or nothing."""
    part = path.with_name(f"{path.name}.tmp")
    part.write_text(json.dumps(finite(content), indent=indent, allow_nan=False) + "\n")
    os.replace(part, path)


def finite(content: Any) -> Any:
    """null for a number that does not exist, such as the AP of small objects where there are none:
    JSON has no nan."""
    if isinstance(content, Mapping):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
