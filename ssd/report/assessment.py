"""All that is known of one checkpoint on one split, for the page, its figures and results.json."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ssd.analysis.calibration import Calibration, calibration
from ssd.analysis.confusion import confusion_matrix
from ssd.analysis.errors import ErrorCosts, Errors, error_costs, find_errors
from ssd.analysis.intervals import Interval, Resampled, interval, resample
from ssd.analysis.sizes import FINE_SIZES, SizeScore, size_scores
from ssd.analysis.thresholds import OperatingPoint, best_thresholds
from ssd.ops.precision import DetectionColumns, TruthColumns
from ssd.report.results import Scored, versions
from ssd.report.speed import Speed, time_reading

IOU = 0.5  # from here on a detection has found its object
BINS = 10  # of scores, for the calibration
UNDECIDED = 0.5  # the threshold of a class whose detections say of none that it is the best
SEED = 0  # of the drawings: the same for all checkpoints, or they could not be compared


class Assessment(NamedTuple):
    """One checkpoint on one split. C classes with the background."""

    name: str  # tells it from the other
    stage: str  # the split
    facts: Mapping[str, Any]  # what was scored and how, for people
    scored: Scored
    truths: TruthColumns
    resampled: Mapping[str, Resampled]  # by the metric names, without the stage; none: not asked
    costs: ErrorCosts
    sizes: Sequence[SizeScore]
    calibration: Calibration
    calibrations: Sequence[Calibration]  # of each class
    points: Sequence[OperatingPoint]  # of each class: its best threshold
    kept: DetectionColumns  # those with the best threshold of their class, or better
    errors: Errors  # of `kept`
    confusion: Tensor  # (C, C) of `kept`, rows the truth, columns the detection
    speed: Speed

    @property
    def classes(self) -> list[str]:
        return self.scored.classes

    @property
    def intervals(self) -> dict[str, Interval]:
        return {name: interval(drawn) for name, drawn in self.resampled.items()}


def assess(
    scored: Scored, name: str, stage: str, facts: Mapping[str, Any], draws: int
) -> Assessment:
    """draws: of the bootstrap; 0 for none"""
    annotations, detections, count = scored.annotations, scored.detections, len(scored.classes) + 1
    images = torch.repeat_interleave(annotations.starts.diff())
    truths = TruthColumns(images, annotations.labels, annotations.boxes, annotations.difficult)
    points = best_thresholds(scored.curves)
    kept = above(detections, points)
    calibrated, calibrations = calibration(truths, detections, count, IOU, BINS)
    drawn = resample(truths, detections, count, len(annotations.ids), draws, SEED) if draws else {}
    reading = time_reading(scored.dataset.__getitem__, len(annotations.ids))
    return Assessment(
        name=name,
        stage=stage,
        facts={
            **facts,
            "images": len(annotations.ids),
            "objects": int((~truths.difficult).sum()),
            "difficult objects and crowds": int(truths.difficult.sum()),
            **versions(),
        },
        scored=scored,
        truths=truths,
        resampled=drawn,
        costs=error_costs(truths, detections, find_errors(truths, detections)),
        sizes=size_scores(truths, detections, count, FINE_SIZES),
        calibration=calibrated,
        calibrations=calibrations,
        points=points,
        kept=kept,
        errors=find_errors(truths, kept),
        confusion=confusion_matrix(truths, kept, count, 0.0, IOU),
        speed=scored.stopwatch.speed(reading),
    )


def above(detections: DetectionColumns, points: Sequence[OperatingPoint]) -> DetectionColumns:
    """The detections that each class's best threshold keeps."""
    least = torch.tensor([0.0, *(point["threshold"] for point in points)], dtype=torch.float64)
    least = least.nan_to_num(UNDECIDED)
    keep = detections.scores.double() >= least[detections.labels]
    return DetectionColumns(*(column[keep] for column in detections))


def more_results(found: Assessment) -> dict[str, Any]:
    """What results.json says beside the scores."""
    stage, classes = found.stage, found.classes
    results: dict[str, Any] = {
        f"{stage}/{name}_interval": [ends["low"], ends["high"]]
        for name, ends in found.intervals.items()
    }
    results[f"{stage}/ece"] = found.calibration["expected_error"]
    for name, point in zip(classes, found.points, strict=True):
        results[f"{stage}/threshold/{name}"] = point["threshold"]
    for kind in found.costs["kinds"]:
        results[f"{stage}/error_cost/{kind['kind']}"] = kind["cost"]
    results[f"{stage}/speed"] = found.speed
    return results
