from pathlib import Path

import pytest
import pytorch_lightning as pl
from test_transforms import SETTINGS
from voc import POLICIES, write_split, write_voc

from ssd.data.transforms import Augmentation
from ssd.datamodule import DetectionDataModule
from ssd.errors import ConfigError

DOG, CAT = ("dog", 11, 6, 20, 15), ("cat", 1, 1, 9, 9)
IDS = [f"image{i:02d}" for i in range(40)]
DEFAULTS = {
    "prepare": None,
    "download": False,
    "train_split": "train",
    "val_split": "auto",
    "test_split": "test",
    "format": "voc",
    "more": [],
    "classes": None,
    "rename": None,
    "first_pixel": None,
    **POLICIES,
    "train_difficult": True,
    "batch_size": 4,
    "num_workers": 0,
    "image_size": (32, 32),
    "seed": 0,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    images = {id: [DOG] for id in IDS}
    return write_voc(tmp_path / "voc", {"train": images, "test": {"t": [CAT], "u": []}})


def data_module(
    root: Path, devices: int = 1, parts: int = 1, **changes: object
) -> DetectionDataModule:
    data = DetectionDataModule(
        str(root), augmentation=Augmentation(**SETTINGS), **{**DEFAULTS, **changes}
    )
    data.trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        accumulate_grad_batches=parts,
        logger=False,
        enable_checkpointing=False,
    )
    return data


def ids(data: DetectionDataModule, stage: str) -> list[str]:
    return list(data.annotations[stage].ids)


def test_classes_come_from_the_data_in_alphabetical_order(root: Path) -> None:
    assert data_module(root).classes == ["cat", "dog"]


def test_without_a_val_split_a_tenth_of_each_class_is_held_out(root: Path) -> None:
    images = {f"cat{i:02d}": [CAT] for i in range(20)} | {id: [DOG] for id in IDS}
    data = data_module(write_voc(root, {"train": images}))
    held_out = ids(data, "val")
    assert sorted(ids(data, "train") + held_out) == sorted(images)
    assert sum(id.startswith("cat") for id in held_out) == 2
    assert len(held_out) == 6


def test_what_is_held_out_does_not_depend_on_the_order_of_the_files(root: Path) -> None:
    before = set(ids(data_module(root), "val"))
    write_split(root, "train", IDS[::-1])
    assert set(ids(data_module(root), "val")) == before


def test_splits_that_are_made_are_written_beside_the_run(root: Path, tmp_path: Path) -> None:
    data = data_module(root)
    expected = ids(data, "val")
    data.write_splits(tmp_path / "run")
    assert (tmp_path / "run/splits/val.txt").read_text().split() == expected
    given = data_module(write_voc(root, {"val": {"v": [DOG]}}))
    assert ids(given, "val") == ["v"]
    given.write_splits(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_val_split_validates_where_it_exists(root: Path) -> None:
    write_voc(root, {"val": {"v": [DOG]}})
    assert ids(data_module(root), "val") == ["v"]


def test_a_val_split_that_is_part_of_training_is_not_taken_by_itself(root: Path) -> None:
    write_split(root, "val", IDS[:5])
    assert sorted(ids(data_module(root), "val")) != IDS[:5]
    assert len(ids(data_module(root), "val")) == 4


def test_what_is_wrong_in_a_val_split_that_is_part_of_training_counts_once(root: Path) -> None:
    over = {IDS[0]: [("dog", 11, 6, 70, 15)]}
    data = data_module(write_voc(root, {"val": over}))
    assert len(ids(data, "val")) == 4
    assert (list(data.report.notes.values()), data.report.boxes) == ([1], 41)


def test_a_val_split_that_is_the_test_is_not_taken_by_itself(root: Path) -> None:
    data = data_module(write_voc(root, {"val": {"v": [DOG]}}), test_split="val")
    assert ids(data, "test") == ["v"]
    assert len(ids(data, "val")) == 4


def test_a_given_val_split_must_not_share_images_with_training(root: Path) -> None:
    write_split(root, "val", IDS[:5])
    with pytest.raises(ValueError, match=r"5 images are in two splits.*image00"):
        ids(data_module(root, val_split="val"), "train")


def test_the_test_split_must_not_share_images_with_training(root: Path) -> None:
    write_split(root, "test", IDS[:1])
    with pytest.raises(ValueError, match="1 images are in two splits"):
        ids(data_module(root), "train")


def test_no_validation_on_request(root: Path) -> None:
    data = data_module(root, val_split=None)
    assert ids(data, "train") == IDS
    assert data.val_dataloader() == []


def test_the_batch_size_is_that_of_a_step_over_all_accumulated_parts(root: Path) -> None:
    assert data_module(root, parts=2).train_dataloader().batch_size == 2


def test_a_batch_that_does_not_divide_is_an_error(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"batch_size=4 does not divide by 1 devices x 3"):
        data_module(root, parts=3).train_dataloader()


def test_a_split_smaller_than_a_batch_is_an_error_that_names_both(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"batch_size=64 is more than the \d+ images of .*=train"):
        data_module(root, batch_size=64).train_dataloader()


def test_batches_do_not_depend_on_the_number_of_workers(root: Path) -> None:
    plain = next(iter(data_module(root).train_dataloader()))
    worked = next(iter(data_module(root, num_workers=2).train_dataloader()))
    assert all((plain[key] == worked[key]).all() for key in plain)


def test_a_stopped_loader_goes_on_with_the_next_batch(root: Path) -> None:
    loader, resumed = (data_module(root).train_dataloader() for _ in range(2))
    batches = [batch["indices"].tolist() for batch in loader]
    iterator = iter(loader)
    next(iterator), next(iterator)
    resumed.load_state_dict(loader.state_dict())
    assert [batch["indices"].tolist() for batch in resumed] == batches[2:]


def test_images_are_drawn_before_they_are_read(root: Path) -> None:
    asked = []
    data_module(root, prepare=asked.append).prepare_data()
    assert asked == [root]


def test_a_download_needs_a_folder_of_voc(root: Path) -> None:
    with pytest.raises(ConfigError, match="its last folder must be called VOCdevkit"):
        data_module(root, download=True).prepare_data()


def test_a_download_knows_the_years_of_voc(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="knows VOC2007, VOC2012, not train"):
        data_module(tmp_path / "VOCdevkit", download=True).prepare_data()


def test_an_existing_voc_is_not_downloaded_again(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit"
    write_voc(root / "VOC2007", {"trainval": {"a": [DOG]}, "test": {"b": [DOG]}})
    splits = {"train_split": "VOC2007/trainval", "test_split": "VOC2007/test"}
    data_module(root, download=True, **splits).prepare_data()


def test_several_data_sets_are_one(root: Path, tmp_path: Path) -> None:
    images = {id: [CAT] for id in IDS[:3]}
    other = write_voc(tmp_path / "other", {"train": images, "test": {"t": [DOG]}, "val": {"v": []}})
    data = data_module(root, more=[{"root": str(other), "val_split": "val"}])
    assert len(ids(data, "train")) == 36 + 3
    assert ids(data, "test") == ["0/t", "0/u", "1/t"]
    assert ids(data, "val")[-1] == "1/v"
    assert data.classes == ["cat", "dog"]


def test_a_further_data_set_needs_a_root_and_known_fields(root: Path) -> None:
    with pytest.raises(ConfigError, match="root is missing"):
        data_module(root, more=[{"format": "voc"}])
    with pytest.raises(ConfigError, match="splits is not known"):
        data_module(root, more=[{"root": "x", "splits": 1}])


def test_each_data_set_has_its_own_first_pixel(root: Path, tmp_path: Path) -> None:
    other = write_voc(tmp_path / "other", {"train": {"z": [DOG]}, "test": {}})
    more = [{"root": str(other), "test_split": None, "val_split": None, "first_pixel": 0}]
    boxes = data_module(root, val_split=None, more=more).annotations["train"].boxes
    assert boxes[0].tolist() == [10, 5, 20, 15]
    assert boxes[-1].tolist() == [11, 6, 20, 15]


@pytest.mark.parametrize("value", [2, "abc", True, 0.5])
def test_a_first_pixel_is_0_or_1(root: Path, value: object) -> None:
    message = rf"data\.first_pixel={value}: give null for the format's own way, 0, or 1"
    with pytest.raises(ConfigError, match=message):
        data_module(root, first_pixel=value)
    with pytest.raises(ConfigError, match=message):
        data_module(root, more=[{"root": "x", "first_pixel": value}])


def test_where_every_image_is_left_out_the_first_fault_is_the_error(root: Path) -> None:
    for path in (root / "JPEGImages").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"image00\.png: the file is empty"):
        ids(data_module(root, bad_image="drop"), "train")


def test_classes_are_renamed_merged_and_selected(root: Path) -> None:
    data = data_module(root, rename={"cat": "animal", "dog": "animal"})
    assert data.classes == ["animal"]
    selected = data_module(root, classes=["cat"], unknown_class="drop")
    assert len(selected.annotations["train"].labels) == 0
    assert selected.annotations["test"].labels.tolist() == [1]
    assert len(selected.annotations["test"].ids) == 2


def test_classes_come_from_a_file_of_names(root: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("dog\n\ncat\n")
    assert data_module(root, classes=str(tmp_path / "names.txt")).classes == ["dog", "cat"]
    with pytest.raises(ConfigError, match="or a text file with one a line"):
        data_module(root, classes=str(tmp_path / "none.txt"))


def test_auto_takes_the_splits_that_are_called_so_and_makes_the_others(root: Path) -> None:
    splits = {"train_split": "auto", "val_split": "auto", "test_split": "auto"}
    data = data_module(root, **splits)
    assert (ids(data, "test"), len(ids(data, "val")), data.made) == (["t", "u"], 4, ["val"])
    for file in (root / "ImageSets" / "Main").iterdir():
        file.unlink()
    data = data_module(root, **splits)
    parts = [ids(data, stage) for stage in ("train", "val", "test")]
    assert sorted(id for part in parts for id in part) == sorted([*IDS, "t", "u"])
    assert data.made == ["test", "val"]
