"""Average precision by size and its intervals."""

import contextlib
import io
import math

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from splits import SQUARE, detections, random_split, truths

from ssd.analysis import intervals
from ssd.analysis.intervals import Resampled, interval, paired_difference, resample
from ssd.analysis.sizes import COCO_SIZES, SizeRange, size_scores
from ssd.metric.coco import coco_precision, coco_summary
from ssd.metric.records import coco_records
from ssd.ops.precision import DetectionColumns, TruthColumns, average_precision, precision_recall

SIZES = (SizeRange("tiny", 0, 7), SizeRange("other", 7, 13), SizeRange("all", 0, math.inf))


def coco_eval(true: TruthColumns, found: DetectionColumns) -> np.ndarray:
    """pycocotools' precisions (10, 101, 4, 3) of four classes at SIZES."""

    def dataset(rows: TruthColumns | DetectionColumns, **more: list[float]) -> COCO:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in range(1, 13)],
            "categories": [{"id": label} for label in range(1, 5)],
            "annotations": coco_records(rows, **more),
        }
        coco.createIndex()
        return coco

    with contextlib.redirect_stdout(io.StringIO()):
        sets = (
            dataset(true, iscrowd=true.difficult.int().tolist()),
            dataset(found, score=found.scores.tolist()),
        )
        evaluation = COCOeval(*sets, "bbox")
        evaluation.params.areaRng = [[size.low**2, min(size.high**2, 1e10)] for size in SIZES]
        evaluation.params.areaRngLbl = [size.name for size in SIZES]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., -1]


def voc12(true: TruthColumns, found: DetectionColumns, num_classes: int = 5) -> float:
    curves = precision_recall(true, found, num_classes, 0.5)
    return average_precision(curves, "area").nanmean().item()


def coco_map(true: TruthColumns, found: DetectionColumns, num_classes: int = 5) -> float:
    return coco_summary(coco_precision(true, found, num_classes))[0]


def with_own_scores(found: DetectionColumns) -> DetectionColumns:
    draw = torch.Generator().manual_seed(9)
    return found._replace(scores=torch.randperm(len(found.scores), generator=draw) / 1000)


def repeated(
    rows: TruthColumns | DetectionColumns, images: list[int]
) -> TruthColumns | DetectionColumns:
    """These images, one after the other, as images 0, 1, 2, ..."""
    copies = [rows._make(column[rows.images == image] for column in rows) for image in images]
    numbered = [
        copy._replace(images=torch.full_like(copy.images, row)) for row, copy in enumerate(copies)
    ]
    return rows._make(torch.cat(columns) for columns in zip(*numbered, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_sizes_score_as_by_pycocotools_with_these_areas(seed: int) -> None:
    true, found = random_split(seed)
    precision = coco_eval(true, found)
    for place, score in enumerate(size_scores(true, found, 5, SIZES)):
        table = precision[..., place]
        there = [
            values.mean() if (values > -1).all() else math.nan
            for values in table.transpose(2, 0, 1)
        ]
        assert score["by_class"] == pytest.approx(there, abs=1e-12, nan_ok=True)
        assert score["ap"] == pytest.approx(table[table > -1].mean(), abs=1e-12)
        assert score["ap_50"] == pytest.approx(table[0][table[0] > -1].mean(), abs=1e-12)


def test_a_size_without_objects_has_no_number() -> None:
    true, found = (
        truths((0, 1, SQUARE, False), (0, 1, SQUARE, True)),
        detections((0, 1, 0.9, SQUARE)),
    )
    small, medium, large = size_scores(true, found, 2, COCO_SIZES)
    assert (small["truths"], small["ap"], small["high"]) == (1, pytest.approx(1), 32)
    assert (medium["truths"], large["truths"], large["high"]) == (0, 0, None)
    assert math.isnan(medium["ap"])
    assert math.isnan(medium["ap_50"])


def test_an_area_on_the_border_counts_on_both_sides() -> None:
    scores = size_scores(truths((0, 1, (0, 0, 32, 32), False)), detections(), 2, COCO_SIZES)
    assert [score["truths"] for score in scores] == [1, 1, 0]


@pytest.mark.parametrize("seed", range(4))
def test_the_value_is_the_split_s_own_score(seed: int) -> None:
    true, found = random_split(seed)
    result = resample(true, found, 5, num_images=12, num_draws=1, seed=0)
    assert result["map_voc12"].value == pytest.approx(voc12(true, found), abs=1e-12)
    assert result["map"].value == pytest.approx(coco_map(true, found), abs=1e-12)


def test_of_truths_that_fit_equally_coco_takes_the_last() -> None:
    # IoU of the middle with either side is 8/12, so the second detection finds its truth taken.
    left, middle, right = (0, 0, 10, 10), (2, 0, 12, 10), (4, 0, 14, 10)
    true = truths((0, 1, left, False), (0, 1, right, False))
    found = detections((0, 1, 0.9, middle), (0, 1, 0.8, right))
    value = resample(true, found, 2, num_images=1, num_draws=1, seed=0)["map"].value
    assert value == pytest.approx(coco_map(true, found, 2), abs=1e-12)


def test_a_drawing_scores_as_a_split_with_its_images_repeated() -> None:
    true, found = random_split(seed=7)
    found = with_own_scores(found)
    result = resample(true, found, 5, num_images=12, num_draws=3, seed=4)
    draw = torch.Generator().manual_seed(4)
    for row in range(3):
        images = torch.randint(12, (12,), generator=draw).sort().values.tolist()
        split = repeated(true, images), repeated(found, images)
        assert result["map_voc12"].draws[row].item() == pytest.approx(voc12(*split), abs=1e-12)
        assert result["map"].draws[row].item() == pytest.approx(coco_map(*split), abs=1e-12)


def test_how_many_drawings_are_weighed_at_once_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    true, found = random_split(seed=3)
    whole = resample(true, found, 5, 12, num_draws=7, seed=1)
    monkeypatch.setattr(intervals, "DRAWS", 3)
    parts = resample(true, found, 5, 12, num_draws=7, seed=1)
    for name in intervals.MEASURES:
        assert torch.allclose(whole[name].draws, parts[name].draws, rtol=0, atol=1e-12)


def test_the_seed_decides_the_drawings() -> None:
    true, found = random_split(seed=3)
    first, same, other = (resample(true, found, 5, 12, 5, seed)["map"] for seed in (1, 1, 2))
    assert torch.equal(first.draws, same.draws)
    assert not torch.equal(first.draws, other.draws)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    # An image has one object, found with probability 7/10, and nothing else: the score is the share
    # of the found, and its interval that of a binomial proportion.
    draw = torch.Generator().manual_seed(0)
    covered, widths = [], []
    for trial in range(100):
        seen = (torch.rand(100, generator=draw) < 0.7).nonzero().squeeze(1).tolist()
        true = truths(*[(image, 1, SQUARE, False) for image in range(100)])
        found = detections(*[(image, 1, 0.9, SQUARE) for image in seen])
        ends = interval(resample(true, found, 2, 100, num_draws=200, seed=trial)["map_voc12"])
        covered.append(ends["low"] <= 0.7 <= ends["high"])
        widths.append(ends["high"] - ends["low"])
    assert 88 <= sum(covered) <= 99
    assert np.mean(widths) == pytest.approx(2 * 1.96 * math.sqrt(0.7 * 0.3 / 100), rel=0.1)


def test_drawings_that_score_higher_on_average_are_moved_to_the_value() -> None:
    draws = torch.linspace(0, 1, 1001, dtype=torch.float64)
    ends = interval(Resampled(0.4, draws))
    assert ends == pytest.approx({"value": 0.4, "low": 0.4 - 0.475, "high": 0.4 + 0.475})


def test_a_paired_difference_is_of_the_same_drawings() -> None:
    draws = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    difference = paired_difference(Resampled(0.5, draws), Resampled(0.6, draws + 0.1))
    assert difference == pytest.approx({"value": 0.1, "low": 0.1, "high": 0.1, "turned": 0})


def test_the_share_of_drawings_that_turn_the_sign_is_told() -> None:
    # Differences 0.1 +- 0.2, evenly: a quarter of them is not above 0.
    second = torch.linspace(-0.1, 0.3, 4001, dtype=torch.float64)
    first = Resampled(0.5, torch.zeros(4001, dtype=torch.float64))
    assert paired_difference(first, Resampled(0.6, second))["turned"] == pytest.approx(
        0.25, abs=1e-3
    )
    assert paired_difference(first, Resampled(0.4, -second))["turned"] == pytest.approx(
        0.25, abs=1e-3
    )


def test_a_detector_does_not_differ_from_itself() -> None:
    true, found = random_split(seed=3)
    result = resample(true, found, 5, 12, 20, seed=0)["map"]
    assert paired_difference(result, result) == {"value": 0, "low": 0, "high": 0, "turned": 1}


def test_without_truths_there_is_nothing_to_measure() -> None:
    for found in (detections(), detections((0, 1, 0.9, SQUARE))):
        for each in resample(truths(), found, 2, num_images=1, num_draws=3, seed=0).values():
            assert all(math.isnan(number) for number in interval(each).values())
    nothing_found = resample(truths((0, 1, SQUARE, False)), detections(), 2, 1, 3, seed=0)
    assert interval(nothing_found["map"]) == {"value": 0, "low": 0, "high": 0}
    no_class = resample(truths(), detections(), 1, num_images=0, num_draws=3, seed=0)
    assert math.isnan(no_class["map"].value)
