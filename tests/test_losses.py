from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor
from torchvision.models.detection import ssd300_vgg16 as torchvision_ssd

from ssd.errors import ConfigError
from ssd.models.box_losses import smooth_l1
from ssd.models.class_losses import SigmoidFocal, Softmax, SoftmaxFocal
from ssd.models.losses import MultiBoxLoss
from ssd.models.vgg import levels_300
from ssd.ops.anchors import pyramid_anchors
from ssd.ops.boxes import encode, to_cxcywh, to_xyxy
from ssd.ops.matching import match
from ssd.ops.mining import all_negatives, balancap, over_batch, per_image
from ssd.records import Batch, Predictions

CELLS = [(side, side) for side in (38, 19, 10, 5, 3, 1)]
ANCHORS = pyramid_anchors(levels_300("voc"), CELLS, (300, 300), 300, clip="never")
CONF = str(Path(__file__).parent.parent / "conf")

BOXES = torch.tensor(
    [[[0.1, 0.1, 0.4, 0.5], [0.5, 0.5, 0.9, 0.95]], [[0.3, 0.2, 0.6, 0.6], [0] * 4]]
)
LABELS = torch.tensor([[3, 7], [12, 0]])


def multibox(**changed: Any) -> MultiBoxLoss:
    parts = {
        "iou_threshold": 0.5,
        "own_anchors": True,
        "classes": Softmax(label_smoothing=0),
        "mining": partial(per_image, ratio=3, minimum=3),
        "box": partial(smooth_l1, beta=1),
        "box_weight": 1,
        "normalise_by": "positives",
    }
    return MultiBoxLoss(**{**parts, **changed})


LOSS = multibox()


def configured(option: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose(f"loss/{option}", list(overrides)).loss


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
    matches = list(match(BOXES, LABELS > 0, ANCHORS, 0.5, own_anchors=True))
    theirs = model.compute_loss(targets, outputs, [to_xyxy(ANCHORS)] * 2, matches)
    torch.testing.assert_close(ours["class"] / ours["positives"], theirs["classification"])
    torch.testing.assert_close(ours["box"] / ours["positives"], theirs["bbox_regression"])


def test_a_right_prediction_costs_nothing() -> None:
    matches = match(BOXES, LABELS > 0, ANCHORS, 0.5, own_anchors=True)
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
    assert (made.logits.grad != 0).any(dim=-1).sum() == 2 * 3
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
    made, heavy = predictions(), multibox(box_weight=2)
    ours, double = LOSS(made, batch(), ANCHORS), heavy(made, batch(), ANCHORS)
    assert double["box"] == 2 * ours["box"]
    assert double["class"] == ours["class"]


def test_more_negatives_cost_more() -> None:
    made, many = predictions(), multibox(mining=partial(per_image, ratio=5, minimum=3))
    assert many(made, batch(), ANCHORS)["class"] > LOSS(made, batch(), ANCHORS)["class"]


@pytest.mark.parametrize(
    ("normalise_by", "expected"), [("images", 2), ("anchors", 2 * 8732), ("positives", None)]
)
def test_the_divisor_counts_what_is_asked_for(normalise_by: str, expected: int | None) -> None:
    found = multibox(normalise_by=normalise_by)(predictions(), batch(), ANCHORS)
    assert found["divisor"] == (expected or found["positives"])
    assert found["divisor"].dtype == torch.int64


def test_what_the_sums_are_divided_by_does_not_change_them() -> None:
    made, by_image = predictions(), multibox(normalise_by="images")
    ours, theirs = LOSS(made, batch(), ANCHORS), by_image(made, batch(), ANCHORS)
    assert (theirs["class"], theirs["box"]) == (ours["class"], ours["box"])


def test_without_anchors_of_their_own_small_boxes_are_not_positive() -> None:
    tiny, labels = torch.tensor([[[0.5, 0.5, 0.51, 0.51]]]), torch.tensor([[3]])
    made = predictions(images=1)
    assert LOSS(made, batch(tiny, labels), ANCHORS)["positives"] == 1
    found = multibox(own_anchors=False)(made, batch(tiny, labels), ANCHORS)
    assert (found["positives"], found["box"]) == (0, 0)


def targets() -> Tensor:
    matches = match(BOXES, LABELS > 0, ANCHORS, 0.5, own_anchors=True)
    return LABELS.gather(1, matches.clamp(min=0)).where(matches >= 0, 0)


def test_anchors_that_say_their_target_are_counted() -> None:
    made = predictions()
    found = LOSS(made, batch(), ANCHORS)
    right = made.logits.argmax(dim=-1) == targets()
    assert found["right"] == right.sum()
    assert found["right_positives"] == (right & (targets() > 0)).sum()


def test_a_perfect_network_is_right_everywhere() -> None:
    logits = torch.nn.functional.one_hot(targets(), 21) * 10.0 - 5
    made = Predictions(logits, torch.zeros(2, len(ANCHORS), 4))
    for classes in (Softmax(0), SigmoidFocal(0.25, 2)):
        found = multibox(classes=classes)(made, batch(), ANCHORS)
        assert found["right"] == 2 * len(ANCHORS)
        assert found["right_positives"] == found["positives"]


def test_without_mining_the_loss_is_the_sum_over_all_anchors() -> None:
    made, classes = predictions(), SoftmaxFocal(0.25, 0.25, 2)
    found = multibox(classes=classes, mining=all_negatives)(made, batch(), ANCHORS)
    p = made.logits.softmax(dim=-1).gather(-1, targets().unsqueeze(-1))
    torch.testing.assert_close(found["class"], (-0.25 * (1 - p) ** 2 * p.log()).sum())


def test_mining_over_the_batch_takes_its_negatives_where_they_cost_most() -> None:
    made = predictions()
    hard = Predictions(made.logits * torch.tensor([1.0, 9]).view(2, 1, 1), made.offsets)
    hard.logits.retain_grad()
    mined = multibox(mining=partial(over_batch, ratio=3, minimum=3))(hard, batch(), ANCHORS)
    mined["class"].backward()
    used = (hard.logits.grad != 0).any(dim=-1) & (targets() == 0)
    assert used.sum() == 3 * mined["positives"]
    assert used[0].sum() < used[1].sum()


@pytest.mark.parametrize("box", ["smooth_l1", "l1", "giou"])
@pytest.mark.parametrize("mining", ["image", "batch", "none", "balancap"])
@pytest.mark.parametrize("classes", ["softmax", "focal", "sigmoid_focal"])
def test_every_choice_of_parts_trains(classes: str, mining: str, box: str) -> None:
    parts = [f"loss/classes={classes}", f"loss/mining={mining}", f"loss/box={box}"]
    loss = instantiate(configured("multibox", *parts), _convert_="all")
    made = predictions()
    found = loss(made, batch(), ANCHORS)
    (found["class"] + found["box"]).backward()
    assert loss.activation == ("sigmoid" if classes == "sigmoid_focal" else "softmax")
    for part in (*made, found["class"], found["box"]):
        assert part.isfinite().all()
        assert part.dtype == torch.float32
    assert made.logits.grad.any()
    assert made.offsets.grad.any()


def test_the_focal_recipe_has_no_option_that_it_does_not_use() -> None:
    focal = configured("focal")
    assert set(focal.mining) == {"_target_", "_partial_"}
    assert set(focal.classes) == {"_target_", "alpha", "background_alpha", "gamma"}
    with pytest.raises(ConfigCompositionException, match=r"loss\.mining\.ratio"):
        configured("focal", "loss.mining.ratio=5")


def test_what_classes_cost_and_which_negatives_are_used_change_nothing_about_boxes() -> None:
    made = predictions()
    ours = LOSS(made, batch(), ANCHORS)
    other = multibox(classes=SoftmaxFocal(0.25, 0.75, 2), mining=all_negatives)
    theirs = other(made, batch(), ANCHORS)
    for name in ("box", "positives", "divisor", "right", "right_positives"):
        assert torch.equal(theirs[name], ours[name])


def test_a_batch_without_images_counts_nothing() -> None:
    none = batch(torch.zeros(0, 2, 4), torch.zeros(0, 2, dtype=torch.int64))
    for mining in (partial(over_batch, ratio=3, minimum=3), partial(balancap, ratio=3)):
        found = multibox(mining=mining)(predictions(images=0), none, ANCHORS)
        assert {name: value.item() for name, value in found.items()} == dict.fromkeys(found, 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"iou_threshold": 0}, "iou_threshold=0: give a share above 0"),  # padding would pass it
        ({"normalise_by": "batch"}, "normalise_by=batch: give one of positives, images, anchors"),
        ({"mining": partial(per_image, ratio=-1, minimum=3)}, "mining.ratio=-1: give 0 or more"),
        ({"box": partial(smooth_l1, beta=0)}, "box.beta=0: give a number above 0"),
    ],
)
def test_numbers_that_cannot_work_are_refused_before_training(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"loss\.{message}"):
        multibox(**changed)


@pytest.mark.parametrize("truths", [0, 2])
@pytest.mark.parametrize("classes", ["softmax", "focal", "sigmoid_focal"])
@pytest.mark.parametrize("box", ["smooth_l1", "l1", "giou"])
def test_costs_of_all_anchors_masked_are_those_of_the_anchors_that_count(
    classes: str, box: str, truths: int
) -> None:
    loss = instantiate(
        configured("multibox", f"loss/classes={classes}", f"loss/box={box}"), _convert_="all"
    )
    found = []
    for pick in (True, False):
        leaves = Predictions(*(column.requires_grad_() for column in predictions()))
        sums = loss.sums(leaves, batch(BOXES[:, :truths], LABELS[:, :truths]), ANCHORS, pick=pick)
        (sums["class"] + sums["box"]).backward()
        found.append([*sums.values(), *(leaf.grad for leaf in leaves)])
    for picked, masked in zip(*found, strict=True):
        if picked is not None or masked is not None:
            torch.testing.assert_close(masked, picked, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("box", ["smooth_l1", "giou"])
def test_what_is_said_of_anchors_that_do_not_count_gives_no_gradient(box: str) -> None:
    loss = instantiate(configured("multibox", f"loss/box={box}"), _convert_="all")
    for pick in (True, False):
        logits, offsets = (column.detach().clone() for column in predictions())
        far = ANCHORS[:, :2].sum(dim=1).argmax()  # matches no box
        offsets[:, far, 2:] = 250  # its exponential is infinite
        leaves = Predictions(logits.requires_grad_(), offsets.requires_grad_())
        sums = loss.sums(leaves, batch(), ANCHORS, pick=pick)
        (sums["class"] + sums["box"]).backward()
        assert leaves.offsets.grad.isfinite().all()
        assert leaves.logits.grad.isfinite().all()
