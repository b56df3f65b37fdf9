"""The errors that are worth a look, as rows to draw."""

from typing import TypedDict

import torch
from torch import Tensor

from ssd.analysis.errors import (
    BACKGROUND,
    BACKGROUND_IOU,
    CLASS,
    KINDS,
    LOCATION,
    MISSED,
    Errors,
)
from ssd.analysis.finding import choosing_order
from ssd.analysis.overlaps import Boxes, pair_up
from ssd.ops.precision import DetectionColumns, TruthColumns


class Example(TypedDict):
    """One error. What does not exist is None."""

    kind: str  # of errors.KINDS
    image: int  # row of the split
    label: int | None  # of the detection
    score: float | None  # of the detection
    box: list[float] | None  # xyxy, pixels; of the detection
    truth_label: int | None  # of the truth that it is about
    truth_box: list[float] | None  # xyxy, pixels; of the truth


class Examples(TypedDict):
    """The worst first."""

    false_positives: list[Example]  # background and location errors of the highest scores
    missed: list[Example]  # truths not found: those that no detection touches, the largest first
    confusions: list[Example]  # class errors of the highest scores


def worst_examples(
    truths: TruthColumns, detections: DetectionColumns, errors: Errors, limit: int
) -> Examples:
    """At most `limit` of each. Ignored detections and difficult truths are not among them.

    The missed are ordered by the highest score of a detection that touches them with an IoU of at
    least .1, of any class (none at all comes first), then by area, the largest first.
    """
    order = choosing_order(detections)
    order = order[~errors.ignored[order]]
    kinds = errors.kinds[order]
    wrong = order[(kinds == BACKGROUND) | (kinds == LOCATION)][:limit]
    confused = order[kinds == CLASS][:limit]
    missed = _most_clearly_missed(truths, detections, errors)[:limit]
    return Examples(
        false_positives=[_wrong(truths, detections, errors, row) for row in wrong.tolist()],
        missed=[missed_example(truths, row) for row in missed.tolist()],
        confusions=[_wrong(truths, detections, errors, row) for row in confused.tolist()],
    )


def _most_clearly_missed(
    truths: TruthColumns, detections: DetectionColumns, errors: Errors
) -> Tensor:
    """Rows of the truths not found, in the order that `worst_examples` says."""
    rows = (~errors.found & ~truths.difficult).nonzero().squeeze(1)
    there = Boxes(truths.images[rows], truths.boxes[rows])
    nowhere = torch.zeros_like(rows, dtype=torch.bool)
    found = Boxes(detections.images, detections.boxes)
    pairs = pair_up(found, there, nowhere, BACKGROUND_IOU)
    touched = torch.full_like(rows, -1, dtype=torch.float64)  # a score of 0 touches, too
    scores = detections.scores[pairs.detections].double()
    touched.scatter_reduce_(0, pairs.truths, scores, "amax")
    areas = (there.boxes[:, 2:] - there.boxes[:, :2]).prod(1)
    rows_by_area = torch.argsort(areas, descending=True, stable=True)
    return rows[rows_by_area[torch.argsort(touched[rows_by_area], stable=True)]]


def _wrong(truths: TruthColumns, detections: DetectionColumns, errors: Errors, row: int) -> Example:
    about = int(errors.truths[row])
    return Example(
        kind=KINDS[errors.kinds[row]],
        image=int(detections.images[row]),
        label=int(detections.labels[row]),
        score=detections.scores[row].item(),
        box=detections.boxes[row].tolist(),
        truth_label=int(truths.labels[about]) if about >= 0 else None,
        truth_box=truths.boxes[about].tolist() if about >= 0 else None,
    )


def missed_example(truths: TruthColumns, row: int) -> Example:
    return Example(
        kind=KINDS[MISSED],
        image=int(truths.images[row]),
        label=None,
        score=None,
        box=None,
        truth_label=int(truths.labels[row]),
        truth_box=truths.boxes[row].tolist(),
    )
