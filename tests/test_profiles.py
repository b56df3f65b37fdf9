"""The compatibility profiles: each loss against a plain transcription of the system it names."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from test_config import composed
from torchvision.models.detection import ssd300_vgg16 as torchvision_ssd
from verbs import metrics, run
from voc import write_voc

from ssd.ops.boxes import to_xyxy
from ssd.records import Batch, Predictions

CLASSES = 4  # with the background
BOXES = np.array(
    [
        [[0.10, 0.10, 0.45, 0.50], [0.50, 0.55, 0.92, 0.95], [0.02, 0.80, 0.06, 0.86]],
        [[0.30, 0.20, 0.60, 0.62], [0, 0, 0, 0], [0, 0, 0, 0]],
    ],
    dtype=np.float32,
)
LABELS = np.array([[1, 3, 2], [2, 0, 0]])


def anchors() -> np.ndarray:
    """A few hundred boxes, some close to the objects. (A, 4) float32 cxcywh."""
    rng = np.random.default_rng(0)
    spread = np.concatenate([rng.uniform(0, 1, (300, 2)), rng.uniform(0.1, 0.6, (300, 2))], axis=1)
    real = BOXES[LABELS > 0]
    centers = np.concatenate([(real[:, :2] + real[:, 2:]) / 2, real[:, 2:] - real[:, :2]], axis=1)
    near = np.repeat(centers[:2], 8, axis=0) + rng.normal(0, 0.02, (16, 4))
    return np.concatenate([spread, near]).astype(np.float32)


ANCHORS = anchors()
RNG = np.random.default_rng(1)
LOGITS = RNG.normal(0, 2, (2, len(ANCHORS), CLASSES)).astype(np.float32)
OFFSETS = RNG.normal(0, 1, (2, len(ANCHORS), 4)).astype(np.float32)


def profile_losses(name: str) -> tuple[float, float]:
    """Class and box loss that a profile's configuration gives, divided as it says."""
    loss = instantiate(composed("train", [f"experiment={name}"]).loss, _convert_="all")
    batch = Batch(boxes=torch.tensor(BOXES), labels=torch.tensor(LABELS))
    predictions = Predictions(torch.tensor(LOGITS), torch.tensor(OFFSETS))
    found = loss(predictions, batch, torch.tensor(ANCHORS))
    divisor = found["divisor"].clamp(min=1)
    return float(found["class"] / divisor), float(found["box"] / divisor)


def iou(box: np.ndarray) -> np.ndarray:
    """Overlap of one box with every anchor."""
    low, high = ANCHORS[:, :2] - ANCHORS[:, 2:] / 2, ANCHORS[:, :2] + ANCHORS[:, 2:] / 2
    shared = (np.minimum(high, box[2:]) - np.maximum(low, box[:2])).clip(0).prod(axis=1)
    return shared / (ANCHORS[:, 2:].prod(axis=1) + (box[2:] - box[:2]).prod() - shared)


def encoded(box: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    center, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    shift = (center - anchor[:2]) / anchor[2:] / 0.1
    return np.concatenate([shift, np.log(size / anchor[2:]) / 0.2])


def entropy(logits: np.ndarray) -> np.ndarray:
    """-log of the softmax."""
    logits = logits.astype(np.float64)
    return np.log(np.exp(logits).sum(axis=-1, keepdims=True)) - logits


def smooth_l1(x: np.ndarray) -> float:
    return np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5).sum()


def balancap() -> tuple[float, float]:
    """ssd_common.py and ssd_losses of balancap/SSD-Tensorflow."""
    score = np.zeros((2, len(ANCHORS)))
    label = np.zeros((2, len(ANCHORS)), int)
    box = np.zeros((2, len(ANCHORS), 4))
    for image in range(2):
        for truth, name in zip(BOXES[image], LABELS[image], strict=True):
            overlap = iou(truth) if name else score[image] - 1
            better = overlap > score[image]
            score[image][better] = overlap[better]
            label[image][better], box[image][better] = name, truth
    cost = entropy(LOGITS)
    positive = score > 0.5
    background = np.where(positive, 1.0, np.exp(-cost[..., 0])).ravel()
    wanted = min(int(3 * positive.sum()) + 2, (~positive).sum())
    limit = np.sort(background)[wanted - 1]
    negative = ~positive & (background < limit).reshape(positive.shape)
    classes = sum(cost[i, a, label[i, a]] for i, a in zip(*positive.nonzero(), strict=True))
    boxes = sum(
        smooth_l1(OFFSETS[i, a] - encoded(box[i, a], ANCHORS[a]))
        for i, a in zip(*positive.nonzero(), strict=True)
    )
    return (classes + cost[..., 0][negative].sum()) / 2, boxes / 2


def greedy_matches(strictly: bool) -> np.ndarray:
    """Caffe's and MXNet's matching: the best pair first, then the overlap. (2, A), -1 for none."""
    matches = np.full((2, len(ANCHORS)), -1)
    for image in range(2):
        table = np.array([iou(box) for box in BOXES[image][LABELS[image] > 0]])
        best, owner = table.max(axis=0), table.argmax(axis=0)
        over = best > 0.5 if strictly else best >= 0.5
        matches[image][over] = owner[over]
        left = table.copy()
        while left.max() > 0:
            truth, anchor = np.unravel_index(left.argmax(), left.shape)
            matches[image, anchor] = truth
            left[truth], left[:, anchor] = 0, 0
    return matches


def box_sum(matches: np.ndarray) -> float:
    return sum(
        smooth_l1(OFFSETS[i, a] - encoded(BOXES[i, matches[i, a]], ANCHORS[a]))
        for i, a in zip(*(matches >= 0).nonzero(), strict=True)
    )


def hellcat_mxnet() -> tuple[float, float]:
    """FocalLoss and SmoothL1Loss, means over all but the batch, then over the batch."""
    matches = greedy_matches(strictly=True)
    cost = entropy(LOGITS)
    classes = 0.0
    for i in range(2):
        for a in range(len(ANCHORS)):
            target = LABELS[i, matches[i, a]] if matches[i, a] >= 0 else 0
            p = np.exp(-cost[i, a, target])
            classes += 0.25 * (1 - p) ** 2 * cost[i, a, target]
    return classes / len(ANCHORS) / 2, box_sum(matches) / len(ANCHORS) / 4 / 2


def caffe() -> tuple[float, float]:
    """multibox_loss_layer of weiliu89/caffe: MAX_NEGATIVE mining, VALID normalisation."""
    matches = greedy_matches(strictly=False)
    cost = entropy(LOGITS)
    classes = 0.0
    for i in range(2):
        positive = matches[i] >= 0
        classes += sum(cost[i, a, LABELS[i, matches[i, a]]] for a in positive.nonzero()[0])
        hardest = np.sort(cost[i, ~positive, 0])[::-1]
        classes += hardest[: 3 * positive.sum()].sum()
    count = (matches >= 0).sum()
    return classes / count, box_sum(matches) / count


def torchvisions() -> tuple[float, float]:
    """torchvision's own code, its matching included."""
    model = torchvision_ssd(weights=None, weights_backbone=None, num_classes=CLASSES)
    corners = to_xyxy(torch.tensor(ANCHORS))
    targets = [
        {
            "boxes": torch.tensor(BOXES[i][LABELS[i] > 0]),
            "labels": torch.tensor(LABELS[i][LABELS[i] > 0]),
        }
        for i in range(2)
    ]
    matches = [
        model.proposal_matcher(torch.tensor(np.array([iou(b) for b in target["boxes"].numpy()])))
        for target in targets
    ]
    outputs = {"cls_logits": torch.tensor(LOGITS), "bbox_regression": torch.tensor(OFFSETS)}
    losses = model.compute_loss(targets, outputs, [corners, corners], matches)
    return float(losses["classification"]), float(losses["bbox_regression"])


FORMULAS = {
    "ssd_balancap": balancap,
    "ssd_hellcat_tf": balancap,
    "ssd_hellcat_mxnet": hellcat_mxnet,
    "ssd_caffe": caffe,
    "ssd_torchvision": torchvisions,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_profiles_losses_are_those_of_the_system_it_names(name: str) -> None:
    assert profile_losses(name) == pytest.approx(FORMULAS[name](), rel=1e-5)


def test_the_systems_losses_differ() -> None:
    found = [profile_losses(name) for name in FORMULAS if name != "ssd_hellcat_tf"]
    assert len({round(classes, 3) for classes, _ in found}) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMULAS)
def test_a_profile_trains(name: str, tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit"
    images = {x: [("cat", 5, 5, 40, 30), ("dog", 20, 8, 50, 36)] for x in ("a", "b")}
    write_voc(root / "VOC2007", {"trainval": images, "test": {"c": [("cat", 8, 5, 32, 34)]}})
    more = {x: [("dog", 4, 4, 30, 36)] for x in ("d", "e")}
    write_voc(root / "VOC2012", {"trainval": more})
    words = [f"data.root={root}", f"hydra.run.dir={tmp_path}/run", "model.pretrained=false"]
    words += ["data.batch_size=2", "data.num_workers=0", "trainer.accelerator=cpu"]
    words += ["trainer.max_steps=2", "trainer.log_every_n_steps=1", "optimizer.lr=1e-5"]
    assert run("train", f"experiment={name}", *words) == 0
    rows = [row for row in metrics(tmp_path / "run") if row["train/loss"]]
    assert len(rows) == 2
    assert all(np.isfinite(float(row["train/loss"])) for row in rows)


def test_profiles_say_what_they_reproduce_and_where_they_depart() -> None:
    folder = Path(__file__).parent.parent / "conf" / "experiment"
    for name in FORMULAS:
        text = (folder / f"{name}.yaml").read_text()
        assert "# Departures:" in text
        assert "Reproduced" in text or "Beyond" in text
