import pytest
import torch
from torch import Tensor
from torchvision.models.detection import ssd300_vgg16 as torchvision_ssd

from ssd.errors import ConfigError
from ssd.models.losses import MultiBoxLoss
from ssd.models.vgg import LEVELS_300
from ssd.ops.anchors import pyramid_anchors
from ssd.ops.boxes import encode, to_cxcywh, to_xyxy
from ssd.ops.matching import match
from ssd.records import Batch, Predictions

CELLS = [(side, side) for side in (38, 19, 10, 5, 3, 1)]
ANCHORS = pyramid_anchors(LEVELS_300["voc"], CELLS, (300, 300), 300, clip=False)
LOSS = MultiBoxLoss(iou_threshold=0.5, negative_ratio=3, min_negatives=3, box_weight=1)

BOXES = torch.tensor(
    [[[0.1, 0.1, 0.4, 0.5], [0.5, 0.5, 0.9, 0.95]], [[0.3, 0.2, 0.6, 0.6], [0] * 4]]
)
LABELS = torch.tensor([[3, 7], [12, 0]])


def batch(boxes: Tensor = BOXES, labels: Tensor = LABELS) -> Batch:
    return Batch(boxes=boxes, labels=labels)


def predictions(seed: int = 0, images: int = 2) -> Predictions:
    torch.manual_seed(seed)
    logits, offsets = torch.randn(images, len(ANCHORS), 21), torch.randn(images, len(ANCHORS), 4)
    return Predictions(logits.requires_grad_(), offsets.requires_grad_())


def test_the_loss_equals_torchvisions() -> None:
    made, truth = predictions(), batch()
    ours = LOSS(made, truth, ANCHORS)
    model = torchvision_ssd(weights=None, weights_backbone=None, num_classes=21)
    targets = [
        {"boxes": boxes[labels > 0], "labels": labels[labels > 0]}
        for boxes, labels in zip(BOXES, LABELS, strict=True)
    ]
    outputs = {"bbox_regression": made.offsets, "cls_logits": made.logits}
    matches = list(match(BOXES, LABELS > 0, ANCHORS, iou_threshold=0.5))
    theirs = model.compute_loss(targets, outputs, [to_xyxy(ANCHORS)] * 2, matches)
    torch.testing.assert_close(ours["class"] / ours["positives"], theirs["classification"])
    torch.testing.assert_close(ours["box"] / ours["positives"], theirs["bbox_regression"])


def test_a_right_prediction_costs_nothing() -> None:
    matches = match(BOXES, LABELS > 0, ANCHORS, iou_threshold=0.5)
    index = matches.clamp(min=0)
    labels = LABELS.gather(1, index).where(matches >= 0, 0)
    boxes = BOXES.gather(1, index.unsqueeze(-1).expand(-1, -1, 4)).clamp(min=1e-3)
    logits = torch.nn.functional.one_hot(labels, 21) * 100.0
    found = LOSS(Predictions(logits, encode(to_cxcywh(boxes), ANCHORS)), batch(), ANCHORS)
    assert found["class"] == 0
    assert found["box"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("truths", [0, 2])
def test_a_batch_without_objects_teaches_background_alone(truths: int) -> None:
    made = predictions()
    empty = batch(torch.zeros(2, truths, 4), torch.zeros(2, truths, dtype=torch.int64))
    losses = LOSS(made, empty, ANCHORS)
    (losses["class"] + losses["box"]).backward()
    assert losses["positives"] == 0
    assert losses["class"] > 0
    assert losses["box"] == 0
    assert (made.logits.grad != 0).any(dim=-1).sum() == 2 * LOSS.min_negatives
    assert (made.offsets.grad == 0).all()


def test_sums_of_two_batches_are_the_sums_of_both_together() -> None:
    made = predictions()
    whole = LOSS(made, batch(), ANCHORS)
    halves = [
        LOSS(
            Predictions(*(p[i : i + 1] for p in made)),
            batch(BOXES[i : i + 1], LABELS[i : i + 1]),
            ANCHORS,
        )
        for i in range(2)
    ]
    for name, value in whole.items():
        torch.testing.assert_close(value, halves[0][name] + halves[1][name])


def test_the_box_weight_weighs_boxes_alone() -> None:
    made, heavy = predictions(), MultiBoxLoss(0.5, 3, 3, box_weight=2)
    ours, double = LOSS(made, batch(), ANCHORS), heavy(made, batch(), ANCHORS)
    assert double["box"] == 2 * ours["box"]
    assert double["class"] == ours["class"]


def test_more_negatives_cost_more() -> None:
    made, many = predictions(), MultiBoxLoss(0.5, 5, 3, box_weight=1)
    assert many(made, batch(), ANCHORS)["class"] > LOSS(made, batch(), ANCHORS)["class"]


def test_a_threshold_that_padding_would_pass_is_refused() -> None:
    with pytest.raises(ConfigError, match="iou_threshold=0"):
        MultiBoxLoss(iou_threshold=0, negative_ratio=3, min_negatives=3, box_weight=1)
