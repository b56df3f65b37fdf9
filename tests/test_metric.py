import contextlib
import io
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from ssd.metric import DetectionMetric, coco_ground_truth, coco_results
from ssd.metric.coco import coco_precision
from ssd.metric.scores import score as score_split
from ssd.ops.precision import DetectionColumns, TruthColumns
from ssd.records import Annotations, Detections

CLASSES = ["cat", "dog", "bird", "snail"]
NAN = float("nan")

Box = tuple[float, float, float, float]


def annotated(*images: list[tuple[int, Box, bool]]) -> Annotations:
    """A list of (label, box, difficult) per image of 200 x 100 pixels."""
    rows = [row for image in images for row in image]
    starts = torch.tensor([0, *(len(image) for image in images)]).cumsum(0)
    return Annotations(
        ids=[f"{row:06}" for row in range(len(images))],
        files=[f"/data/{row:06}.jpg" for row in range(len(images))],
        sizes=torch.tensor([[200, 100]] * len(images)),
        starts=starts,
        boxes=torch.tensor([box for _, box, _ in rows], dtype=torch.float64).reshape(-1, 4),
        labels=torch.tensor([label for label, _, _ in rows], dtype=torch.int64),
        difficult=torch.tensor([difficult for _, _, difficult in rows], dtype=torch.bool),
        crowd=torch.zeros(len(rows), dtype=torch.bool),
    )


def detected(*images: list[tuple[int, float, Box]]) -> Detections:
    """A list of (label, score, box in pixels) per image of 200 x 100 pixels, padded."""
    most = max(len(image) for image in images)
    padded = [[*image, *[(0, 0.0, (0, 0, 0, 0))] * (most - len(image))] for image in images]
    boxes = torch.tensor([[box for _, _, box in image] for image in padded], dtype=torch.float32)
    return Detections(
        boxes=boxes.reshape(len(images), most, 4) / torch.tensor([200, 100, 200, 100]),
        scores=torch.tensor([[score for _, score, _ in image] for image in padded]),
        labels=torch.tensor([[label for label, _, _ in image] for image in padded]).long(),
    )


def scored(annotations: Annotations, detections: Detections) -> DetectionMetric:
    metric = DetectionMetric(annotations, CLASSES)
    metric.update(detections, torch.arange(len(detections.labels)))
    metric.compute()
    return metric


def random_annotations(seed: int = 0) -> Annotations:
    """40 images of odd sizes with 0 to 5 boxes of the first three classes, a sixth difficult."""
    draw = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 6, (40,), generator=draw)
    num_boxes = int(counts.sum())
    sizes = torch.randint(150, 400, (40, 2), generator=draw)
    size = sizes.repeat_interleave(counts, dim=0).double()
    centers = torch.rand(num_boxes, 2, generator=draw, dtype=torch.float64) * size
    reach = 5 + 60 * torch.rand(num_boxes, 2, generator=draw, dtype=torch.float64)
    low, high = (centers - reach).clamp(min=0).floor(), torch.minimum(centers + reach, size).ceil()
    return Annotations(
        ids=[f"image {row}" for row in range(40)],
        files=[f"/data/image {row}.jpg" for row in range(40)],
        sizes=sizes,
        starts=torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]),
        boxes=torch.cat([low, high], dim=1),
        labels=torch.randint(1, 4, (num_boxes,), generator=draw),
        difficult=torch.randint(0, 6, (num_boxes,), generator=draw) == 0,
        crowd=torch.zeros(num_boxes, dtype=torch.bool),
    )


def random_detections(annotations: Annotations, seed: int = 1) -> Detections:
    """15 places per image, a third of them empty, the others near truths; scores with ties."""
    draw = torch.Generator().manual_seed(seed)
    boxes, labels = torch.zeros(40, 15, 4), torch.zeros(40, 15, dtype=torch.int64)
    for image, (start, end) in enumerate(annotations.starts.unfold(0, 2, 1).tolist()):
        if start < end:
            near = torch.randint(start, end, (15,), generator=draw)
            noise = 3 * torch.randn(15, 4, generator=draw)
            size = annotations.sizes[image].repeat(2)
            boxes[image] = ((annotations.boxes[near] + noise) / size).clamp(0, 1)
            labels[image] = annotations.labels[near]
    labels[torch.rand(40, 15, generator=draw) < 1 / 3] = 0
    scores = torch.randint(1, 30, (40, 15), generator=draw) / 30
    return Detections(boxes, scores * (labels > 0), labels)


def in_batches(
    metric: DetectionMetric, detections: Detections, batches: Iterable[Tensor]
) -> DetectionMetric:
    for rows in batches:
        metric.update(Detections(*(column[rows] for column in detections)), rows)
    return metric


def test_perfect_detections_score_one_everywhere() -> None:
    box = (20, 20, 60, 60)  # 1,600 square pixels: medium
    annotations = annotated([(1, box, False)], [(2, box, False), (3, box, False)])
    metric = scored(annotations, detected([(1, 0.9, box)], [(2, 0.8, box), (3, 0.7, box)]))
    expected = {"map_voc07": 1, "map_voc12": 1, "map": 1, "map_50": 1, "map_75": 1}
    expected |= {"map_small": NAN, "map_medium": 1, "map_large": NAN}
    expected |= {"ap/cat": 1, "ap/dog": 1, "ap/bird": 1, "ap/snail": NAN}
    assert metric.compute() == pytest.approx(expected, nan_ok=True)
    assert all(type(value) is float for value in metric.compute().values())


def test_the_table_counts_truths_and_detections_and_scores_each_class() -> None:
    # One of two cats is found, at IoU 33/40 = .825: right at .50 to .80, 7 of the 10 thresholds.
    # 11-point: precision 1 at 0 to .5, so 6/11. Area: 1/2. COCO: 51 of 101 recalls, times .7.
    cat, most = (0, 0, 40, 40), (0, 0, 40, 33)
    annotations = annotated([(1, cat, False), (2, cat, True)], [(1, cat, False)])
    metric = scored(annotations, detected([(1, 0.9, most), (2, 0.9, cat)], []))
    first, second, *_ = metric.table()
    assert first == pytest.approx(
        {"name": "cat", "truths": 2, "detections": 1}
        | {"ap_voc07": 6 / 11, "ap_voc12": 1 / 2, "ap": 0.7 * 51 / 101, "ap_50": 51 / 101}
    )
    assert (second["name"], second["truths"], second["detections"]) == ("dog", 0, 1)
    assert all(math.isnan(second[key]) for key in ("ap_voc07", "ap_voc12", "ap", "ap_50"))


def test_a_class_with_truths_and_no_detections_pulls_the_mean_down() -> None:
    box = (20, 20, 60, 60)
    annotations = annotated([(1, box, False), (2, box, False)])
    summary = scored(annotations, detected([(1, 0.9, box)])).compute()
    assert [summary[key] for key in ("map_voc07", "map_voc12", "map")] == pytest.approx([0.5] * 3)
    assert (summary["ap/cat"], summary["ap/dog"]) == pytest.approx((1, 0))


def test_the_mean_over_classes_is_the_map() -> None:
    annotations = random_annotations()
    metric = scored(annotations, random_detections(annotations))
    summary = metric.compute()
    by_class = [summary[f"ap/{name}"] for name in CLASSES]
    columns = {"map_50": "ap_50", "map_voc07": "ap_voc07", "map_voc12": "ap_voc12"}
    others = [([line[name] for line in metric.table()], key) for key, name in columns.items()]
    for values, key in ((by_class, "map"), *others):
        assert 0.1 < summary[key] < 0.9
        assert math.isnan(values.pop())  # there is no snail
        assert sum(values) / 3 == pytest.approx(summary[key], abs=1e-12)


def test_nothing_found_scores_zero() -> None:  # 91
    summary = scored(annotated([(1, (20, 20, 60, 60), False)]), detected([])).compute()
    assert [summary[key] for key in ("map_voc07", "map_voc12", "map", "ap/cat")] == [0, 0, 0, 0]


@pytest.mark.parametrize("found", [[], [(1, 0.9, (20, 20, 60, 60))]])
def test_a_split_without_truths_has_no_score(found: list) -> None:
    summary = scored(annotated([], []), detected(found, found)).compute()
    assert all(math.isnan(value) for value in summary.values())


def test_order_of_images_and_batch_size_change_nothing() -> None:
    annotations = random_annotations()
    detections = random_detections(annotations)
    whole = scored(annotations, detections)
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    metric = in_batches(DetectionMetric(annotations, CLASSES), detections, shuffled.split(7))
    assert metric.compute() == pytest.approx(whole.compute(), abs=1e-12, nan_ok=True)
    pairs = zip(metric.result.detections, whole.result.detections, strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_ranks_merged_score_as_one_process() -> None:
    annotations = random_annotations()
    detections = random_detections(annotations)
    expected = scored(annotations, detections).compute()
    ranks = [
        in_batches(
            DetectionMetric(annotations, CLASSES), detections, torch.arange(rank, 40, 2).split(3)
        )
        for rank in (0, 1)
    ]
    ranks[0].merge_state(ranks[1])
    assert ranks[0].compute() == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_a_rank_without_images_sends_states_of_the_others_type_and_shape() -> None:
    annotations = random_annotations()
    full = scored(annotations, random_detections(annotations))
    others = iter([torch.cat(getattr(full, name)) for name in full.metric_state])

    def gather(own: Tensor, group: object) -> list[Tensor]:
        other = next(others)
        assert (own.dtype, own.shape[1:], len(own)) == (other.dtype, other.shape[1:], 0)
        return [own, other]

    idle = DetectionMetric(annotations, CLASSES)
    idle.distributed_available_fn = lambda: True
    idle.dist_sync_fn = gather
    assert idle.compute() == pytest.approx(full.compute(), abs=0, nan_ok=True)


def test_padded_repeats_and_empty_places_do_not_count() -> None:
    annotations = random_annotations()
    detections = random_detections(annotations)
    metric = DetectionMetric(annotations, CLASSES)
    metric.update(detections, torch.arange(40))
    metric.update(detections, torch.full((40,), -1))
    expected = scored(annotations, detections).compute()
    assert metric.compute() == pytest.approx(expected, abs=0, nan_ok=True)


def test_rows_beyond_float32_stay_exact() -> None:
    metric = DetectionMetric(annotated([]), CLASSES)
    row = 2**24 + 1
    metric.update(detected([(1, 0.9, (0, 0, 9, 9))]), torch.tensor([row]))
    assert (metric.seen[0].item(), metric.images[0].item()) == (row, row)


def test_boxes_return_to_pixels_of_the_original_image() -> None:
    box = (13, 7, 181, 93)
    found = scored(annotated([]), detected([(1, 0.9, box)])).result.detections
    assert found.boxes.dtype == torch.float64
    assert found.boxes[0].tolist() == pytest.approx(box, abs=1e-4)


def test_an_image_never_seen_is_an_error_that_names_it() -> None:
    metric = DetectionMetric(random_annotations(), CLASSES)
    metric.update(detected(*[[]] * 35), torch.arange(35))
    with pytest.raises(
        RuntimeError, match=r"5 of 40 were never seen: image 35, image 36, image 37, \.\.\."
    ):
        metric.compute()


def test_an_image_seen_twice_is_an_error_that_names_it() -> None:
    metric = DetectionMetric(random_annotations(), CLASSES)
    metric.update(detected(*[[]] * 40), torch.arange(40))
    metric.update(detected([]), torch.tensor([17]))
    with pytest.raises(RuntimeError, match="1 of 40 were seen more than once: image 17"):
        metric.compute()


def test_reset_begins_anew_and_the_result_stays() -> None:
    annotations = random_annotations()
    metric = scored(annotations, random_detections(annotations))
    first = metric.compute()
    table = metric.table()
    metric.reset()
    assert metric.table() is table
    metric.update(random_detections(annotations), torch.arange(40))
    assert metric.compute() == pytest.approx(first, abs=0, nan_ok=True)


def test_the_table_before_a_pass_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="compute"):
        DetectionMetric(random_annotations(), CLASSES).table()


def test_pycocotools_gives_the_same_numbers_from_the_files(tmp_path: Path) -> None:
    annotations = random_annotations()
    metric = scored(annotations, random_detections(annotations))
    truth, results = tmp_path / "ground_truth.json", tmp_path / "predictions.json"
    truth.write_text(json.dumps(coco_ground_truth(annotations, CLASSES)))
    results.write_text(json.dumps(coco_results(metric.result.detections)))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        evaluation = COCOeval(coco, coco.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")
    expected = [NAN if value == -1 else value for value in evaluation.stats[:6]]
    ours = [metric.compute()[name] for name in names]
    assert ours == pytest.approx(expected, rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("engine", ["faster_coco_eval", "pycocotools"])
@pytest.mark.parametrize("seed", range(12))
def test_either_engine_gives_cocoevals_table_to_the_last_digit(
    engine: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, found = random_split(seed)
    expected = cocoevals_precision(true, found)
    use(engine, monkeypatch)
    assert np.array_equal(coco_precision(true, found, num_classes=5), expected)


@pytest.mark.parametrize("engine", ["faster_coco_eval", "pycocotools"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 100, 129])
@pytest.mark.parametrize("right", ["10", "11", "01", "0110"])
def test_the_first_detections_round_as_cocoevals(
    engine: str, count: int, right: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 1 / (1 + 2**-52) where the first is right and the second is not, else 2 / 2
    boxes = torch.tensor([[10, 10, 50, 50]], dtype=torch.float64).repeat(count, 1)
    labels = torch.ones(count, dtype=torch.int64)
    true = TruthColumns(torch.arange(count), labels, boxes, torch.zeros(count, dtype=torch.bool))
    place = torch.tensor([0.0 if it == "1" else 200.0 for it in right[:count]])[:, None]
    its = slice(len(place))
    scores = torch.linspace(0.9, 0.5, len(place))
    found = DetectionColumns(torch.arange(count)[its], labels[its], scores, boxes[its] + place)
    expected = cocoevals_precision(true, found)
    use(engine, monkeypatch)
    assert np.array_equal(coco_precision(true, found, num_classes=5), expected)


@pytest.mark.parametrize("crowded", [True, False])
def test_a_summary_is_the_same_with_either_engine(
    crowded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations = random_annotations()
    if not crowded:
        annotations = annotations._replace(difficult=torch.zeros_like(annotations.difficult))
    detections = scored(annotations, random_detections(annotations)).result.detections
    summaries = []
    for engine in ("faster_coco_eval", "pycocotools"):
        use(engine, monkeypatch)
        summaries.append(score_split(annotations, CLASSES, detections).summary)
    first, second = summaries
    assert first == pytest.approx(second, rel=0, abs=0, nan_ok=True)


def use(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "pycocotools":
        monkeypatch.setitem(sys.modules, "faster_coco_eval", None)  # as where it is not installed
    else:
        pytest.importorskip("faster_coco_eval", reason="requirements-extras.txt is not installed")


def random_split(seed: int) -> tuple[TruthColumns, DetectionColumns]:
    """12 images of four classes, one of which may lack truths, detections or both.

    Whole pixels and few distinct scores make ties, some boxes have no area, and with every third
    seed an image has more than 100 detections of a class; seed 0 finds nothing.
    """
    draw = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=draw)

    zoom = (1, 4, 12)[seed % 3]  # small, medium and large boxes
    low = integers(0, 30 * zoom, 60, 2)
    boxes = torch.cat([low, low + integers(1, 20 * zoom, 60, 2)], dim=1).double()
    images, labels = integers(0, 12, 60).sort().values, integers(1, 4 + seed % 2, 60)
    true = TruthColumns(images, labels, boxes, integers(0, 5, 60) == 0)
    count = 0 if seed == 0 else (20, 300, 3000)[seed % 3]
    near = integers(0, 60, count)
    corners = true.boxes[near] + integers(-2 * zoom, 2 * zoom + 1, count, 4)
    corners[:, 2:] = torch.maximum(corners[:, 2:], corners[:, :2])
    labels = torch.where(integers(0, 4, count) == 0, integers(1, 5, count), true.labels[near])
    order = torch.argsort(true.images[near], stable=True)
    found = (true.images[near], labels, integers(1, 20, count) / 20, corners)
    return true, DetectionColumns(*(column[order] for column in found))


def cocoevals_precision(true: TruthColumns, found: DetectionColumns) -> np.ndarray:
    """(10, 101, 4, 4) of pycocotools, all classes at once."""

    def dataset(rows: TruthColumns | DetectionColumns) -> COCO:
        boxes = torch.cat([rows.boxes[:, :2], rows.boxes[:, 2:] - rows.boxes[:, :2]], 1).tolist()
        crowds = getattr(rows, "difficult", torch.zeros(len(boxes))).int().tolist()
        scores = getattr(rows, "scores", torch.zeros(len(boxes))).tolist()
        columns = (rows.images.tolist(), rows.labels.tolist(), boxes, crowds, scores)
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in range(200)],
            "categories": [{"id": label} for label in (1, 2, 3, 4)],
            "annotations": [
                {"id": row + 1, "image_id": image, "category_id": label, "bbox": box}
                | {"area": box[2] * box[3], "iscrowd": crowd, "score": score}
                for row, (image, label, box, crowd, score) in enumerate(zip(*columns, strict=True))
            ],
        }
        coco.createIndex()
        return coco

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(dataset(true), dataset(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., -1]


def test_the_ground_truth_file_numbers_from_one_and_marks_difficult_boxes() -> None:
    annotations = annotated([], [(2, (10, 20, 40, 60), False), (1, (0, 0, 5, 5), True)])
    data = coco_ground_truth(annotations, CLASSES)
    assert data["images"][1] == {"id": 2, "file_name": "000001.jpg", "width": 200, "height": 100}
    assert data["categories"][0] == {"id": 1, "name": "cat"}
    first = {"id": 1, "image_id": 2, "category_id": 2, "bbox": [10, 20, 30, 40], "area": 1200}
    assert data["annotations"][0] == {**first, "iscrowd": 0}
    assert data["annotations"][1]["iscrowd"] == 1


def test_scoring_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    scored(annotated([(1, (0, 0, 9, 9), False)]), detected([(1, 0.9, (0, 0, 9, 9))]))
    assert capsys.readouterr() == ("", "")
