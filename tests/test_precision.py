import contextlib
import io
import math

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from splits import ELSEWHERE, SQUARE, detections, random_split, truths

from ssd.ops.precision import (
    Curve,
    DetectionColumns,
    TruthColumns,
    average_precision,
    precision_recall,
)


def curve(true: TruthColumns, found: DetectionColumns) -> Curve:
    """Of a single class, at VOC's threshold."""
    (only,) = precision_recall(true, found, num_classes=2, iou_threshold=0.5)
    return only


def scores_of(curves: list[Curve]) -> list[float]:
    return [*average_precision(curves, "11-point"), *average_precision(curves, "area")]


def test_a_worked_example_has_the_average_precision_of_pencil_and_paper() -> None:
    # Four truths in four images; by falling score: right, wrong, right, wrong, right.
    true = truths(*[(image, 1, SQUARE, False) for image in range(4)])
    places = [(0, SQUARE), (0, ELSEWHERE), (1, SQUARE), (1, ELSEWHERE), (2, SQUARE)]
    found = detections(*[(image, 1, 0.9 - i / 10, box) for i, (image, box) in enumerate(places)])
    result = curve(true, found)
    assert result.recall.tolist() == [1 / 4, 1 / 4, 2 / 4, 2 / 4, 3 / 4]
    assert result.precision.tolist() == [1, 1 / 2, 2 / 3, 2 / 4, 3 / 5]
    # 11-point: 1 at 0, .1, .2; 2/3 at .3, .4, .5; 3/5 at .6, .7; 0 at .8, .9, 1.
    assert average_precision([result], "11-point").item() == pytest.approx((3 + 2 + 1.2) / 11)
    # Area: a quarter of the recall each at 1, 2/3 and 3/5, nothing for the last quarter.
    assert average_precision([result], "area").item() == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    # 101-point: 26 recalls at 1 (0 to .25), 25 at 2/3 (.26 to .5), 25 at 3/5 (.51 to .75).
    expected = (26 + 25 * 2 / 3 + 25 * 3 / 5) / 101
    assert average_precision([result], "101-point").item() == pytest.approx(expected)


def test_precision_may_rise_again_and_the_envelope_fills_the_dip() -> None:
    # Wrong, then two right: precision 0, 1/2, 2/3. The best at any recall is 2/3.
    true = truths((0, 1, SQUARE, False), (1, 1, SQUARE, False))
    found = detections((0, 1, 0.9, ELSEWHERE), (0, 1, 0.8, SQUARE), (1, 1, 0.7, SQUARE))
    assert scores_of([curve(true, found)]) == pytest.approx([2 / 3, 2 / 3])


def test_a_second_detection_of_a_truth_is_wrong() -> None:
    true = truths((0, 1, SQUARE, False))
    found = detections((0, 1, 0.9, SQUARE), (0, 1, 0.8, SQUARE))
    assert curve(true, found).precision.tolist() == [1, 1 / 2]


def test_the_detection_with_the_better_score_claims_even_where_it_fits_worse() -> None:
    true = truths((0, 1, SQUARE, False))
    found = detections((0, 1, 0.5, SQUARE), (0, 1, 0.6, (0, 0, 10, 8)))
    result = curve(true, found)
    assert result.scores.tolist() == [0.6, 0.5]
    assert result.precision.tolist() == [1, 1 / 2]


def test_a_duplicate_is_not_saved_by_a_free_truth_that_it_overlaps_less() -> None:
    # The second detection has IoU 9/11 with the claimed truth and 8/12 with the free one.
    true = truths((0, 1, (0, 0, 10, 10), False), (0, 1, (3, 0, 13, 10), False))
    found = detections((0, 1, 0.9, (0, 0, 10, 10)), (0, 1, 0.8, (1, 0, 11, 10)))
    assert curve(true, found).precision.tolist() == [1, 1 / 2]


def test_of_two_truths_that_fit_equally_the_first_is_taken() -> None:
    # IoU with either is 8/12. A difficult first choice leaves the easy truth unfound.
    left, middle, right = (0, 0, 10, 10), (2, 0, 12, 10), (4, 0, 14, 10)
    found = detections((0, 1, 0.9, middle))
    first_is_easy = truths((0, 1, left, False), (0, 1, right, True))
    first_is_difficult = truths((0, 1, right, True), (0, 1, left, False))
    assert curve(first_is_easy, found).recall.tolist() == [1]
    assert curve(first_is_difficult, found).recall.tolist() == [0]


def test_an_overlap_of_exactly_one_half_is_enough() -> None:
    true = truths((0, 1, SQUARE, False), (1, 1, SQUARE, False))
    found = detections((0, 1, 0.9, (0, 0, 10, 5)), (1, 1, 0.8, (0, 0, 10, 4.999)))
    assert curve(true, found).recall.tolist() == [1 / 2, 1 / 2]


def test_a_difficult_truth_is_not_counted_and_its_detections_are_neither_right_nor_wrong() -> None:
    true = truths((0, 1, SQUARE, True), (0, 1, ELSEWHERE, False))
    found = detections((0, 1, 0.9, SQUARE), (0, 1, 0.8, SQUARE), (0, 1, 0.7, ELSEWHERE))
    result = curve(true, found)
    assert result.num_truths == 1
    assert result.recall.tolist() == [0, 0, 1]
    assert result.precision.tolist() == [0, 0, 1]
    assert scores_of([result]) == [1, 1]


def test_a_detection_of_another_class_or_in_another_image_is_wrong() -> None:
    true = truths((0, 1, SQUARE, False), (1, 2, SQUARE, False))
    found = detections((1, 1, 0.9, SQUARE), (0, 2, 0.9, SQUARE), (7, 2, 0.9, SQUARE))
    assert scores_of(precision_recall(true, found, 3, 0.5)) == [0, 0, 0, 0]


def test_a_class_without_truths_is_nan_and_one_without_detections_is_zero() -> None:
    # Class 1 is found, 2 has no truths, 3 only a difficult one, 4 no detections.
    true = truths((0, 1, SQUARE, False), (0, 3, SQUARE, True), (0, 4, SQUARE, False))
    found = detections((0, 1, 0.9, SQUARE), (0, 2, 0.9, SQUARE), (0, 3, 0.9, SQUARE))
    curves = precision_recall(true, found, num_classes=5, iou_threshold=0.5)
    for rule in ("11-point", "area", "101-point"):
        values = average_precision(curves, rule)
        assert values.tolist() == pytest.approx([1, math.nan, math.nan, 0], nan_ok=True)
        assert values.nanmean() == 0.5


def test_nothing_found_and_nothing_there_are_no_error() -> None:
    there = precision_recall(truths((0, 1, SQUARE, False)), detections(), 2, 0.5)
    assert scores_of(there) == [0, 0]
    nowhere = precision_recall(truths(), detections((0, 1, 0.9, SQUARE)), 2, 0.5)
    assert all(math.isnan(value) for value in scores_of(nowhere))


def test_a_recall_of_exactly_three_tenths_misses_the_fourth_point() -> None:
    # 3 of 10 truths found, nothing wrong. The point is 3 * 0.1 = 0.30000000000000004 > 0.3,
    # so precision 1 counts at 0, 0.1, 0.2 only.
    true = truths(*[(image, 1, SQUARE, False) for image in range(10)])
    found = detections(*[(image, 1, 0.9, SQUARE) for image in range(3)])
    result = curve(true, found)
    assert result.recall[-1].item() == 0.3
    assert average_precision([result], "11-point").item() == pytest.approx(3 / 11)
    assert average_precision([result], "area").item() == pytest.approx(0.3)


def test_equal_scores_rank_by_image_and_then_by_place_within_it() -> None:
    true = truths((0, 1, SQUARE, False), (1, 1, SQUARE, False))
    places = [(0, SQUARE), (0, ELSEWHERE), (1, ELSEWHERE), (1, SQUARE)]
    found = detections(*[(image, 1, 0.5, box) for image, box in places])
    later_image_first = DetectionColumns(*(column[[2, 3, 0, 1]] for column in found))
    for order in (found, later_image_first):
        assert curve(true, order).precision.tolist() == [1, 1 / 2, 1 / 3, 2 / 4]


def test_the_devkits_inclusive_boxes_give_the_same_curves_as_half_open_ones() -> None:
    true, found = random_split(seed=3)
    shift = torch.tensor([1.0, 1.0, 0.0, 0.0])  # 0-based half-open to 1-based inclusive
    devkit = [rows._replace(boxes=rows.boxes + shift) for rows in (true, found)]
    ours = precision_recall(true, found, 5, 0.5)
    theirs = precision_recall(*devkit, 5, 0.5, inclusive=True)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.recall, b.recall)
        assert torch.equal(a.precision, b.precision)


def test_the_inclusive_rule_counts_the_last_pixel() -> None:
    # Pixels 1..10 against 1..5 are 10 and 5 pixels: IoU 1/2. The plain difference gives 4/9.
    true = truths((0, 1, (1, 1, 10, 10), False))
    found = detections((0, 1, 0.9, (1, 1, 10, 5)))
    for inclusive, recall in ((True, 1), (False, 0)):
        (result,) = precision_recall(true, found, 2, 0.5, inclusive)
        assert result.recall.tolist() == [recall]


@pytest.mark.parametrize("seed", range(20))
def test_random_splits_score_as_by_the_devkits_loop(seed: int) -> None:
    true, found = random_split(seed)
    curves = precision_recall(true, found, num_classes=5, iou_threshold=0.5)
    for label, result in enumerate(curves, start=1):
        recall, precision = devkit_curve(true, found, label)
        assert result.recall.tolist() == pytest.approx(recall, abs=1e-12)
        assert result.precision.tolist() == pytest.approx(precision, abs=1e-12)
        expected = [devkit_11_point(recall, precision), devkit_area(recall, precision)]
        assert scores_of([result]) == pytest.approx(expected, abs=1e-12)


def test_the_order_of_images_changes_nothing() -> None:
    true, found = random_split(seed=2)
    one_by_one = torch.argsort(found.images, stable=True)
    backwards = torch.argsort(-found.images, stable=True)
    sorted_, reversed_ = (
        precision_recall(true, DetectionColumns(*(column[order] for column in found)), 5, 0.5)
        for order in (one_by_one, backwards)
    )
    for ours, theirs in zip(sorted_, reversed_, strict=True):
        assert torch.equal(ours.precision, theirs.precision)
        assert torch.equal(ours.recall, theirs.recall)


def test_boxes_without_area_are_wrong_and_no_error() -> None:
    nothing = (5, 5, 5, 5)
    true = truths((0, 1, nothing, False), (1, 1, SQUARE, False))
    found = detections((0, 1, 0.9, nothing), (1, 1, 0.8, SQUARE))
    assert curve(true, found).precision.tolist() == [0, 1 / 2]


def test_joining_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    true, found = random_split(seed=1)
    whole = scores_of(precision_recall(true, found, 5, 0.5))
    monkeypatch.setattr("ssd.ops.precision.BLOCK", 7)
    assert scores_of(precision_recall(true, found, 5, 0.5)) == whole


@pytest.mark.parametrize("seed", range(3))
def test_101_points_score_as_pycocotools_where_truths_of_a_class_lie_apart(seed: int) -> None:
    # Apart, the best truth is the only one within reach, so that COCO's rule, which moves on to the
    # next free truth, is VOC's.
    true, found = split_with_truths_apart(seed)
    ours = average_precision(precision_recall(true, found, 4, 0.5), "101-point")
    assert ours.tolist() == pytest.approx(coco_ap_50(true, found), abs=1e-9)


def split_with_truths_apart(seed: int) -> tuple[TruthColumns, DetectionColumns]:
    """50 images of a 3 x 3 grid of truths, cells 100 pixels apart, and up to 100 detections."""
    draw = torch.Generator().manual_seed(seed)
    cells = torch.cartesian_prod(torch.arange(50), torch.arange(3), torch.arange(3))
    lower = cells[:, 1:].double() * 100
    sizes = 40 + 40 * torch.rand(len(cells), 2, generator=draw, dtype=torch.float64)
    labels = torch.randint(1, 4, (len(cells),), generator=draw)
    easy = torch.zeros(len(cells), dtype=torch.bool)
    true = TruthColumns(cells[:, 0], labels, torch.cat([lower, lower + sizes], dim=1), easy)
    near = torch.randint(len(cells), (3000,), generator=draw)
    noise = 5 * torch.randn(3000, 4, generator=draw, dtype=torch.float64)
    scores = torch.randint(1, 500, (3000,), generator=draw) / 500
    return true, DetectionColumns(
        true.images[near], true.labels[near], scores, true.boxes[near] + noise
    )


def devkit_curve(
    true: TruthColumns, found: DetectionColumns, label: int
) -> tuple[list[float], list[float]]:
    """VOCevaldet.m, a detection at a time."""
    truth_rows = [
        (image, box, difficult)
        for image, its_label, box, difficult in zip(*(c.tolist() for c in true), strict=True)
        if its_label == label
    ]
    rows = [
        (-score, image, place, box)
        for place, (image, its_label, score, box) in enumerate(
            zip(*(c.tolist() for c in found), strict=True)
        )
        if its_label == label
    ]
    num_truths = sum(not difficult for _, _, difficult in truth_rows)
    claimed: set[int] = set()
    right = wrong = 0
    recall, precision = [], []
    for _, image, _, box in sorted(rows):
        most, best = -math.inf, -1
        for j, (its_image, other, _) in enumerate(truth_rows):
            width = min(box[2], other[2]) - max(box[0], other[0])
            height = min(box[3], other[3]) - max(box[1], other[1])
            if its_image == image and width > 0 and height > 0:
                areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
                overlap = width * height / (sum(areas) - width * height)
                if overlap > most:
                    most, best = overlap, j
        if most < 0.5 or (not truth_rows[best][2] and best in claimed):
            wrong += 1
        elif not truth_rows[best][2]:
            right += 1
            claimed.add(best)
        recall.append(right / num_truths if num_truths else math.nan)
        precision.append(right / max(right + wrong, 1))
    return recall, precision


def devkit_11_point(recall: list[float], precision: list[float]) -> float:
    total = 0.0
    for t in np.arange(0, 1.1, 0.1):
        reached = [p for r, p in zip(recall, precision, strict=True) if r >= t]
        total += max(reached, default=0) / 11
    return total


def devkit_area(recall: list[float], precision: list[float]) -> float:
    """VOCap.m of 2010."""
    r, p = [0, *recall, 1], [0, *precision, 0]
    for i in range(len(p) - 2, -1, -1):
        p[i] = max(p[i], p[i + 1])
    return sum((r[i] - r[i - 1]) * p[i] for i in range(1, len(r)) if r[i] != r[i - 1])


def coco_ap_50(true: TruthColumns, found: DetectionColumns) -> list[float]:
    """COCOeval's average precision of each class at IoU 0.5, all areas, 100 detections."""

    def dataset(rows: TruthColumns | DetectionColumns) -> COCO:
        boxes = torch.cat([rows.boxes[:, :2], rows.boxes[:, 2:] - rows.boxes[:, :2]], 1).tolist()
        scores = getattr(rows, "scores", torch.zeros(len(boxes))).tolist()
        columns = zip(rows.images.tolist(), rows.labels.tolist(), boxes, scores, strict=True)
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in range(50)],
            "categories": [{"id": label} for label in (1, 2, 3)],
            "annotations": [
                {"id": row + 1, "image_id": image, "category_id": label, "bbox": box}
                | {"area": box[2] * box[3], "iscrowd": 0, "score": score}
                for row, (image, label, box, score) in enumerate(columns)
            ],
        }
        coco.createIndex()
        return coco

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(dataset(true), dataset(found), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][0, :, :, 0, -1].mean(0).tolist()
