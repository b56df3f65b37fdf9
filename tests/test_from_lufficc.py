"""lufficc/SSD's SSD300 and SSD512 on VGG-16, to this project."""

from pathlib import Path

import pytest
import torch
from equality import assert_equal, assert_same, differences, random_images, randomise, spread
from references.lufficc import (
    COCO_300,
    COCO_512,
    OLD_NAMES,
    SSD,
    VOC_300,
    VOC_512,
    Pyramid,
    anchors,
    detect,
    normalise,
)
from torch import Tensor

from ssd.ops import detecting
from ssd.records import Predictions
from ssd.weights.checkpoints import build_network
from ssd.weights.loading import load_checkpoint
from ssd.weights.projects.classes import COCO, VOC

CONFIGURATIONS = {
    "ssd300_voc": (21, VOC_300),
    "ssd300_coco": (81, COCO_300),
    "ssd512_voc": (21, VOC_512),
    "ssd512_coco": (81, COCO_512),
}
OTHERS = [name for name in CONFIGURATIONS if name != "ssd300_coco"]
PARAMETERS = {"ssd300_coco": 34.3, "ssd512_coco": 36.0}  # millions, as mmdetection gives them


def save(path: Path, weights: dict[str, Tensor]) -> Path:
    """As ssd/utils/checkpoint.py does."""
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 1e-5}]}
    scheduler = {"milestones": [80000, 100000], "last_epoch": 120000}
    content = {"model": weights, "optimizer": optimizer, "scheduler": scheduler}
    torch.save({**content, "iteration": 120000}, path)
    return path


@torch.no_grad()
@pytest.mark.parametrize(
    "name",
    ["ssd300_coco", *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)],
)
def test_a_file_of_lufficc_predicts_and_detects_the_same(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    num_classes, pyramid = CONFIGURATIONS[name]
    model, images = SSD(num_classes, pyramid), random_images(pyramid.image_size, number=1)
    randomise(model)
    maps = model.double().maps(normalise(images).double())
    classify, locate = model.box_head["predictor"].values()
    for head, features in zip(classify, maps, strict=True):  # else one class is ahead everywhere
        head.bias -= 0.9 * head(features).mean(dim=(0, 2, 3))
    spread(classify, locate, lambda: model.predict(maps))
    path = save(tmp_path / "model_final.pth", model.float().state_dict())
    logits, offsets = model.double().predict(maps)
    found = detect(logits, offsets, anchors(pyramid), pyramid.image_size)

    checkpoint = load_checkpoint(path)

    apart = differences(checkpoint, images, logits, offsets, anchors(pyramid), found)
    print(name, apart)
    assert_equal(apart)
    assert len(found[0][2].unique()) > 5
    assert checkpoint["ssd"]["classes"] == (VOC if num_classes == 21 else COCO)


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["ssd300_voc", pytest.param("ssd512_coco", marks=pytest.mark.slow)]
)
def test_anchors_classes_and_rules_are_those_of_its_configurations(
    tmp_path: Path, name: str
) -> None:
    num_classes, pyramid = CONFIGURATIONS[name]
    checkpoint = load_checkpoint(save(tmp_path / "a.pth", SSD(num_classes, pyramid).state_dict()))
    network, theirs = build_network(checkpoint), anchors(pyramid)
    assert (network.anchors - theirs).abs().max() < 1e-6
    assert checkpoint["ssd"]["classes"] == (VOC if num_classes == 21 else COCO)

    torch.manual_seed(0)
    logits, offsets = 3 * torch.randn(1, len(theirs), num_classes), torch.randn(1, len(theirs), 4)
    ours = detecting.detect(
        Predictions(logits, offsets), network.anchors, **checkpoint["ssd"]["detecting"]
    )
    (found,) = detect(logits, offsets, theirs, pyramid.image_size)
    assert len(found[2]) == 100
    assert_same(ours, found)


def test_a_bare_file_of_release_1_0_is_the_same_by_its_old_names(tmp_path: Path) -> None:
    new = SSD(21, VOC_300).state_dict()
    old = {}
    for name, weight in new.items():
        front = next(front for front in OLD_NAMES if name.startswith(front))
        old[name.replace(front, OLD_NAMES[front])] = weight
    torch.save(old, tmp_path / "old.pth")
    ours, theirs = (
        load_checkpoint(path) for path in (tmp_path / "old.pth", save(tmp_path / "new.pth", new))
    )
    assert ours["ssd"] == theirs["ssd"]
    torch.testing.assert_close(ours["state_dict"], theirs["state_dict"], atol=0, rtol=0)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_reference_has_the_published_number_of_parameters(name: str) -> None:
    count = sum(weight.numel() for weight in SSD(*CONFIGURATIONS[name]).parameters())
    assert count / 1e6 == pytest.approx(PARAMETERS[name], abs=0.05)


HEAD = "box_head.predictor.cls_headers.0.bias"


@pytest.mark.parametrize(
    ("pyramid", "broken", "message"),
    [
        (VOC_300, {HEAD: torch.zeros(83)}, r"channels; 4 for each class were expected"),
        (VOC_300, {HEAD: None}, r"is missing"),
        (VOC_512, {"backbone.extras.9.weight": None}, r"SSD512; missing: .*extras\.4\.1"),
        (VOC_300, {"backbone.l2_norm.weight": torch.zeros(3)}, r"norm\.scale \(3,\) for \(512,\)"),
    ],
)
def test_a_file_that_is_not_quite_it_is_refused_in_one_line(
    tmp_path: Path, pyramid: Pyramid, broken: dict[str, Tensor | None], message: str
) -> None:
    weights = {**SSD(21, pyramid).state_dict(), **broken}
    path = save(tmp_path / "a.pth", {name: w for name, w in weights.items() if w is not None})
    with pytest.raises(ValueError, match=rf"a\.pth: .*{message}") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_its_other_backbones_are_named_as_what_is_not_read(tmp_path: Path) -> None:
    heads = {n: w for n, w in SSD(21, VOC_300).state_dict().items() if n.startswith("box_head")}
    path = save(tmp_path / "a.pth", {**heads, "backbone.features.0.0.weight": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"a\.pth: lufficc/SSD on another backbone than VGG-16"):
        load_checkpoint(path)
