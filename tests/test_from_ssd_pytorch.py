"""amdegroot/ssd.pytorch's SSD300, to this project."""

from pathlib import Path

import pytest
import torch
from equality import assert_equal, assert_same, differences, random_images, randomise, spread
from references.ssd_pytorch import COCO_SIZES, SSD300, VOC_SIZES, anchors, detect, normalise

from ssd.ops import detecting
from ssd.records import Predictions
from ssd.weights.checkpoints import build_network
from ssd.weights.loading import load_checkpoint
from ssd.weights.projects.classes import COCO, VOC

CAFFE_PARAMETERS = 26.285  # millions with 21 classes, as the Open Model Zoo counts those of ssd300
BACKGROUND = 15.0  # added to its logits, lest each anchor is a candidate of several classes


@torch.no_grad()
@pytest.mark.parametrize(
    ("num_classes", "sizes"),
    [(21, VOC_SIZES), pytest.param(201, COCO_SIZES, marks=pytest.mark.slow)],
)
def test_a_file_of_ssd_pytorch_predicts_and_detects_the_same(
    tmp_path: Path, num_classes: int, sizes: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model, images = SSD300(num_classes), random_images(300, number=1)
    randomise(model)
    maps = model.double().maps(normalise(images).double())
    spread(model.conf, model.loc, lambda: model.predict(maps))
    if num_classes > 100:
        for head in model.conf:
            head.bias.view(-1, num_classes)[:, 0] += BACKGROUND
    torch.save(model.float().state_dict(), tmp_path / "a.pth")
    logits, offsets = model.double().predict(maps)
    found = detect(logits, offsets, anchors(sizes))

    checkpoint = load_checkpoint(tmp_path / "a.pth")

    apart = differences(checkpoint, images, logits, offsets, anchors(sizes), found)
    print(num_classes, apart)
    assert_equal(apart)
    assert len(found[0][2].unique()) > 5


@torch.no_grad()
@pytest.mark.parametrize(("num_classes", "sizes"), [(21, VOC_SIZES), (81, COCO_SIZES)])
def test_its_anchors_go_by_the_number_of_classes_and_its_rules_do_not(
    tmp_path: Path, num_classes: int, sizes: tuple[int, ...]
) -> None:
    torch.save(SSD300(num_classes).state_dict(), tmp_path / "a.pth")
    checkpoint = load_checkpoint(tmp_path / "a.pth")
    network = build_network(checkpoint)
    assert (network.anchors - anchors(sizes)).abs().max() < 1e-6

    torch.manual_seed(0)
    logits, offsets = 3 * torch.randn(1, 8732, num_classes), torch.randn(1, 8732, 4)
    logits[..., 0] += BACKGROUND
    ours = detecting.detect(
        Predictions(logits, offsets), network.anchors, **checkpoint["ssd"]["detecting"]
    )
    (found,) = detect(logits, offsets, anchors(sizes))
    assert len(found[2]) > 100
    assert_same(ours, found)
    assert checkpoint["ssd"]["classes"] == (VOC if num_classes == 21 else COCO)


def test_the_reference_has_the_published_number_of_parameters() -> None:
    count = sum(weight.numel() for weight in SSD300(21).parameters())
    assert count / 1e6 == pytest.approx(CAFFE_PARAMETERS, abs=1e-3)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"conf.0.bias": torch.zeros(83)}, r"conf\.0\.bias has 83 channels; 4 for each class"),
        ({"conf.0.bias": None}, r"conf\.0\.bias is missing"),
        ({"vgg.31.weight": None}, r"looks like ssd\.pytorch SSD300; missing: .*backbone\.31"),
        ({"loc.2.bias": torch.zeros(16)}, r"of another shape: heads\.2\.locate\.bias \(16,\)"),
        ({"loc.6.bias": torch.zeros(16)}, r"more levels than its SSD300"),
        ({"vgg.1.running_mean": torch.zeros(64)}, r"not known: .*backbone\.1"),
        ({"l4_3.weight": torch.zeros(1), "c4_3.weight": torch.zeros(1)}, "its first revisions"),
    ],
)
def test_a_file_that_is_not_quite_it_is_refused_in_one_line(
    tmp_path: Path, broken: dict[str, torch.Tensor | None], message: str
) -> None:
    weights = {**SSD300(21).state_dict(), **broken}
    torch.save({name: w for name, w in weights.items() if w is not None}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=rf"a\.pth: .*{message}") as caught:
        load_checkpoint(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)
