from functools import partial

import pytest
import torch
from torch import Tensor
from torchvision import ops
from torchvision.models.detection import ssd300_vgg16 as torchvision_ssd
from torchvision.models.detection._utils import BoxCoder

from ssd.models.vgg import levels_300
from ssd.ops import detecting
from ssd.ops.anchors import pyramid_anchors
from ssd.ops.boxes import decode, encode, to_cxcywh, to_xyxy
from ssd.ops.detecting import detect, overlapping, suppress, suppress_by_class
from ssd.records import Detections, Predictions

CELLS = [(side, side) for side in (38, 19, 10, 5, 3, 1)]
ANCHORS = pyramid_anchors(levels_300("voc"), CELLS, (300, 300), 300, clip="never")
SETTINGS = {
    "score_threshold": 0.01,
    "candidates_per_class": 400,
    "iou_threshold": 0.45,
    "detections_per_image": 200,
    "clip_boxes": True,
}


def random_predictions(background: float, images: int = 3, classes: int = 21) -> Predictions:
    torch.manual_seed(0)
    logits = torch.randn(images, len(ANCHORS), classes) * 2
    logits[..., 0] += background
    return Predictions(logits, torch.randn(images, len(ANCHORS), 4))


def loop(predictions: Predictions, image: int) -> tuple[Tensor, Tensor, Tensor]:
    """One image, class by class."""
    scores = predictions.logits[image].softmax(dim=-1)
    boxes = to_xyxy(decode(predictions.offsets[image], ANCHORS)).clamp(0, 1)
    found = []
    for label in range(1, scores.shape[1]):
        best, order = scores[:, label].sort(descending=True, stable=True)
        order = order[best > SETTINGS["score_threshold"]][: SETTINGS["candidates_per_class"]]
        kept = order[ops.nms(boxes[order], scores[order, label], SETTINGS["iou_threshold"])]
        found += [(scores[k, label], label, boxes[k]) for k in kept]
    found = sorted(found, key=lambda entry: -entry[0])[: SETTINGS["detections_per_image"]]
    return (
        torch.stack([box for _, _, box in found]),
        torch.stack([score for score, _, _ in found]),
        torch.tensor([label for _, label, _ in found]),
    )


def assert_equal_to_loop(predictions: Predictions) -> None:
    found = detect(predictions, ANCHORS, **SETTINGS)
    for image in range(len(predictions.logits)):
        boxes, scores, labels = loop(predictions, image)
        kept = found.labels[image] > 0
        torch.testing.assert_close(found.scores[image][kept], scores)
        torch.testing.assert_close(found.boxes[image][kept], boxes)
        assert found.labels[image][kept].tolist() == labels.tolist()


@pytest.mark.parametrize("background", [0, 6, 10], ids=["untrained", "medium", "sharp"])
def test_detections_equal_a_plain_loop_over_classes(background: float) -> None:
    assert_equal_to_loop(random_predictions(background))


def test_logits_that_are_no_numbers_hide_no_other_anchors_objects() -> None:
    predictions = random_predictions(6)
    predictions.logits[0, :: len(ANCHORS) // 1000] = torch.nan
    assert_equal_to_loop(predictions)


def test_boxes_that_are_no_numbers_are_no_detections() -> None:
    predictions = random_predictions(6)
    predictions.logits[0] = torch.nan
    predictions.offsets[:2] = torch.nan
    found = detect(predictions, ANCHORS, **SETTINGS)
    assert found.boxes.isfinite().all()
    assert (found.labels > 0).sum(dim=1).tolist() == [0, 0, 200]


def test_detections_equal_the_loop_where_most_candidates_are_duplicates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(detecting, "FIRST_LOOK", 8)
    predictions = random_predictions(6)
    one_place = encode(torch.tensor([0.5, 0.5, 0.3, 0.3]).expand_as(ANCHORS), ANCHORS)
    jitter = torch.randn_like(predictions.offsets) * 0.1
    assert_equal_to_loop(predictions._replace(offsets=one_place + jitter))


@pytest.mark.parametrize("first_look", [8, 384])
def test_no_class_has_more_candidates_than_it_may(
    monkeypatch: pytest.MonkeyPatch, first_look: int
) -> None:
    monkeypatch.setattr(detecting, "FIRST_LOOK", first_look)
    monkeypatch.setitem(SETTINGS, "candidates_per_class", 5)
    assert_equal_to_loop(random_predictions(6))


def test_a_batch_in_parts_gives_what_it_gives_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = random_predictions(9)
    predictions.logits[1, :, 0] += 6  # so that the parts differ in their number of detections
    whole = detect(predictions, ANCHORS, **SETTINGS)
    monkeypatch.setattr(detecting, "SCORES_CPU", 1)
    parts = detect(predictions, ANCHORS, **SETTINGS)
    assert all(torch.equal(*pair) for pair in zip(whole, parts, strict=True))


def test_equal_scores_go_to_the_lowest_index() -> None:
    predictions = random_predictions(0)
    tied = Predictions(predictions.logits.round() / 2, predictions.offsets)
    assert_equal_to_loop(tied)


def test_detections_equal_torchvisions() -> None:
    predictions = random_predictions(6, images=2)
    model = torchvision_ssd(weights=None, weights_backbone=None, num_classes=21, nms_thresh=0.45)
    model.box_coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    outputs = {"bbox_regression": predictions.offsets, "cls_logits": predictions.logits}
    theirs = model.postprocess_detections(outputs, [to_xyxy(ANCHORS) * 300] * 2, [(300, 300)] * 2)
    ours = detect(predictions, ANCHORS, **SETTINGS)
    for image, expected in enumerate(theirs):
        torch.testing.assert_close(ours.boxes[image] * 300, expected["boxes"], atol=1e-3, rtol=0)
        torch.testing.assert_close(ours.scores[image], expected["scores"], atol=1e-5, rtol=0)
        assert ours.labels[image].tolist() == expected["labels"].tolist()


def detect_boxes(
    boxes: list[list[float]], logits: list[list[float]], **settings: float | str
) -> Detections:
    """Anchors that are already where their objects are."""
    anchors = to_cxcywh(torch.tensor(boxes, dtype=torch.float32))
    predictions = Predictions(
        torch.tensor([logits], dtype=torch.float32), torch.zeros(1, len(boxes), 4)
    )
    return detect(predictions, anchors, **{**SETTINGS, **settings})


def test_by_sigmoids_every_class_stands_for_itself() -> None:
    logits = [[50.0, 2, 1], [-50, -1, -9]]
    found = detect_boxes(
        [[0, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]], logits, score_threshold=0.1, activation="sigmoid"
    )
    expected = torch.tensor([2.0, 1, -1]).sigmoid().tolist()
    assert found.scores[0].tolist() == pytest.approx(expected)
    assert found.labels[0].tolist() == [1, 2, 1]


def test_a_worse_box_in_the_same_place_goes() -> None:
    found = detect_boxes([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.48]], [[0, 4], [0, 3]])
    assert found.labels.tolist() == [[1]]


def test_many_candidates_are_suppressed_class_by_class_as_all_at_once() -> None:
    torch.manual_seed(0)
    low = torch.rand(2, 900, 2) * 0.8
    boxes = torch.cat([low, low + torch.rand(2, 900, 2) * 0.3], dim=-1)
    scores = torch.rand(2, 900).sort(dim=1, descending=True).values
    scores[0, 700:] = 0  # padding
    labels = torch.randint(1, 5, (2, 900))
    overlap = partial(overlapping, iou_threshold=0.45, union_margin=0)
    expected = suppress(boxes, scores, labels, overlap)
    assert 0 < expected.sum() < 1600
    assert torch.equal(suppress_by_class(boxes, scores, labels, overlap, 900), expected)


def test_boxes_are_cut_at_the_border_before_they_are_compared() -> None:
    wide, tall = [-0.5, 0, 0.5, 0.5], [0, -0.5, 0.5, 0.5]  # half of each is outside
    cut = detect_boxes([wide, tall], [[0, 4], [0, 3]])
    assert cut.boxes[0].tolist() == [[0, 0, 0.5, 0.5]]
    whole = detect_boxes([wide, tall], [[0, 4], [0, 3]], clip_boxes=False)
    assert whole.boxes[0].tolist() == [wide, tall]


def test_a_margin_on_the_union_lets_small_boxes_overlap_more() -> None:
    boxes = [[0, 0, 0.01, 0.01], [0, 0, 0.01, 0.005]]  # IoU 0.5
    logits = [[0, 4], [0, 3]]
    assert detect_boxes(boxes, logits).labels.tolist() == [[1]]
    assert detect_boxes(boxes, logits, union_margin=1e-4).labels.tolist() == [[1, 1]]


def test_boxes_of_two_classes_do_not_suppress_each_other() -> None:
    found = detect_boxes([[0, 0, 0.5, 0.5]] * 2, [[0, 4, 0], [0, 0, 3]], score_threshold=0.5)
    assert found.labels.tolist() == [[1, 2]]


def test_a_box_that_went_suppresses_nothing() -> None:
    row = [[0, 0, 0.5, 0.5], [0.15, 0, 0.65, 0.5], [0.3, 0, 0.8, 0.5]]
    found = detect_boxes(row, [[0, 4], [0, 3], [0, 2]])
    assert found.boxes[0, :, 0].tolist() == pytest.approx([0, 0.3])


def test_boxes_are_cut_at_the_image() -> None:
    found = detect_boxes([[-0.2, 0.1, 0.5, 1.4]], [[0, 4]])
    assert found.boxes[0, 0].tolist() == pytest.approx([0, 0.1, 0.5, 1])


def test_at_most_the_asked_number_of_an_image() -> None:
    corners = [[i / 10, 0, i / 10 + 0.1, 0.1] for i in range(10)]
    found = detect_boxes(corners, [[0, float(i)] for i in range(10)], detections_per_image=3)
    assert found.boxes[0, :, 0].tolist() == pytest.approx([0.9, 0.8, 0.7])


def test_an_image_without_detections_is_padding() -> None:
    logits = torch.tensor([[[0.0, 4.0]], [[20.0, 0.0]]])
    found = detect(Predictions(logits, torch.zeros(2, 1, 4)), torch.tensor([[0.5] * 4]), **SETTINGS)
    assert found.labels.tolist() == [[1], [0]]
    assert found.scores[1].tolist() == [0]


def test_a_batch_without_detections_is_empty() -> None:
    found = detect_boxes([[0, 0, 1, 1]], [[20, 0]])
    assert found.boxes.shape == (1, 0, 4)


def loop_of_one_class(
    predictions: Predictions, image: int, thresholds: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores and labels of an image where all classes compete, by torchvision's NMS."""
    scores = predictions.logits[image].softmax(dim=-1)
    boxes = to_xyxy(decode(predictions.offsets[image], ANCHORS)).clamp(0, 1)
    anchor, label = (scores[:, 1:] > thresholds[1:]).nonzero(as_tuple=True)
    found = scores[anchor, label + 1]
    order = found.argsort(descending=True, stable=True)[: SETTINGS["candidates_per_class"]]
    kept = order[ops.nms(boxes[anchor[order]], found[order], SETTINGS["iou_threshold"])]
    kept = kept[: SETTINGS["detections_per_image"]]
    return found[kept], label[kept] + 1


@pytest.mark.parametrize("background", [6, 10], ids=["medium", "sharp"])
def test_agnostic_suppression_takes_all_classes_for_one(background: float) -> None:
    predictions = random_predictions(background)
    found = detect(predictions, ANCHORS, **SETTINGS, agnostic=True)
    thresholds = torch.full((21,), SETTINGS["score_threshold"])
    for image in range(len(predictions.logits)):
        scores, labels = loop_of_one_class(predictions, image, thresholds)
        kept = found.labels[image] > 0
        torch.testing.assert_close(found.scores[image][kept], scores)
        assert found.labels[image][kept].tolist() == labels.tolist()


def test_a_class_has_a_threshold_of_its_own() -> None:
    predictions, thresholds = random_predictions(6), torch.linspace(0.1, 0.9, 21)
    settings = {**SETTINGS, "detections_per_image": 5000}
    found = detect(predictions, ANCHORS, **settings, class_thresholds=thresholds)
    every = detect(predictions, ANCHORS, **settings)
    for image in range(len(predictions.logits)):
        above = every.scores[image] > thresholds[every.labels[image]]
        kept = found.labels[image] > 0
        torch.testing.assert_close(found.scores[image][kept], every.scores[image][above])


def test_a_class_below_its_own_threshold_suppresses_none() -> None:
    predictions, thresholds = random_predictions(6), torch.linspace(0.1, 0.9, 21)
    found = detect(predictions, ANCHORS, **SETTINGS, agnostic=True, class_thresholds=thresholds)
    for image in range(len(predictions.logits)):
        scores, labels = loop_of_one_class(predictions, image, thresholds)
        kept = found.labels[image] > 0
        torch.testing.assert_close(found.scores[image][kept], scores)
        assert found.labels[image][kept].tolist() == labels.tolist()
