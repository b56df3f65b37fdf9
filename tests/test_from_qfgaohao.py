"""qfgaohao/pytorch-ssd's detectors, to this project."""

from pathlib import Path

import pytest
import torch
from equality import assert_equal, differences, random_images, randomise, spread
from references.qfgaohao import (
    SSD,
    VGG16SSD,
    MobileNetV1SSD,
    MobileNetV2SSDLite,
    anchors,
    detect,
    normalise,
)
from torch import Tensor, nn

from ssd.weights.checkpoints import build_network
from ssd.weights.loading import load_checkpoint
from ssd.weights.projects.classes import VOC

CAFFE_PARAMETERS = 26.285  # millions with 21 classes, as the Open Model Zoo counts those of ssd300
COUNTER = "num_batches_tracked"


def final_layers(heads: nn.ModuleList) -> list[nn.Conv2d]:
    return [head if isinstance(head, nn.Conv2d) else head[-1] for head in heads]


@torch.no_grad()
def prepared(make: type[SSD]) -> tuple[SSD, Tensor]:
    """A random network, its heads spread, and an image."""
    torch.manual_seed(0)
    model, images = make(21).eval(), random_images(300, number=1)
    randomise(model)
    pixels = normalise(images, model)
    heads = (model.classification_headers, model.regression_headers)
    spread(*map(final_layers, heads), lambda: model(pixels))
    return model, images


@pytest.mark.parametrize(
    "make",
    [pytest.param(VGG16SSD, marks=pytest.mark.slow), MobileNetV1SSD, MobileNetV2SSDLite],
)
def test_a_file_of_qfgaohao_predicts_and_detects_the_same(tmp_path: Path, make: type[SSD]) -> None:
    model, images = prepared(make)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    with torch.no_grad():
        logits, offsets = model.double()(normalise(images, model).double())
    found = detect(logits, offsets, anchors(model.levels))

    checkpoint = load_checkpoint(tmp_path / "a.pth")

    apart = differences(checkpoint, images, logits, offsets, anchors(model.levels), found)
    assert_equal(apart)
    assert len(found[0][2].unique()) > 5
    assert checkpoint["ssd"]["classes"] == VOC


def test_files_from_before_batch_norms_counted_are_read(tmp_path: Path) -> None:
    weights = MobileNetV1SSD(21).state_dict()
    old = {name: value for name, value in weights.items() if COUNTER not in name}
    torch.save(weights, tmp_path / "a.pth")
    torch.save(old, tmp_path / "b.pth")
    expected = load_checkpoint(tmp_path / "a.pth")["state_dict"]
    got = load_checkpoint(tmp_path / "b.pth")["state_dict"]
    assert len(old) < len(weights)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


@torch.no_grad()
def test_early_files_normalise_conv4_3_by_its_length(tmp_path: Path) -> None:
    model = VGG16SSD(21, l2_norm=True)
    norm = model.source_layer_add_ons[0]
    norm.scale.uniform_(5, 20)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    network = build_network(load_checkpoint(tmp_path / "a.pth"))
    features = torch.rand(1, 512, 4, 4)
    torch.testing.assert_close(network.features.norm(features), norm(features))


def test_the_reference_has_the_parameters_of_the_caffe_model_and_the_shifts_of_a_norm() -> None:
    count = sum(weight.numel() for weight in VGG16SSD(21).parameters())
    assert (count - 512) / 1e6 == pytest.approx(CAFFE_PARAMETERS, abs=1e-3)


@pytest.mark.parametrize(
    ("make", "broken", "message"),
    [
        (
            MobileNetV1SSD,
            {"classification_headers.0.bias": torch.zeros(125)},
            r"classification_headers\.0\.bias has 125 channels; 6 for each class",
        ),
        (MobileNetV1SSD, {"base_net.5.3.weight": None}, r"mb1-ssd; missing: .*backbone\.5\.1\.0"),
        (MobileNetV1SSD, {"extras.0.2.0.weight": torch.zeros(1)}, "none of its vgg16-ssd, mb1-ssd"),
        (MobileNetV2SSDLite, {"regression_headers.2.0.bias": None}, r"headers\.2\.0\.bias is miss"),
        (
            MobileNetV2SSDLite,
            {"regression_headers.2.0.bias": torch.zeros(7)},
            r"not known: .*heads\.2\.before_locate\.0\.bias",
        ),
        (
            MobileNetV2SSDLite,
            {"base_net.3.conv.0.weight": torch.zeros(1)},
            r"another shape: .*backbone\.3\.conv\.0\.0\.weight \(1,\) for \(144, 24, 1, 1\)",
        ),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(
    tmp_path: Path, make: type[SSD], broken: dict[str, Tensor | None], message: str
) -> None:
    weights = {**make(21).state_dict(), **broken}
    weights = {name: value for name, value in weights.items() if value is not None}
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message) as error:
        load_checkpoint(tmp_path / "a.pth")
    assert "\n" not in str(error.value)
