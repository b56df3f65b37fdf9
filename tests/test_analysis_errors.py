import math

import pytest
import torch
from references.tide import tide
from splits import ELSEWHERE, SQUARE, Box, detections, random_split, truths

from ssd.analysis.errors import KINDS, LEFT_OUT, RIGHT, Errors, error_costs, find_errors
from ssd.ops.precision import DetectionColumns, TruthColumns

HALF: Box = (0, 0, 10, 4)  # IoU .4 with SQUARE
MOST: Box = (0, 0, 10, 8)  # IoU .8
TOUCHING: Box = (0, 0, 10, 1)  # IoU .1


def without_ties(found: DetectionColumns, seed: int) -> DetectionColumns:
    draw = torch.Generator().manual_seed(seed)
    places = torch.randperm(len(found.scores), generator=draw)
    return found._replace(scores=(places + 1) / len(places))


def names(errors: Errors) -> list[str | None]:
    return [{RIGHT: None, LEFT_OUT: "out"}.get(kind, KINDS[kind]) for kind in errors.kinds.tolist()]


def costs_of(true: TruthColumns, found: DetectionColumns) -> dict[str, float]:
    result = error_costs(true, found, find_errors(true, found))
    return {kind["kind"]: kind["cost"] for kind in result["kinds"]} | {
        key: result[key] for key in ("false_positives", "false_negatives")
    }


@pytest.mark.parametrize(
    ("label", "box", "kind", "about"),
    [
        (1, MOST, None, 0),
        (1, HALF, "location", 0),
        (1, TOUCHING, "location", 0),  # the background ends at .1, and .1 is no background
        (2, MOST, "class", 0),
        (2, HALF, "both", 0),
        (2, TOUCHING, "background", -1),
        (1, ELSEWHERE, "background", -1),
    ],
)
def test_one_detection_beside_one_truth_has_the_papers_kind(
    label: int, box: Box, kind: str | None, about: int
) -> None:
    errors = find_errors(truths((0, 1, SQUARE, False)), detections((0, label, 0.9, box)))
    assert names(errors) == [kind]
    assert errors.truths.tolist() == [about]


def test_a_second_detection_is_a_duplicate_of_the_truth_that_the_better_one_found() -> None:
    found = detections((0, 1, 0.6, SQUARE), (0, 1, 0.9, MOST))
    errors = find_errors(truths((0, 1, SQUARE, False)), found)
    assert names(errors) == ["duplicate", None]
    assert errors.truths.tolist() == [0, 0]


def test_a_truth_is_missed_only_where_no_error_is_about_it() -> None:
    true = truths(*[(image, 1, SQUARE, False) for image in range(4)], (4, 1, SQUARE, True))
    found = detections((0, 1, 0.9, SQUARE), (1, 1, 0.9, HALF), (2, 2, 0.9, SQUARE))
    errors = find_errors(true, found)
    assert errors.found.tolist() == [True, False, False, False, False]
    assert errors.missed.tolist() == [False, False, False, True, False]


def test_a_detection_in_a_difficult_truth_of_its_class_is_ignored_and_costs_nothing() -> None:
    true = truths((0, 1, SQUARE, True), (1, 1, SQUARE, False))
    found = detections((0, 1, 0.9, TOUCHING), (0, 2, 0.8, TOUCHING), (1, 1, 0.7, SQUARE))
    errors = find_errors(true, found)
    assert names(errors) == ["background", "background", None]
    assert errors.ignored.tolist() == [True, False, False]
    result = error_costs(true, found, errors)
    background = result["kinds"][KINDS.index("background")]
    assert (background["count"], background["ignored"]) == (2, 1)


def test_only_the_best_hundred_of_an_image_are_looked_at() -> None:
    rows = [(0, 1 + row % 2, row / 200, ELSEWHERE) for row in range(120)]
    errors = find_errors(truths((0, 1, SQUARE, False)), detections(*rows))
    assert names(errors) == ["out"] * 20 + ["background"] * 100


def test_what_a_kind_costs_is_the_rise_of_the_mean_average_precision() -> None:
    # Two truths. Found: the first; before it one in the background. AP: precision 1/2 up to recall
    # 1/2, that is at 51 of 101 points. Without the background error the precision is 1.
    true = truths((0, 1, SQUARE, False), (1, 1, SQUARE, False))
    found = detections((0, 1, 0.9, ELSEWHERE), (0, 1, 0.8, SQUARE))
    costs = costs_of(true, found)
    assert costs == pytest.approx(
        dict.fromkeys(("class", "location", "both", "duplicate"), 0)
        | {"background": 51 / 202, "false_positives": 51 / 202}
        | {"missed": 50 / 202, "false_negatives": 50 / 202}
    )


def test_a_class_error_mended_gives_its_truth_to_the_right_class() -> None:
    # Before: class 1 has AP 0, and 2, which has no truth, 0 too. After: 1 alone is left, with AP 1.
    true, found = truths((0, 1, SQUARE, False)), detections((0, 2, 0.9, SQUARE))
    assert costs_of(true, found)["class"] == 1


def test_of_the_errors_about_one_truth_only_the_best_scored_becomes_right() -> None:
    # The class error is better: to mend the box of the other one leaves the truth unfound.
    true = truths((0, 1, SQUARE, False), (1, 2, SQUARE, False))
    found = detections((0, 1, 0.5, HALF), (0, 2, 0.9, SQUARE), (1, 2, 0.8, SQUARE))
    costs = costs_of(true, found)
    assert costs["location"] == 0
    assert costs["class"] == pytest.approx((1 + 1) / 2 - (0 + 1 / 2) / 2)


def test_what_is_mended_has_the_wrong_first_where_scores_are_equal() -> None:
    # As it is the right one comes first, by its image, and AP is 1. tidecv counts its costs from
    # there, but ranks anew once it mends: then the precision is 1/2.
    true = truths((0, 1, SQUARE, False))
    found = detections((0, 1, 0.5, SQUARE), (1, 1, 0.5, SQUARE))
    costs = costs_of(true, found)
    assert costs["false_negatives"] == pytest.approx(1 / 2 - 1)
    assert costs["background"] == costs["location"] == 0


@pytest.mark.parametrize("seed", range(8))
def test_random_splits_have_the_errors_and_costs_of_the_papers_loop(seed: int) -> None:
    true, found = random_split(seed)
    found = without_ties(found, seed)
    errors, expected = find_errors(true, found), tide(true, found)
    assert names(errors) == expected["kinds"]
    assert [None if row < 0 else row for row in errors.truths.tolist()] == expected["about"]
    assert errors.ignored.tolist() == expected["ignored"]
    assert errors.missed.nonzero().squeeze(1).tolist() == expected["missed"]
    assert error_costs(true, found, errors)["ap_50"] == pytest.approx(expected["ap"], abs=1e-12)
    assert costs_of(true, found) == pytest.approx(expected["costs"], abs=1e-12)


def test_the_order_of_images_changes_nothing() -> None:
    true, found = random_split(seed=5)
    one_by_one = torch.argsort(found.images, stable=True)
    backwards = torch.argsort(-found.images, stable=True)
    sorted_, reversed_ = (
        costs_of(true, DetectionColumns(*(column[order] for column in found)))
        for order in (one_by_one, backwards)
    )
    assert sorted_ == reversed_


def test_nothing_there_and_nothing_found_are_no_error() -> None:
    nothing = costs_of(truths(), detections())
    assert all(math.isnan(cost) for cost in nothing.values())
    found = detections((0, 1, 0.9, SQUARE))
    assert error_costs(truths(), found, find_errors(truths(), found))["ap_50"] == 0
    # With all that was missed out of the way no class is left to take a mean of.
    unseen = costs_of(truths((0, 1, SQUARE, False)), detections())
    assert math.isnan(unseen["missed"])
    assert unseen["background"] == unseen["false_positives"] == 0
