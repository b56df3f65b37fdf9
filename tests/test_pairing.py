"""Which detections of two runtimes are the same, and how far an export may be from PyTorch."""

from typing import Any

import pytest
import torch

from ssd.export.comparing import Comparison, Limits, check
from ssd.export.pairing import Pairing, pair
from ssd.records import Detections

SIZE = torch.tensor([200, 100])  # width, height
BOXES = [[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]]


def found(*rows: tuple[list[float], float, int]) -> Detections:
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(
        torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), torch.tensor(labels).long()
    )


TWO = found((BOXES[0], 0.9, 1), (BOXES[1], 0.5, 2))


def paired(theirs: Detections, ours: Detections = TWO, most: int = 10) -> Pairing:
    return pair(ours, theirs, SIZE, score_threshold=0.01, most=most)


def test_what_is_equal_does_not_differ() -> None:
    assert paired(TWO) == Pairing(found=2, without_partner=0, score=0, box=0)


def test_differences_are_of_partners_in_whatever_order_and_in_pixels() -> None:
    moved = [0.1, 0.1, 0.31, 0.3]  # a hundredth of 200 pixels
    theirs = found((BOXES[1], 0.95, 2), (moved, 0.8, 1))
    assert paired(theirs) == Pairing(2, 0, pytest.approx(0.45), pytest.approx(2, abs=1e-4))


@pytest.mark.parametrize(
    ("box", "label"), [([0.5, 0.5, 0.7, 0.9], 2), (BOXES[1], 1)], ids=["elsewhere", "other class"]
)
def test_another_place_or_class_is_no_partner(box: list[float], label: int) -> None:
    assert paired(found((BOXES[0], 0.9, 1), (box, 0.5, label))).without_partner == 2


def test_of_several_in_one_place_the_one_with_its_score_is_the_partner() -> None:
    ours = found((BOXES[0], 0.9, 1), (BOXES[0], 0.6, 1))
    theirs = found((BOXES[0], 0.61, 1), (BOXES[0], 0.91, 1))
    assert paired(theirs, ours).score == pytest.approx(0.01, abs=1e-6)


def test_none_is_missed_that_the_other_may_leave_out() -> None:
    barely = found((BOXES[0], 0.9, 1), (BOXES[1], 0.0105, 2))
    assert paired(found((BOXES[0], 0.9, 1)), barely).without_partner == 0
    full = found((BOXES[0], 0.9, 1), ([0.6, 0.1, 0.8, 0.2], 0.5002, 1))
    assert paired(full, most=2).without_partner == 0
    assert paired(full, most=3).without_partner == 2


@pytest.mark.parametrize("theirs", [found(), TWO])
def test_a_picture_without_detections_is_compared_too(theirs: Detections) -> None:
    assert paired(theirs, ours=found()).without_partner == len(theirs.scores)


def compared(**changes: Any) -> Comparison:
    return (
        Comparison(
            pictures=4,
            detections=100,
            without_partner=0,
            max_score_difference=0.0,
            max_box_difference=0.0,
            map={"pytorch": 0.5, "exported": 0.5},
            map_50=None,
            images_per_second={"pytorch": 1.0, "exported": 1.0},
            images_at_once=1,
            threads=1,
        )
        | changes
    )


LIMITS = Limits(score=1e-3, box=0.5, without_partner=0.01, map_drop=0.02)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"max_score_difference": 0.002}, "max_score_difference"),
        ({"max_box_difference": 0.6}, "max_box_difference"),
        ({"without_partner": 2}, "max_without_partner"),
        ({"map": {"pytorch": 0.5, "exported": 0.47}}, "max_map_drop"),
    ],
)
def test_too_far_is_an_error_that_names_the_limit(changes: dict, key: str) -> None:
    with pytest.raises(ValueError, match=key):
        check(compared(**changes), LIMITS)


def test_what_is_near_enough_or_better_passes() -> None:
    check(compared(map={"pytorch": 0.5, "exported": 0.9}, without_partner=1), LIMITS)
    check(compared(map=None), LIMITS)


def test_a_comparison_of_nothing_proves_nothing() -> None:
    with pytest.raises(ValueError, match="nothing was compared"):
        check(compared(detections=0), LIMITS)
