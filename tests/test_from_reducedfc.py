"""VGG16-reducedfc files, to a network that starts from them."""

from pathlib import Path

import pytest
import torch
from equality import random_images, randomise
from networks import arguments
from references.ssd_pytorch import SSD300, normalise, reduced_vgg16

from ssd import models
from ssd.models import SSD
from ssd.weights.loading import load_checkpoint
from ssd.weights.projects.architectures import VGG300
from ssd.weights.warm_start import warm_start

NUMBERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28, 31, 33)
CLASSES = ["cat", "dog"]


def make() -> SSD:
    arguments = {**VGG300, "anchor_sizes": "voc", "num_classes": len(CLASSES) + 1}
    return getattr(models, arguments.pop("name"))(**arguments).eval()


def save(path: Path) -> Path:
    torch.manual_seed(0)
    trunk = reduced_vgg16()
    randomise(trunk)
    torch.save(trunk.state_dict(), path)
    return path


def test_its_names_are_the_bare_numbers_of_fifteen_convolutions() -> None:
    names = [f"{number}.{part}" for number in NUMBERS for part in ("weight", "bias")]
    assert list(reduced_vgg16().state_dict()) == names


@torch.no_grad()
def test_a_network_that_starts_from_it_has_its_features(tmp_path: Path) -> None:
    path, network, reference = save(tmp_path / "vgg16_reducedfc.pth"), make(), SSD300(21)
    heads = [weight.clone() for weight in network.heads.parameters()]
    model = arguments("ssd300_vgg16")
    report = warm_start(network, CLASSES, model, path, exclude=[], rename=[], missing="error")
    reference.vgg.load_state_dict(torch.load(path, weights_only=True))
    images = random_images(300, number=1)
    conv4_3, fc7 = network.double().features.backbone(network.normalize(images))
    expected = reference.double().maps(normalise(images).double())
    torch.testing.assert_close(reference.L2Norm(conv4_3), expected[0], atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(fc7, expected[1], atol=1e-9, rtol=1e-9)
    for weight, before in zip(network.heads.parameters(), heads, strict=True):
        assert torch.equal(weight, before.double())
    assert any(line.startswith("loaded 30 of ") for line in report)


def test_it_is_no_detector(tmp_path: Path) -> None:
    path = save(tmp_path / "vgg16_reducedfc.pth")
    with pytest.raises(ValueError, match=r"pth: VGG16-reducedfc is a backbone and no detector"):
        load_checkpoint(path)


def test_bare_numbers_without_its_fc6_are_not_taken_for_it(tmp_path: Path) -> None:
    weights = {**reduced_vgg16().state_dict(), "31.weight": torch.zeros(512, 512, 3, 3)}
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: .*neither a checkpoint of this"):
        load_checkpoint(tmp_path / "a.pth")
