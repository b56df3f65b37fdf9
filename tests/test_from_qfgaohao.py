"""qfgaohao/pytorch-ssd's detectors, to this project."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from equality import LOGITS, OFFSETS, assert_equal, differences, random_images, randomise, spread
from references.qfgaohao import (
    SSD,
    MobileNetV1SSD,
    MobileNetV2SSDLite,
    VGG16SSD,
    anchors,
    detect,
    normalise,
)
from torch import Tensor, nn

from ssd.weights.checkpoints import build_network
from ssd.weights.loading import load_checkpoint

MODELS: dict[str, Callable[[int], SSD]] = {
    "vgg16-ssd": VGG16SSD,
    "vgg16-ssd of early revisions": partial(VGG16SSD, l2_norm=True),
    "mb1-ssd": MobileNetV1SSD,
    "mb2-ssd-lite": MobileNetV2SSDLite,
}


def make(name: str, num_classes: int = 21) -> SSD:
    torch.manual_seed(0)
    return MODELS[name](num_classes).eval()


def pixels(images: Tensor, model: SSD) -> Tensor:
    return normalise(images, model).double()


def final_layers(heads: nn.ModuleList) -> list[nn.Conv2d]:
    return [head if isinstance(head, nn.Conv2d) else head[-1] for head in heads]


@torch.no_grad()
def prepared(name: str) -> tuple[SSD, Tensor]:
    model, images = make(name), random_images(300)
    randomise(model.double())
    spread(
        final_layers(model.classification_headers), LOGITS, lambda: model(pixels(images, model))
    )
    spread(final_layers(model.regression_headers), OFFSETS, lambda: model(pixels(images, model)))
    return model.float().double(), images  # weights that a float32 file holds


@pytest.mark.parametrize("name", MODELS)
def test_a_file_of_qfgaohao_predicts_and_detects_the_same(tmp_path: Path, name: str) -> None:
    model, images = prepared(name)
    torch.save(model.float().state_dict(), tmp_path / "a.pth")
    model.double()
    checkpoint = load_checkpoint(tmp_path / "a.pth")
    with torch.no_grad():
        logits, offsets = model(pixels(images, model))
    theirs = anchors(model.levels)
    found = detect(logits, offsets, theirs)
    apart = differences(checkpoint, images, logits, offsets, theirs, found)
    print(name, apart, [len(labels) for _, _, labels in found])
    assert_equal(apart)
