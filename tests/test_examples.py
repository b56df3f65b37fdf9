"""Callbacks in real runs of a tiny detector: pictures of images with boxes."""

from pathlib import Path

import pytest
from hydra.utils import instantiate
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from test_config import composed
from tiny import Painter, Tiny, fit
from voc import write_voc

from ssd.callbacks.augmented import ExampleAugmentations
from ssd.callbacks.examples import ExampleDetections
from ssd.callbacks.final_validation import ValidateAtEnd
from ssd.datamodule import DetectionDataModule


def data_module(root: Path, augmentation: str) -> DetectionDataModule:
    images = {f"image{i:02d}": [("dog", 11, 6, 20 + i, 25)] for i in range(6)}
    write_voc(root, {"train": images, "val": {"v": [("cat", 1, 1, 20, 20)]}})
    overrides = [f"data.root={root}", "data.test_split=null", "data.batch_size=2"]
    cfg = composed("train", ["data=voc", f"augmentation={augmentation}", *overrides])
    return instantiate(
        cfg.data,
        augmentation=instantiate(cfg.augmentation, _convert_="all"),
        image_size=(32, 32),
        seed=0,
        num_workers=0,
        _convert_="all",
    )


def test_examples_of_the_newest_validations_are_kept(tmp_path: Path) -> None:
    examples = ExampleDetections(tmp_path, count=3, keep=2, score=0.3)
    logger = TensorBoardLogger(tmp_path, name="tb")
    fit(Tiny(), examples, ValidateAtEnd(), max_steps=10, logger=logger)
    names = sorted(path.name for path in (tmp_path / "examples").iterdir())
    assert names == ["step_000008.png", "step_000010.png"]
    width, height = Image.open(tmp_path / "examples" / names[0]).size
    assert width > 4 * 480
    assert height > 2 * 320
    assert b"examples" in next((tmp_path / "tb").rglob("events*")).read_bytes()


def test_training_images_are_drawn_beside_their_augmented_versions(tmp_path: Path) -> None:
    data, logger = data_module(tmp_path, "ssd"), TensorBoardLogger(tmp_path, name="tb")
    augmented = ExampleAugmentations(tmp_path, count=2, draws=3)
    fit(Painter(), augmented, datamodule=data, max_steps=2, logger=logger)
    width, height = Image.open(tmp_path / "examples" / "augmented.png").size
    assert width > 4 * 480 > height > 2 * 480
    assert b"augmented" in next((tmp_path / "tb").rglob("events*")).read_bytes()


@pytest.mark.parametrize(("augmentation", "versions"), [("none", 1), ("ssd", 4)])
def test_the_versions_differ_where_there_is_an_augmentation(
    tmp_path: Path, augmentation: str, versions: int
) -> None:
    callback = ExampleAugmentations(tmp_path, count=1, draws=3)
    dataset = data_module(tmp_path, augmentation).dataset("train", training=True)
    row = callback.row(dataset, 0, ["cat", "dog"])
    assert len({tile.tobytes() for tile in row}) == versions


def test_fewer_images_than_asked_for_are_all_drawn(tmp_path: Path) -> None:
    augmented = ExampleAugmentations(tmp_path, count=100, draws=1)
    fit(Painter(), augmented, datamodule=data_module(tmp_path, "none"), max_steps=2)
    assert Image.open(tmp_path / "examples" / "augmented.png").height > 6 * 480
