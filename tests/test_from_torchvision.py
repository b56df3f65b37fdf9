"""torchvision's detectors, to this project and back."""

from pathlib import Path

import pytest
import torch
from equality import Found, assert_equal, differences, random_images, randomise, spread
from torch import Tensor, nn
from torchvision.models.detection import ssd300_vgg16, ssdlite320_mobilenet_v3_large
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_convert

from ssd.weights.loading import load_checkpoint

MODELS = {"ssd300": (ssd300_vgg16, 300), "ssdlite": (ssdlite320_mobilenet_v3_large, 320)}
PARAMETERS = {"ssd300": 35_641_826, "ssdlite": 3_440_060}  # published, with 91 classes


def make(name: str, num_classes: int = 91) -> SSD:
    torch.manual_seed(0)
    constructor, _ = MODELS[name]
    return constructor(weights=None, weights_backbone=None, num_classes=num_classes).eval()


def final_layers(branch: nn.Module) -> list[nn.Conv2d]:
    return [level if isinstance(level, nn.Conv2d) else level[-1] for level in branch.module_list]


@torch.no_grad()
def prepared(name: str) -> tuple[SSD, Tensor]:
    model, images = make(name), random_images(MODELS[name][1])
    randomise(model.double())
    heads = (model.head.classification_head, model.head.regression_head)
    spread(*map(final_layers, heads), lambda: model(pixels(images)))
    return model.float().double(), images  # weights that a float32 file holds


def pixels(images: Tensor) -> list[Tensor]:
    return [*(images.double() / 255)]


@torch.no_grad()
def predicted(model: SSD, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, offsets and anchors (A, 4) cxcywh fractions, as torchvision has them."""
    inputs, _ = model.transform(pixels(images))
    maps = list(model.backbone(inputs.tensors).values())
    heads = model.head(maps)
    corners = model.anchor_generator(inputs, maps)[0]
    side = images.shape[-1]
    return (
        heads["cls_logits"],
        heads["bbox_regression"],
        box_convert(corners, "xyxy", "cxcywh") / side,
    )


@torch.no_grad()
def found(model: SSD, images: Tensor) -> list[Found]:
    side = images.shape[-1]
    return [(d["boxes"] / side, d["scores"], d["labels"]) for d in model(pixels(images))]


@pytest.mark.parametrize(
    ("name", "background"),
    [
        ("ssdlite", 9),
        pytest.param("ssdlite", 0, marks=pytest.mark.slow),
        pytest.param("ssd300", 9, marks=pytest.mark.slow),
        pytest.param("ssd300", 0, marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_of_torchvision_predicts_and_detects_the_same(
    tmp_path: Path, name: str, background: float
) -> None:
    """With much background the score threshold decides, and else the numbers of candidates."""
    model, images = prepared(name)
    with torch.no_grad():
        for layer in final_layers(model.head.classification_head):
            layer.bias.view(-1, 91)[:, 0] += background
    torch.save(model.state_dict(), tmp_path / "a.pth")
    checkpoint = load_checkpoint(tmp_path / "a.pth")
    apart = differences(checkpoint, images, *predicted(model, images), found(model, images))
    assert_equal(apart)
    assert checkpoint["ssd"]["classes"][17:19] == ["dog", "horse"]  # ids 18 and 19
