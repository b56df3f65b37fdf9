"""Where COCO's files and their images lie; 88 is a case of a list of bad inputs."""

import json
import os
from pathlib import Path

import pytest
from coco import content, on_image, read, write_coco, write_images
from test_datamodule import data_module
from voc import names, read_records

from ssd.data.coco.reader import recognises, splits
from ssd.data.columns import ALL
from ssd.data.formats import AUTO, format_of


@pytest.mark.parametrize(
    ("file", "images", "split"),
    [
        ("annotations/instances_train2017.json", "train2017", "train2017"),
        ("annotations/instances_train2017.json", "images/train2017", "train2017"),
        ("annotations/train.json", "images", "train"),
        ("annotations/train_annotations.json", "train", "train"),
        ("train.json", "train/images", "train"),
        ("valid/_annotations.coco.json", "valid", "valid"),
        ("train/labels.json", "train/data", "train"),
        ("annotations/instances_default.json", "images/default", ALL),
        ("result.json", "images", ALL),
        ("annotations.json", ".", ALL),
    ],
)
def test_files_are_found_where_people_have_them(
    tmp_path: Path, file: str, images: str, split: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content()))
    write_images(tmp_path / images, "a.png", "b.png")
    assert format_of(tmp_path, AUTO) == "coco"
    assert splits(tmp_path) == [name for name in [split] if name != ALL]
    assert len(read_records(tmp_path, split, "coco").boxes) == 3


def test_splits_are_recognised_by_what_people_call_them(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write_images(tmp_path / split, "a.png", "b.png")
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(content()))
    automatic = dict.fromkeys(("format", "train_split", "val_split", "test_split"), AUTO)
    data = data_module(tmp_path, **automatic)
    for stage, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        assert data.annotations[stage].ids == [f"{folder}/b.png", f"{folder}/a.png"]


def test_captions_and_results_are_no_splits(tmp_path: Path) -> None:
    write_coco(tmp_path)
    (tmp_path / "annotations" / "captions_train.json").write_text('{"images": []}')
    (tmp_path / "predictions.json").write_text("[]")
    assert splits(tmp_path) == ["train"]


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.json")
    assert splits(tmp_path) == []


def test_json_of_other_kinds_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"name": "x", "files": []}')
    (tmp_path / "map.json").write_text('{"type": "FeatureCollection", "features": []}')
    (tmp_path / "results.json").write_text('[{"image_id": 1}]')
    assert not recognises(tmp_path)


def test_a_missing_split_shows_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no annotations of the split test; there are train$"):
        read_records(write_coco(tmp_path), "test", "coco")


def test_two_files_of_one_split_are_an_error(tmp_path: Path) -> None:
    for name in ("train.json", "train_annotations.json"):
        (tmp_path / name).write_text(json.dumps(content()))
    with pytest.raises(ValueError, match=r"several files are the split train: train.json, train_"):
        read(tmp_path)


def test_splits_that_count_their_images_alike_do_not_leak(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_images(tmp_path / split, "a.png", "b.png")
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(content()))
    assert len(set(read_records(tmp_path, ["train", "valid"], "coco").ids)) == 4
    records = read_records(tmp_path, ALL, "coco")
    assert records.starts.tolist() == [0, 1, 3, 4, 6]
    assert names(records) == ["dog", "cat", "dog"] * 2


def test_a_picture_in_two_splits_has_one_id(tmp_path: Path) -> None:
    write_images(tmp_path / "images", "a.png", "b.png")
    for split in ("train", "val"):
        (tmp_path / f"{split}.json").write_text(json.dumps(content()))
    with pytest.raises(ValueError, match=r"image images/b\.png is listed twice"):
        read_records(tmp_path, ["train", "val"], "coco")


@pytest.mark.parametrize(
    "name",
    ["../a.png", "train/../../a.png", "/etc/passwd", "C:\\a.png", "..\\a.png", "http://x/a.png"],
)
def test_an_image_outside_the_data_folder_is_refused(tmp_path: Path, name: str) -> None:  # 88
    write_images(tmp_path, "a.png")
    root = write_coco(tmp_path / "root", on_image(file_name=name))
    with pytest.raises(ValueError, match=r"json: image 3: file_name: .* leaves the data folder"):
        read(root, bad_image="drop")


@pytest.mark.parametrize("name", ["train/a.png", "train\\a.png", "./a.png"])
def test_an_image_may_be_named_with_folders(tmp_path: Path, name: str) -> None:
    records = read(write_coco(tmp_path, on_image(file_name=name)))
    assert records.ids == ["train/b.png", "train/a.png"]


def test_a_missing_image_is_as_the_policy_has_it(tmp_path: Path) -> None:
    root = write_coco(tmp_path, on_image(file_name="c.png"))
    with pytest.raises(ValueError, match=r"image 3: no file 'c\.png' in .*data\.bad_image=drop"):
        read(root)
    records = read(root, bad_image="drop")
    assert records.ids == ["train/b.png"]
    assert names(records) == ["dog"]
