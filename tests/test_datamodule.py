from pathlib import Path

import pytest
import pytorch_lightning as pl
from test_transforms import SETTINGS
from voc import POLICIES, annotation, write_annotation, write_voc

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
    "timeout": 60,
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


def all_ids(data: DetectionDataModule) -> dict[str, list[str]]:
    return {stage: ids(data, stage) for stage in ("train", "val", "test")}


def test_classes_come_from_the_data_in_alphabetical_order(root: Path) -> None:
    assert data_module(root).classes == ["cat", "dog"]


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
    own = [f"0/{id}" for id in IDS] + [f"1/{id}" for id in (*IDS[:3], "v")]
    assert sorted(ids(data, "train") + ids(data, "val")) == sorted(own)
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


def test_a_data_set_that_is_given_twice_is_an_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    for path in (root, tmp_path / "link"):
        with pytest.raises(
            ConfigError, match=r"data\.more: .* both have .*image\d+\.png for train"
        ):
            all_ids(data_module(root, more=[{"root": str(path), "test_split": None}]))


@pytest.mark.parametrize("name", ["background", "Background", "__background__"])
def test_a_class_of_the_data_that_is_called_background_is_an_error(root: Path, name: str) -> None:
    write_annotation(root, "t", annotation([DOG, (name, 1, 1, 9, 9)]))
    with pytest.raises(ValueError, match=rf"a class '{name}', but .*'data\.rename={{{name}: other"):
        ids(data_module(root), "train")
    assert data_module(root, rename={name: "wall"}).classes == ["dog", "wall"]
    assert ids(data_module(root, classes=["dog"], unknown_class="drop"), "test")
    with pytest.raises(ValueError, match=rf"a class '{name}'"):
        ids(data_module(root, rename={name: "wall", "dog": name}), "train")


def test_a_rename_of_a_class_that_no_file_knows_is_an_error(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown class 'cats', did you mean cat\? .*cat, dog"):
        ids(data_module(root, rename={"cats": "animal"}), "train")
    other = write_voc(tmp_path / "other", {"train": {"z": [DOG]}, "test": {}})
    more = {"root": str(other), "val_split": None, "test_split": None}
    merged = data_module(root, rename={"cat": "animal"}, more=[more])
    assert merged.classes == ["animal", "dog"]
    with pytest.raises(ConfigError, match=r"data\.rename of .*other: unknown class 'cat'; .* dog$"):
        ids(data_module(root, more=[{**more, "rename": {"cat": "animal"}}]), "train")


def test_a_class_that_is_a_number_is_renamed(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"train": {"a": [], "b": []}})
    write_annotation(root, "a", annotation([("1", 1, 1, 9, 9)]))
    data = data_module(root, rename={1: "one"}, val_split=None, test_split=None)
    assert data.classes == ["one"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rename": 5}, r"data\.rename=5: give each name and what it becomes"),
        ({"rename": ["cat"]}, r"data\.rename=\['cat'\]: give each name"),
        (
            {"rename": {"cat": 1}},
            r"data\.rename={'cat': 1}: 1 is no text but int; put it in quotes",
        ),
        ({"classes": [1, "no"]}, r"data\.classes=\[1, 'no'\]: 1 is no text but int; put it in qu"),
        ({"classes": ["cat", False]}, r"False is no text but bool; put it in quotes"),
        ({"classes": 5}, r"data\.classes=5: give names"),
        ({"classes": {"cat": 1}}, r"data\.classes={'cat': 1}: give names"),
        ({"more": ["other"]}, r"data\.more=\['other'\]: give each as {root: DIR}, not other"),
        ({"more": "other"}, r"data\.more=other: give a list"),
        ({"more": None}, r"data\.more=None: give a list"),
        ({"more": [{"root": 5}]}, r"data\.root=5: is no text; put it in quotes"),
        ({"more": [{"root": "x", "rename": 5}]}, r"data\.rename=5: give each name"),
        ({"more": [{"root": "x", 1: 2}]}, r"1 is not known; give root"),
        ({"train_split": 2007}, r"data\.train_split=2007: 2007 is no text but int; put it in q"),
        ({"test_split": ["a", 1]}, r"data\.test_split=\['a', 1\]: 1 is no text"),
        ({"format": ["voc"]}, r"data\.format=\['voc'\]: is no text"),
    ],
)
def test_a_value_of_another_kind_is_an_error_of_one_line(
    root: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        data_module(root, **changes)
