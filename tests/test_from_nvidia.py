"""NVIDIA DeepLearningExamples' SSD300, to this project."""

from pathlib import Path

import pytest
import torch
from equality import assert_equal, assert_same, differences, random_images, randomise, spread
from references.nvidia import BLOCKS, SSD300, anchors, detect, normalise
from torch import Tensor

from ssd.ops.detecting import detect as detect_here
from ssd.records import Predictions
from ssd.weights.loading import load_checkpoint
from ssd.weights.projects import nvidia

BACKBONE = "feature_extractor.feature_extractor"
NAMES = [f"thing {i}" for i in range(80)]


def written(path: Path, weights: dict[str, Tensor]) -> Path:
    """As main.py writes it, where the scheduler is more than plain data."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [43, 54])
    content = {
        "epoch": 65,
        "iteration": 240_000,
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "label_map": dict(enumerate(["background", *NAMES])),
        "model": weights,
    }
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return SSD300("resnet18", 81).state_dict()


@pytest.mark.parametrize(
    "backbone",
    ["resnet18", *(pytest.param(n, marks=pytest.mark.slow) for n in BLOCKS if n != "resnet18")],
)
@torch.no_grad()
def test_a_file_of_nvidia_predicts_and_detects_the_same(tmp_path: Path, backbone: str) -> None:
    torch.manual_seed(0)
    model, images = SSD300(backbone, 81).eval(), random_images(300)
    randomise(model)
    maps = model.double().maps(normalise(images.double()))
    spread(model.conf, model.loc, lambda: model.predict(maps))
    path = written(tmp_path / "epoch_64.pt", model.float().state_dict())
    logits, offsets = model.double().predict(maps)
    checkpoint = load_checkpoint(path)
    found = detect(logits, offsets, anchors())
    apart = differences(checkpoint, images, logits, offsets, anchors(), found)
    print(backbone, apart, [len(labels) for _, _, labels in found])
    assert_equal(apart)
    assert checkpoint["ssd"]["classes"] == NAMES


@pytest.mark.parametrize("background", [6, 10])  # with more candidates than are looked at, and less
def test_where_few_scores_pass_the_rules_give_the_same_detections(background: float) -> None:
    torch.manual_seed(0)
    logits, offsets = torch.randn(1, 8732, 2) * 3, torch.randn(1, 8732, 4)
    logits[..., 0] += background
    logits[:, :5776, 0] += 10  # the finest level, where little overlaps, says nothing
    (found,) = detect(logits, offsets, anchors())
    ours = detect_here(Predictions(logits, offsets), anchors(), **nvidia.RULES)
    passing = int((logits.softmax(dim=-1)[..., 1] > nvidia.RULES["score_threshold"]).sum())
    candidates = nvidia.RULES["candidates_per_class"]
    assert (passing > candidates) == (background == 6)
    assert 20 < len(found[2]) < min(passing, candidates) - 10
    assert_same(ours, found)


def test_weights_of_distributed_training_are_read_and_named_as_in_coco(
    tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    torch.save({"model": {f"module.{k}": v.half() for k, v in weights.items()}}, tmp_path / "a.pt")
    checkpoint = load_checkpoint(tmp_path / "a.pt")
    assert checkpoint["ssd"]["classes"][:2] == ["person", "bicycle"]
    assert checkpoint["ssd"]["model"]["depth"] == 18


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"conf.0.bias": None}, "conf.0.bias is missing"),
        ({"conf.0.bias": torch.zeros(81)}, "81 channels; 4 for each class"),
        (
            {"conf.2.weight": torch.zeros(126, 512, 3, 3)},
            r"heads.2.classify.weight \(126, 512, 3, 3\) for \(486, 512, 3, 3\)",
        ),
        ({"additional_blocks.3.0.weight": None}, "missing: features.extras.3.0.0"),
    ],
)
def test_a_file_that_lacks_something_is_refused_in_one_line(
    tmp_path: Path, weights: dict[str, Tensor], others: dict[str, Tensor | None], said: str
) -> None:
    kept = {name: value for name, value in (weights | others).items() if value is not None}
    path = written(tmp_path / "a.pt", kept)
    with pytest.raises(ValueError, match=said) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


def test_a_backbone_that_is_not_known_is_refused_in_one_line(
    tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    resnet101 = {f"{BACKBONE}.6.{i}.conv3.weight": torch.zeros(1) for i in range(23)}
    path = written(tmp_path / "a.pt", weights | resnet101)
    with pytest.raises(ValueError, match="23 bottleneck blocks") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)
