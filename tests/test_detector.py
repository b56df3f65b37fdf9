"""The Python way: a checkpoint loaded, and used on images of every kind."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image
from torchmetrics.detection import MeanAveragePrecision
from verbs import ROOT

import ssd
from ssd.detector import Detector
from ssd.detector.options import class_thresholds
from ssd.errors import ConfigError


@pytest.fixture(scope="module")
def detector(trained: Path) -> Detector:
    return ssd.load(trained, device="cpu", precision="32-true")


@pytest.fixture(scope="module")
def cat(root: Path) -> Path:
    """A picture of a cat in (7, 4, 32, 34), of 60 x 40 pixels."""
    return root / "JPEGImages" / "t.png"


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import ssd, sys; assert not {'torch', 'numpy'} & set(sys.modules); ssd.load"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_three_lines_find_the_cat(detector: Detector, cat: Path) -> None:
    found = detector.detect(cat)
    assert found["names"] == ["cat"]
    assert found["labels"].tolist() == [1 + detector.classes.index("cat")]
    np.testing.assert_allclose(found["boxes"][0], [7, 4, 32, 34], atol=8)
    assert found["boxes"].dtype == torch.float32


def test_every_kind_of_image_is_the_same_image(detector: Detector, cat: Path) -> None:
    array = pixels(cat)
    images = [str(cat), cat, Image.open(cat), array, torch.from_numpy(array).permute(2, 0, 1)]
    expected = detector.detect(cat, score=0.05)
    for image, found in zip(images, detector.detect(images, score=0.05, batch_size=1), strict=True):
        for key in ("boxes", "scores", "labels"):
            assert torch.equal(found[key], expected[key]), type(image)


def test_one_image_gives_one_answer_and_a_list_a_list(detector: Detector, cat: Path) -> None:
    assert detector.detect([cat])[0]["names"] == ["cat"]
    assert detector.detect([]) == []


def test_classes_may_be_called_as_what_is_no_text() -> None:
    (override,) = OverridesParser.create().parse_overrides(
        ["score={0:0.3,true:0.4,null:0.5,1.5:0.6}"]
    )
    found = class_thresholds(override.value(), ["0", "true", "null", "1.5"])
    assert found[1:].tolist() == pytest.approx([0.3, 0.4, 0.5, 0.6])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 60), np.uint8),
        np.zeros((3, 40, 60), np.uint8),
        np.zeros((40, 60, 3), np.float32),
        torch.zeros(40, 60, 3, dtype=torch.uint8),
        torch.zeros(3, 40, 60),
        np.zeros((0, 60, 3), np.uint8),
        7,
    ],
    ids=["gray", "channels first", "float array", "channels last", "float tensor", "empty", "int"],
)
def test_what_is_no_image_is_refused_with_what_would_be(detector: Detector, image: object) -> None:
    with pytest.raises(ValueError, match="uint8"):
        detector.detect(image)


def test_scores_differ_by_class(detector: Detector, root: Path) -> None:
    images = [root / "JPEGImages" / f"{name}.png" for name in ("t", "u")]
    scores = {"cat": 0.05, "default": 0.999}
    found = detector.detect(images, score=scores)
    plain = detector.detect(images, score=0.05)
    for one, every in zip(found, plain, strict=True):
        limits = torch.tensor([scores.get(name, 0.999) for name in every["names"]])
        torch.testing.assert_close(one["scores"], every["scores"][every["scores"] > limits])
    assert "cat" in found[0]["names"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"score": 1.5}, r"score=1\.5: give a number from 0 to below 1"),
        ({"score": {"cow": 0.5, "default": 0.2}}, "unknown class 'cow'; the classes are cat, dog"),
        ({"score": {"cat": 0.5}}, "says nothing of dog; add default"),
        ({"score": {"cat": "x", "dog": 0.1}}, "score of cat=x"),
        ({"iou_threshold": -1}, "iou_threshold=-1"),
        ({"nms": "soft"}, "nms=soft: give per_class or agnostic"),
        ({"tiles": 4}, "tiles=4: give pixels"),
        ({"tiles": 64, "tile_overlap": 0}, "tile_overlap=0"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_an_option_that_cannot_work_says_what_could(
    detector: Detector, cat: Path, options: dict, why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        detector.detect(cat, **options)


def test_a_mirrored_picture_has_the_mirrored_boxes_with_flip(detector: Detector, cat: Path) -> None:
    image = pixels(cat)
    found, mirrored = detector.detect([image, image[:, ::-1]], score=0.05, flip=True)
    turned = mirrored["boxes"][:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1])
    torch.testing.assert_close(found["scores"], mirrored["scores"], atol=1e-4, rtol=0)
    turned += torch.tensor([60, 0, 60, 0])
    torch.testing.assert_close(found["boxes"], turned, atol=1e-2, rtol=0)
    assert not torch.equal(found["scores"], detector.detect(image, score=0.05)["scores"])


def test_tiles_find_in_a_large_picture_what_its_parts_hold(detector: Detector, root: Path) -> None:
    parts = [pixels(root / "JPEGImages" / f"{name}.png") for name in ("t", "u")]
    gray = np.full((40, 20, 3), 100, np.uint8)
    mosaic = np.concatenate([parts[0], gray, parts[1]], axis=1)
    options = {"tiles": 60, "tile_overlap": 0.3, "tile_whole": False, "score": 0.5}
    found = detector.detect(mosaic, **options)
    assert sorted(found["names"]) == ["cat", "dog"]
    alone = [detector.detect(part)["boxes"][0] for part in parts]
    expected = {"cat": alone[0], "dog": alone[1] + torch.tensor([80, 0, 80, 0])}
    for name, box in zip(found["names"], found["boxes"], strict=True):
        torch.testing.assert_close(box, expected[name])


def test_a_picture_smaller_than_a_tile_is_seen_as_without_tiles(
    detector: Detector, cat: Path
) -> None:
    found, plain = detector.detect(cat, tiles=64), detector.detect(cat)
    assert torch.equal(found["boxes"], plain["boxes"])


def test_torchmetrics_takes_the_answer_as_it_is(detector: Detector, cat: Path) -> None:
    metric = MeanAveragePrecision()
    found = detector.detect([cat], score=None)
    truth = {"boxes": torch.tensor([[7.0, 4, 32, 34]]), "labels": torch.tensor([1])}
    metric.update(found, [truth])
    assert metric.compute()["map_50"] == pytest.approx(1, abs=1e-4)


def test_the_answer_may_be_changed(detector: Detector, cat: Path) -> None:
    found = detector.detect(cat)
    found["boxes"] += 1
    found["scores"].mul_(2)


def test_python_and_the_command_line_have_the_same_defaults() -> None:
    command = OmegaConf.load(ROOT / "conf" / "predict.yaml")
    for function in (Detector.detect, ssd.load):
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                assert command[name] == parameter.default, name


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds neither"):
        ssd.load(tmp_path)
    with pytest.raises((ValueError, OSError), match=r"missing\.ckpt"):
        ssd.load(tmp_path / "missing.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.ckpt"):
        ssd.load(tmp_path / "text.ckpt")
