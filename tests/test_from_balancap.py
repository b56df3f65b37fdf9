"""balancap's TensorFlow checkpoints, whose variables `references.balancap` takes by their names."""

import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from equality import LOGITS, OFFSETS, assert_equal, differences, random_images
from references import balancap
from references.tensorflow_bundle import write_checkpoint
from torch import Tensor

from ssd.weights.loading import load_checkpoint
from ssd.weights.tensorflow_files import read_variables

PARAMETERS = {300: 26_285_486, 512: 27_188_676}  # with 21 classes
FOUR = ["cat", "dog", "cow", "sheep"]
BACKGROUND = 6.0  # added to its logits, so that no class has its 200 boxes
SLOTS = ("Adam", "Adam_1", "ExponentialMovingAverage")


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
def original(size: int, num_classes: int, number: int) -> Original:
    """A network that has learned nothing, whose heads say enough."""
    torch.manual_seed(size)
    variables, images = random_variables(size, num_classes), random_images(size, number)
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


@pytest.mark.parametrize(("size", "classes", "number"), [(300, None, 2), (512, FOUR, 1)])
def test_a_checkpoint_of_balancap_predicts_and_detects_the_same(
    size: int, classes: list[str] | None, number: int, tmp_path: Path
) -> None:
    theirs = original(size, len(classes or range(20)) + 1, number)
    slots = {f"{n}/{slot}": v + 1 for n, v in theirs.variables.items() for slot in SLOTS[:1]}
    write_checkpoint(tmp_path / "model.ckpt-120000", {**theirs.variables, **slots})
    anchors = balancap.anchors(size)
    found = balancap.detect(theirs.logits, theirs.offsets, anchors.double())
    checkpoint = load_checkpoint(tmp_path / "model.ckpt-120000", classes)
    apart = differences(checkpoint, theirs.images, theirs.logits, theirs.offsets, anchors, found)
    print(size, apart, [torch.bincount(labels).tolist() for _, _, labels in found])
    assert_equal(apart)
    assert checkpoint["ssd"]["image_size"] == [size, size]
