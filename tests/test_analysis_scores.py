"""Confusions, calibration, thresholds and examples."""

import json
import math

import pytest
import torch
from splits import ELSEWHERE, SQUARE, Box, detections, random_split, truths

from ssd.analysis.calibration import calibrate, calibration
from ssd.analysis.confusion import confusion_matrix
from ssd.analysis.errors import find_errors
from ssd.analysis.examples import Examples, worst_examples
from ssd.analysis.thresholds import best_thresholds
from ssd.ops.precision import DetectionColumns, TruthColumns, precision_recall

MOST: Box = (0, 0, 10, 8)  # IoU .8 with SQUARE
HALF: Box = (0, 0, 10, 4)  # IoU .4
AT_A_DISTANCE: Box = (20, 20, 40, 40)


def confusion(true: TruthColumns, found: DetectionColumns) -> list[list[int]]:
    return confusion_matrix(true, found, 3, score_threshold=0.3, iou_threshold=0.5).tolist()


def test_the_diagonal_is_right_and_the_borders_are_background() -> None:
    true = truths((0, 1, SQUARE, False), (1, 2, SQUARE, False), (2, 1, SQUARE, False))
    found = detections((0, 1, 0.9, MOST), (1, 1, 0.3, MOST), (2, 2, 0.9, HALF))
    assert confusion(true, found) == [[0, 0, 1], [1, 1, 0], [0, 1, 0]]


def test_detections_below_the_threshold_are_not_there() -> None:
    found = detections((0, 1, 0.29, SQUARE))
    assert confusion(truths((0, 1, SQUARE, False)), found) == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_an_object_that_was_named_rightly_is_not_confused_by_a_better_score() -> None:
    found = detections((0, 2, 0.9, SQUARE), (0, 1, 0.5, MOST))
    assert confusion(truths((0, 1, SQUARE, False)), found) == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_difficult_truths_and_what_lies_in_them_are_not_in_the_matrix() -> None:
    true = truths((0, 1, SQUARE, True), (0, 2, SQUARE, False))
    inside_its_class = detections((0, 1, 0.9, SQUARE))
    assert confusion(true, inside_its_class) == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_rows_are_all_truths_and_columns_all_detections() -> None:
    true, found = random_split(seed=4)
    true = true._replace(difficult=torch.zeros_like(true.difficult))
    matrix = confusion_matrix(true, found, 5, 0.5, 0.5)
    assert torch.equal(matrix.sum(1)[1:], true.labels.bincount(minlength=5)[1:])
    assert torch.equal(
        matrix.sum(0)[1:], found.labels[found.scores >= 0.5].bincount(minlength=5)[1:]
    )
    assert matrix.diag().sum() > 20
    assert (matrix[1:, 1:].sum() - matrix.diag().sum()) > 2


def test_a_confusion_matrix_of_nothing_is_zero() -> None:
    assert confusion(truths(), detections()) == [[0] * 3] * 3
    assert confusion_matrix(truths(), detections(), 1, 0.5, 0.5).tolist() == [[0]]


def test_bins_compare_the_mean_score_with_the_share_of_the_right() -> None:
    scores = torch.tensor([0.1, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    right = torch.tensor([False, True, False, True, True])
    result = calibrate(scores, right, num_bins=2)
    low, high = result["bins"]
    assert low == pytest.approx(
        {"low": 0, "high": 0.5, "count": 2, "mean_score": 0.15, "precision": 0.5}
    )
    assert high == pytest.approx(
        {"low": 0.5, "high": 1, "count": 3, "mean_score": 0.8, "precision": 2 / 3}
    )
    assert result["expected_error"] == pytest.approx((2 * 0.35 + 3 * (0.8 - 2 / 3)) / 5)


def test_a_score_on_an_edge_is_in_the_bin_that_begins_there() -> None:
    edges = torch.arange(101).double() / 100
    counts = [each["count"] for each in calibrate(edges, edges > 2, num_bins=100)["bins"]]
    assert counts == [1] * 99 + [2]


def test_scores_that_are_honest_have_no_calibration_error() -> None:
    draw = torch.Generator().manual_seed(0)
    scores = torch.rand(100_000, generator=draw)
    honest = torch.rand(100_000, generator=draw) < scores
    assert calibrate(scores, honest, num_bins=10)["expected_error"] < 0.01
    assert calibrate(scores, ~honest, num_bins=10)["expected_error"] > 0.4


def test_a_duplicate_is_wrong_and_a_detection_of_a_difficult_truth_not_counted() -> None:
    true = truths((0, 1, SQUARE, False), (1, 2, SQUARE, True))
    found = detections((0, 1, 0.9, SQUARE), (0, 1, 0.9, MOST), (1, 2, 0.9, SQUARE))
    whole, (first, second) = calibration(true, found, 3, iou_threshold=0.5, num_bins=1)
    assert (whole["count"], first["count"], second["count"]) == (2, 2, 0)
    assert first["bins"][0]["precision"] == 0.5
    assert math.isnan(second["expected_error"])
    assert math.isnan(second["bins"][0]["mean_score"])


def test_the_best_threshold_has_the_greatest_f1() -> None:
    # By falling score: right, right, wrong, right of 4 truths. F1 2/5, 4/6, 4/7, 6/8.
    true = truths(*[(image, 1, SQUARE, False) for image in range(4)])
    places = [(0, SQUARE), (1, SQUARE), (2, ELSEWHERE), (3, SQUARE)]
    found = detections(*[(image, 1, 0.9 - i / 10, box) for i, (image, box) in enumerate(places)])
    (best,) = best_thresholds(precision_recall(true, found, 2, 0.5))
    assert best == pytest.approx({"threshold": 0.3, "precision": 0.75, "recall": 0.75, "f1": 0.75})


def test_equal_scores_are_kept_together() -> None:
    # The right one comes first, but at its score there are three wrong ones, too.
    true = truths((0, 1, SQUARE, False))
    found = detections((0, 1, 0.5, SQUARE), *[(1, 1, 0.5, SQUARE)] * 3)
    (best,) = best_thresholds(precision_recall(true, found, 2, 0.5))
    assert best == pytest.approx({"threshold": 0.25, "precision": 1 / 4, "recall": 1, "f1": 2 / 5})


def test_of_thresholds_that_do_equally_well_the_highest_is_the_best() -> None:
    # F1 2/3 with one right; 4/6 with two right of four.
    true = truths((0, 1, SQUARE, False), (1, 1, SQUARE, False))
    rows = [(0, 0.9, SQUARE), (2, 0.8, SQUARE), (2, 0.7, SQUARE), (1, 0.6, SQUARE)]
    found = detections(*[(image, 1, score, box) for image, score, box in rows])
    (best,) = best_thresholds(precision_recall(true, found, 2, 0.5))
    assert (best["threshold"], best["f1"]) == pytest.approx((0.85, 2 / 3))


def test_without_truths_or_anything_right_there_is_no_best_threshold() -> None:
    # Class 1 has no truths, 2 no detections, 3 nothing right.
    true = truths((0, 2, SQUARE, False), (0, 3, SQUARE, False))
    found = detections((0, 1, 0.9, SQUARE), (0, 3, 0.9, ELSEWHERE))
    points = best_thresholds(precision_recall(true, found, 4, 0.5))
    assert all(math.isnan(value) for value in points[0].values())
    for point in points[1:]:
        assert math.isnan(point["threshold"])
        assert (point["recall"], point["f1"]) == (0, 0)


def examples(true: TruthColumns, found: DetectionColumns, limit: int = 12) -> Examples:
    return worst_examples(true, found, find_errors(true, found), limit)


def test_the_worst_errors_are_those_of_the_highest_scores() -> None:
    true = truths((0, 1, SQUARE, False), (1, 1, SQUARE, False))
    found = detections(
        (0, 1, 0.6, ELSEWHERE), (0, 2, 0.5, SQUARE), (1, 1, 0.9, HALF), (1, 1, 0.8, SQUARE)
    )
    worst = examples(true, found)
    first, second = worst["false_positives"]
    assert first == {
        "kind": "location",
        "image": 1,
        "label": 1,
        "score": 0.9,
        "box": [*HALF],
        "truth_label": 1,
        "truth_box": [*SQUARE],
    }
    assert (second["kind"], second["score"], second["truth_box"]) == ("background", 0.6, None)
    (confused,) = worst["confusions"]
    assert (confused["label"], confused["truth_label"], confused["image"]) == (2, 1, 0)
    assert json.loads(json.dumps(worst)) == worst
    assert [len(rows) for rows in examples(true, found, limit=1).values()] == [1, 1, 1]


def test_the_missed_begin_with_the_largest_that_nothing_touches() -> None:
    small, large = ELSEWHERE, AT_A_DISTANCE
    true = truths(
        (0, 1, SQUARE, False),
        (0, 1, small, False),
        (0, 1, large, False),
        (1, 1, SQUARE, False),
        (1, 1, large, True),
    )
    found = detections((0, 2, 0.4, HALF), (1, 1, 0.2, HALF))
    missed = examples(true, found)["missed"]
    assert [(each["image"], tuple(each["truth_box"])) for each in missed] == [
        (0, large),
        (0, small),
        (1, SQUARE),
        (0, SQUARE),
    ]


def test_what_lies_in_a_difficult_truth_is_no_example() -> None:
    true = truths((0, 1, SQUARE, True))
    worst = examples(true, detections((0, 1, 0.9, HALF)))
    assert worst == {"false_positives": [], "missed": [], "confusions": []}
