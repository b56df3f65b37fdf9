"""balancap's TensorFlow checkpoints, whose variables `references.balancap` takes by their names."""

import math
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from equality import LOGITS, OFFSETS, assert_equal, differences, random_images
from references import balancap
from references.tensorflow_bundle import write_checkpoint
from torch import Tensor

from ssd.weights.loading import load_checkpoint
from ssd.weights.projects.balancap import convert, recognises
from ssd.weights.projects.classes import VOC

PARAMETERS = {300: 26_285_486, 512: 27_188_676}  # with 21 classes
FOUR = ["cat", "dog", "cow", "sheep"]
BACKGROUND = 14.0  # added to its logits, so that no class reaches its 200 boxes
OF_TRAINING = {"global_step": torch.tensor(120_000), "beta1_power": torch.tensor(0.9)}
SLOTS = ("Adam", "Adam_1", "ExponentialMovingAverage")
HEAD = "ssd_300_vgg/block4_box/conv_cls/biases"


class Original(NamedTuple):
    variables: dict[str, Tensor]  # float32, as in a file
    images: Tensor
    logits: Tensor
    offsets: Tensor


def random_variables(size: int, num_classes: int) -> dict[str, Tensor]:
    """Through which signals neither die nor grow; float64 of float32 values."""
    variables = {}
    for name, shape in balancap.shapes(size, num_classes).items():
        values = torch.randn(shape)
        if name.endswith("/weights"):
            variables[name] = (values * (2 / math.prod(shape[:3])) ** 0.5).double()
        else:
            variables[name] = (values * 0.1 + 10 * name.endswith("/gamma")).double()
    variables[f"ssd_{size}_vgg/conv1/conv1_1/weights"] /= 64  # pixels are no unit normals
    return variables


@torch.no_grad()
def original(size: int, num_classes: int) -> Original:
    """A network that has learned nothing, whose heads say enough."""
    torch.manual_seed(size)
    variables, images = random_variables(size, num_classes), random_images(size, number=1)
    logits, offsets = balancap.forward(variables, balancap.normalise(images).double())
    start = 0
    for block, cells, ratios in zip(
        balancap.levels(size), balancap.CELLS[size], balancap.RATIOS[size], strict=True
    ):
        stop = start + cells**2 * (2 + len(ratios))
        head = f"ssd_{size}_vgg/{block}_box/conv"
        for outputs, branch, deviation in ((logits, "cls", LOGITS), (offsets, "loc", OFFSETS)):
            factor = 2.0 ** (deviation / outputs[:, start:stop].std()).log2().round()  # exact
            outputs[:, start:stop] *= factor
            variables[f"{head}_{branch}/weights"] *= factor
            variables[f"{head}_{branch}/biases"] *= factor
        variables[f"{head}_cls/biases"][::num_classes] += BACKGROUND
        start = stop
    logits[..., 0] += BACKGROUND
    return Original({k: v.float() for k, v in variables.items()}, images, logits, offsets)


def zeros(size: int) -> dict[str, Tensor]:
    """A network's variables that take no room."""
    shapes = balancap.shapes(size, num_classes=21)
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("size", "classes", "ending"),
    [
        (300, None, ""),
        pytest.param(512, FOUR, ".data-00000-of-00001", marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_of_balancap_predicts_and_detects_the_same(
    size: int, classes: list[str] | None, ending: str, tmp_path: Path
) -> None:
    theirs = original(size, len(classes or VOC) + 1)
    write_checkpoint(tmp_path / "model.ckpt-120000", theirs.variables)
    anchors = balancap.anchors(size)
    found = balancap.detect(theirs.logits, theirs.offsets, anchors.double())
    checkpoint = load_checkpoint(tmp_path / f"model.ckpt-120000{ending}", classes)
    apart = differences(checkpoint, theirs.images, theirs.logits, theirs.offsets, anchors, found)
    print(size, apart)
    assert_equal(apart)
    assert torch.bincount(found[0][2]).max() < 200  # what a class may have, and no image of ours
    assert checkpoint["ssd"]["classes"] == (classes or VOC)


@pytest.mark.parametrize("size", PARAMETERS)
def test_every_parameter_of_the_papers_networks_is_taken(size: int) -> None:
    converted = convert(zeros(size), {}).weights.values()
    assert sum(value.numel() for value in converted) == PARAMETERS[size]


def test_slots_averages_and_counters_of_training_stay_behind() -> None:
    weights = zeros(300)
    slots = {f"{name}/{slot}": value for name, value in weights.items() for slot in SLOTS}
    converted = convert({**weights, **slots, **OF_TRAINING}, {})
    assert converted.weights.keys() == convert(weights, {}).weights.keys()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({HEAD: torch.zeros(85)}, f"{HEAD} has 85 channels; 4 for each class were expected"),
        ({HEAD.replace("cls", "loc"): torch.zeros(16)}, f"{HEAD} is missing"),
        ({HEAD: torch.zeros(84)}, "looks like balancap/SSD-Tensorflow ssd_300_vgg; missing: "),
        (
            {HEAD: torch.zeros(84), "ssd_300_vgg/conv6/weights": torch.zeros(1024, 512, 3, 3)},
            "features.backbone.31.weight (3, 3, 1024, 512) for (1024, 512, 3, 3)",
        ),
        (
            {HEAD: torch.zeros(84), "ssd_300_vgg/conv8/weights": torch.zeros(3, 3, 4, 4)},
            "not known: conv8",
        ),
    ],
    ids=["85 channels", "no head", "no layers", "torch's order", "a layer too many"],
)
def test_variables_that_are_not_all_of_a_network_are_refused_in_one_line(
    variables: dict[str, Tensor], message: str, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "model.ckpt", variables)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_checkpoint(tmp_path / "model.ckpt")
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["vgg_16/conv1/conv1_1/weights", "vgg.0.weight", "features.backbone.0.weight"]
)
def test_other_networks_are_not_taken_for_balancaps(name: str) -> None:
    assert not recognises({name: torch.zeros(64, 3, 3, 3)})
