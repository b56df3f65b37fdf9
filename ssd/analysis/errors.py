"""The errors of a detector by kind, and what each kind costs, as TIDE has them.

Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020; equal to
the authors' package tidecv 1.0.1, also where the paper is silent.
"""

from typing import NamedTuple, TypedDict

import numpy as np
import torch
from torch import Tensor

from ssd.analysis.finding import choosing_order, find_truths, inside_difficult, places_within
from ssd.analysis.overlaps import Pairs, firsts
from ssd.ops.precision import Curve, DetectionColumns, TruthColumns, sampled_precision

FOREGROUND_IOU = 0.5  # from here on a detection is of this object
BACKGROUND_IOU = 0.1  # up to here it is of none
RECALLS = torch.arange(101).double() / 100  # tidecv's; COCO's and ours are i * 0.01
DETECTIONS = 100  # of an image, the best ones over all classes; the others are left out

KINDS = ("class", "location", "both", "duplicate", "background", "missed")
CLASS, LOCATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(len(KINDS))
RIGHT = -1  # no error
LEFT_OUT = -2  # not among the best 100 of its image


class Errors(NamedTuple):
    """What is wrong with each detection, and which truths nobody found."""

    kinds: Tensor  # (N,) int64: an index of KINDS, RIGHT or LEFT_OUT
    truths: Tensor  # (N,) int64: row of the truth that it found, or is an error about; -1 for none
    ignored: Tensor  # (N,) bool: not right, but mostly inside a difficult truth of its class
    found: Tensor  # (G,) bool: some detection is right about it
    missed: Tensor  # (G,) bool: not found, and no class or location error is about it


class ErrorKind(TypedDict):
    """One kind of error over a split."""

    kind: str  # of KINDS
    count: int  # detections; truths where the kind is "missed"
    ignored: int  # those among them that do not count as wrong, see `Errors.ignored`
    cost: float  # by how much the mAP would rise if only this kind were mended, as a fraction


class ErrorCosts(TypedDict):
    """All kinds of error over a split, and what they cost. APs are fractions at IoU .5."""

    ap_50: float  # the mAP that the costs are counted from, by TIDE's rule; nan where nothing is
    kinds: list[ErrorKind]  # in the order of KINDS
    false_positives: float  # the cost of all wrong detections: every one of them put last
    false_negatives: float  # the cost of all truths not found: none of them counted


def find_errors(truths: TruthColumns, detections: DetectionColumns) -> Errors:
    """The kind of error of each detection, and the truth that it is about.

    class: IoU >= .5 with a truth of another class
    location: IoU from .1 to .5 with the truth of its class that it overlaps most
    both: IoU from .1 to .5 with truths of other classes alone
    duplicate: IoU >= .5 with a truth of its class that a better score has found
    background: IoU <= .1 with every truth
    missed: a truth not found that no class or location error is about

    By falling score each detection finds the free truth of its class that it overlaps most. An
    error that could be of two kinds is of the first in the order location, class, duplicate.
    Difficult truths are TIDE's ignored regions: nobody needs to find them, no error is about them,
    and a detection that is not right with more than half of its area inside one of its class
    does not count. It still has a kind, as in tidecv, and `ignored` tells.
    """
    order = choosing_order(detections)
    order = order[places_within(detections.images[order]) < DETECTIONS]
    ranked = DetectionColumns(*(column[order] for column in detections))
    pairs, found = find_truths(truths, ranked, BACKGROUND_IOU, FOREGROUND_IOU)
    ignored = inside_difficult(truths, ranked, FOREGROUND_IOU)
    kinds, about = _kinds(ranked, truths.labels, pairs, found)
    ignored &= kinds != RIGHT

    touched = torch.zeros_like(truths.difficult)
    touched[about[(kinds == CLASS) | (kinds == LOCATION)]] = True
    right = torch.zeros_like(truths.difficult)
    right[pairs.truths[found]] = True
    return Errors(
        kinds=_scattered(kinds, order, len(detections.labels), LEFT_OUT),
        truths=_scattered(about, order, len(detections.labels), -1),
        ignored=_scattered(ignored, order, len(detections.labels), False),
        found=right,
        missed=~(right | touched | truths.difficult),
    )


def error_costs(truths: TruthColumns, detections: DetectionColumns, errors: Errors) -> ErrorCosts:
    """What each kind of error costs: the mAP with only this kind mended, less the mAP as it is.

    class, location: of the detections with either error about a truth that is not found, the one
        with the best score becomes right if its error is of this kind; the others of the kind go
    both, duplicate, background: the detections go
    missed: the truths need not be found

    mAP is the 101-point rule's, over the classes with a truth or a detection: a class of which
    there is no truth but a detection has 0, as in tidecv, where our other numbers leave it out.
    Without any class a mAP is nan, and so is a cost for which mending leaves none.
    """
    points = _points(detections, errors)
    num_truths = _by_class(truths.labels[~truths.difficult], truths, detections)
    now = _mean_precision(points, num_truths)
    # Where scores are equal, tidecv has the wrong ones first as soon as it mends something.
    points = _wrong_first(points)

    def gain(changed: _Points, found_by_nobody: Tensor) -> float:
        fewer = _by_class(truths.labels[found_by_nobody], truths, detections)
        return _mean_precision(changed, num_truths - fewer) - now

    nobody = torch.zeros_like(errors.found)
    mended = [_mended(points, kind, truths.labels, errors.found) for kind in range(MISSED)]
    gains = [*(gain(changed, nobody) for changed in mended), gain(points, errors.missed)]
    counts = torch.bincount(errors.kinds[errors.kinds >= 0], minlength=len(KINDS))
    counts[MISSED] = errors.missed.sum()
    ignored = torch.bincount(errors.kinds[errors.ignored], minlength=len(KINDS))
    rows = zip(KINDS, counts.tolist(), ignored.tolist(), gains, strict=True)
    wrong_last = _wrong_first(points._replace(scores=points.right.double()))
    return ErrorCosts(
        ap_50=now,
        kinds=[
            ErrorKind(kind=kind, count=count, ignored=spared, cost=float(np.maximum(cost, 0)))
            for kind, count, spared, cost in rows
        ],
        false_positives=gain(wrong_last, nobody),
        false_negatives=gain(points, ~errors.found & ~truths.difficult),
    )


def _kinds(
    ranked: DetectionColumns, truth_labels: Tensor, pairs: Pairs, found: Tensor
) -> tuple[Tensor, Tensor]:
    """The kind (N,) of each detection and the truth (N,) that it found or is an error about."""
    kinds = torch.full_like(ranked.labels, BACKGROUND)
    about = torch.full_like(ranked.labels, -1)
    same = ranked.labels[pairs.detections] == truth_labels[pairs.truths]
    is_found = torch.zeros_like(truth_labels, dtype=torch.bool)
    is_found[pairs.truths[found]] = True
    near = pairs.overlaps >= FOREGROUND_IOU
    best = torch.zeros_like(same)
    own = same.nonzero().squeeze(1)
    best[own[firsts(pairs.detections[own])]] = True  # the truth of its class it overlaps most
    rules = (  # the later ones win
        (BOTH, pairs.overlaps > BACKGROUND_IOU),
        (DUPLICATE, same & near & is_found[pairs.truths]),
        (CLASS, ~same & near),
        (LOCATION, best & (pairs.overlaps <= FOREGROUND_IOU)),
        (RIGHT, found),
    )
    for kind, mask in rules:
        rows = mask.nonzero().squeeze(1)
        rows = rows[firsts(pairs.detections[rows])]
        kinds[pairs.detections[rows]] = kind
        about[pairs.detections[rows]] = pairs.truths[rows]
    return kinds, about


class _Points(NamedTuple):
    """What makes the precision-recall curves: n detections, best first."""

    labels: Tensor  # (n,) int64
    scores: Tensor  # (n,)
    right: Tensor  # (n,) bool
    there: Tensor  # (n,) bool: the others are left out
    kinds: Tensor  # (n,) int64, see `Errors`
    truths: Tensor  # (n,) int64, see `Errors`


def _points(detections: DetectionColumns, errors: Errors) -> _Points:
    """What counts as it is."""
    order = choosing_order(detections)
    order = order[errors.kinds[order] != LEFT_OUT]
    kinds = errors.kinds[order]
    return _Points(
        labels=detections.labels[order],
        scores=detections.scores[order],
        right=kinds == RIGHT,
        there=~errors.ignored[order],
        kinds=kinds,
        truths=errors.truths[order],
    )


def _wrong_first(points: _Points) -> _Points:
    """By falling score, among equal ones the wrong first, otherwise as they were."""
    order = torch.argsort(points.right, stable=True)
    order = order[torch.argsort(points.scores[order], descending=True, stable=True)]
    return _Points(*(column[order] for column in points))


def _mended(points: _Points, kind: int, truth_labels: Tensor, found: Tensor) -> _Points:
    """Without the errors of a kind that is one of detections. truth_labels, found: (G,)"""
    of_kind = points.kinds == kind
    becomes_right = of_kind & _best_about(points, found)
    labels = points.labels.clone()
    labels[becomes_right] = truth_labels[points.truths[becomes_right]]
    return points._replace(
        labels=labels,
        right=points.right | becomes_right,
        there=torch.where(of_kind, becomes_right, points.there),
    )


def _best_about(points: _Points, found: Tensor) -> Tensor:
    """The mask (n,) of the first detections with a class or location error about their truth, where
    nobody found it. found: (G,)"""
    could = ((points.kinds == CLASS) | (points.kinds == LOCATION)).nonzero().squeeze(1)
    could = could[~found[points.truths[could]]]
    could = could[torch.argsort(points.truths[could], stable=True)]
    best = torch.zeros_like(points.right)
    best[could[firsts(points.truths[could])]] = True
    return best


def _by_class(labels: Tensor, truths: TruthColumns, detections: DetectionColumns) -> Tensor:
    """How many there are of each label, with a place for every label of the split."""
    most = torch.cat([truths.labels, detections.labels, torch.zeros(1, dtype=torch.int64)]).max()
    return torch.bincount(labels, minlength=int(most) + 1)


def _mean_precision(points: _Points, num_truths: Tensor) -> float:
    """The mAP over the classes with a detection or a truth. num_truths: by label"""
    rows = points.there.nonzero().squeeze(1)
    rows = rows[torch.argsort(points.labels[rows], stable=True)]
    sizes = torch.bincount(points.labels[rows], minlength=len(num_truths)).tolist()
    rights, scores = (column[rows].split(sizes) for column in (points.right, points.scores))
    classes = zip(rights, scores, num_truths.tolist(), strict=True)
    values = [_class_precision(*each) for each in classes if len(each[0]) or each[2]]
    return float(np.mean(values)) if values else float("nan")


def _class_precision(right: Tensor, scores: Tensor, num_truths: int) -> float:
    if not num_truths:
        return 0.0
    num_right = right.double().cumsum(0)
    precision = num_right / torch.arange(1, len(right) + 1)
    return sampled_precision(Curve(num_right / num_truths, precision, scores, num_truths), RECALLS)


def _scattered(values: Tensor, rows: Tensor, length: int, other: int) -> Tensor:
    everywhere = torch.full((length,), other, dtype=values.dtype)
    everywhere[rows] = values
    return everywhere
