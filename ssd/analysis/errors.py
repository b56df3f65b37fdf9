"""The errors of a detector by kind, and what each kind costs, as TIDE has them.

Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020; equal to
the authors' package tidecv 1.0.1, also where the paper is silent.
"""

from typing import NamedTuple, TypedDict

from torch import Tensor

from ssd.ops.precision import DetectionColumns, TruthColumns

FOREGROUND_IOU = 0.5  # from here on a detection is of this object
BACKGROUND_IOU = 0.1  # up to here it is of none
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
    ignored: int  # how many of them do not count against the detector as they are
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
    location: IoU from .1 to .5 with a truth of its class
    both: IoU from .1 to .5 with a truth of another class
    duplicate: IoU >= .5 with a truth of its class that a better score has found
    background: IoU <= .1 with every truth
    missed: a truth not found that no class or location error is about

    By falling score each detection finds the free truth of its class that it overlaps most. Of
    an error that could be of two kinds the first in the order location, class, duplicate is taken.
    Difficult truths are TIDE's ignored regions: nobody needs to find them, no error is about them,
    and a detection that is not right with more than half of its area inside one of its class
    does not count. It still has a kind, as in tidecv, and `ignored` tells.
    """
    raise NotImplementedError


def error_costs(truths: TruthColumns, detections: DetectionColumns, errors: Errors) -> ErrorCosts:
    """What each kind of error costs: the mAP with only this kind mended, less the mAP as it is.

    class, location: the best scored such detection of each truth not found becomes right, the
        others go; both, duplicate, background: they go; missed: the truths need not be found

    mAP is the 101-point rule's, over the classes with a truth or a detection: a class of which
    there is no truth but a detection has 0, as in tidecv, where our other numbers leave it out.
    """
    raise NotImplementedError
