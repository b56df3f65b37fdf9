"""Numbers in comments are cases of a list of bad inputs that every reader of COCO files meets."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from test_datamodule import data_module
from voc import POLICIES, names, read_records

from ssd.data.checks import Report
from ssd.data.coco import reader as coco
from ssd.data.columns import ALL, Columns, Records, to_annotations
from ssd.data.dataset import DetectionDataset
from ssd.data.formats import AUTO, format_of

WIDTH, HEIGHT = 60, 40
Change = Callable[[dict[str, Any]], object]


def content() -> dict[str, Any]:
    """Two images with three objects, in an order of their own."""
    return {
        "info": {},
        "images": [
            {"id": 7, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
            {"id": 3, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": [
            {"id": 11, "image_id": 3, "category_id": 90, "bbox": [10.5, 5, 20, 15.25]},
            {"id": 12, "image_id": 7, "category_id": 2, "bbox": [0, 0, 60, 40], "iscrowd": 0},
            {"id": 13, "image_id": 3, "category_id": 2, "bbox": [1, 2, 3, 4], "iscrowd": 0},
        ],
        "categories": [{"id": 90, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def write_images(folder: Path, *files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        cv2.imwrite(str(folder / file), np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def write_text(root: Path, text: str) -> Path:
    """A data set with a split of this JSON."""
    write_images(root / "train", "a.png", "b.png")
    path = root / "annotations" / "instances_train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return root


def write_coco(root: Path, change: Change = lambda _: None) -> Path:
    """A data set with a split of `content`, changed."""
    changed = content()
    change(changed)
    return write_text(root, json.dumps(changed))


def read(root: Path, **policies: str) -> Records:
    return read_records(root, format="coco", **policies)


def collected(root: Path) -> tuple[Records, list[str]]:
    """A split and its faults, all of them, as the doctor reads it."""
    report, columns = Report(POLICIES, collect=True), Columns()
    coco.read(root, "train", report, columns)
    return columns.close(), [fault.kind for fault in report.faults]


def test_boxes_are_those_of_the_file_image_by_image(tmp_path: Path) -> None:
    records = read(write_coco(tmp_path))
    assert records.ids == ["train/b.png", "train/a.png"]
    assert records.files == [str(tmp_path / id) for id in records.ids]
    assert records.starts.tolist() == [0, 1, 3]
    assert records.boxes.tolist() == [[0, 0, 60, 40], [10.5, 5, 30.5, 20.25], [1, 2, 4, 6]]
    assert names(records) == ["dog", "cat", "dog"]
    assert records.sizes.tolist() == [[WIDTH, HEIGHT]] * 2


def test_categories_may_have_any_numbers_in_any_order(tmp_path: Path) -> None:  # 80
    records = read(write_coco(tmp_path))
    annotations = to_annotations(records, ["dog", "cat"], Report(POLICIES))
    assert annotations.labels.tolist() == [1, 2, 1]


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
    assert coco.splits(tmp_path) == [name for name in [split] if name != ALL]
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
    assert coco.splits(tmp_path) == ["train"]


def test_json_of_other_kinds_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"name": "x", "files": []}')
    (tmp_path / "map.json").write_text('{"type": "FeatureCollection", "features": []}')
    (tmp_path / "results.json").write_text('[{"image_id": 1}]')
    assert not coco.recognises(tmp_path)


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
    ("text", "message"),
    [
        ("", "the file is cut off|must stand here"),  # 68
        (json.dumps(content())[:200], r"cut off.*at character \d+"),  # 68
        (json.dumps(content())[:-1], r"cut off, at character \d+"),  # 68
        (json.dumps(content()) + "{}", "more text after its end, at character"),
        ("<html></html>", "not JSON: { must stand here, not '<', at character 1"),
        ("[]", "is a list, not an object that holds images, annotations, categories"),  # 69
        ('{"images": [], "images": []}', "the key 'images' is there twice"),  # 71
        ('{"images": [{"id": 1, "id": 2}]}', r"images\[0\]: the key 'id' is there twice"),  # 71
        ('{"annotations": [{"bbox": [NaN]}]}', r"annotations\[0\]: NaN is no number of JSON"),  # 72
        ('{"info": [1, -Infinity]}', "info: -Infinity is no number of JSON"),  # 72
        ('{"images": [{"id": ' + "9" * 5000 + "}]}", r"images\[0\]: Exceeds the limit"),  # 73
        ('{"info": ' + "[" * 100_000, "info: brackets too deep in each other"),  # 74
        ('{"images": {}}', "images is not a list"),
        ('{"images": [], "annotations": [], "categories": []}', "names no images"),
        ("{'images': []}", "a key must stand here"),
        ('{"images": [,]}', "not JSON.*at character 13"),
        ("{}", "has no annotations, categories, images"),  # 70
    ],
)
def test_what_is_no_coco_file_is_one_line_with_the_place(
    tmp_path: Path, text: str, message: str
) -> None:
    write_text(tmp_path, text)
    with pytest.raises(ValueError, match=rf"instances_train\.json: .*({message})") as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_each_list_must_be_there(tmp_path: Path, key: str) -> None:  # 70
    with pytest.raises(ValueError, match=rf"instances_train\.json: has no {key};"):
        read(write_coco(tmp_path, lambda all: all.pop(key)))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    path = write_coco(tmp_path) / "annotations" / "instances_train.json"
    path.write_text(json.dumps(content()), encoding=encoding)
    assert len(read(tmp_path).boxes) == 3


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    write_coco(tmp_path)
    (tmp_path / "annotations" / "instances_train.json").write_bytes(b'{"images": "\xff"}')
    with pytest.raises(ValueError, match=r"json: not JSON \(not text in utf-8\)"):
        read(tmp_path)


def on_image(**fields: object) -> Change:
    return lambda all: all["images"][1].update(fields)


def on_annotation(**fields: object) -> Change:
    return lambda all: all["annotations"][0].update(fields)


def on_category(**fields: object) -> Change:
    return lambda all: all["categories"][0].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (on_image(id=7), "image 7: its id is there twice"),  # 75
        (on_image(id=None), r"images[1]: id is None, not a whole number of 64 bits or a text"),
        (on_image(id=True), r"images[1]: id is True, not"),
        (on_image(file_name=5), "image 3: file_name is 5, not a text"),
        (on_image(file_name="b.png"), "image 3: has the file of image 7"),
        (on_image(width="60"), "image 3: width is '60', not a number"),
        (lambda all: all["images"][1].pop("file_name"), "image 3: has no file_name"),
        (lambda all: all["images"].append(5), "images[2]: is 5, not an object"),
        (on_annotation(id=12), "annotation 12 of image 7: its id is there twice"),  # 76
        (on_annotation(id="x"), "annotation x: id is 'x', not a whole number"),
        (on_annotation(id=10**30), "annotations[0]: id is 1000000000000000000000000000000"),
        (on_annotation(image_id=4), "annotation 11 of image 4: image_id is not among"),  # 78
        (on_annotation(image_id=3.0), "annotation 11: image_id is 3.0, not a whole"),
        (on_annotation(bbox=[1, 2, 3]), "annotation 11: bbox is [1, 2, 3], not [x, y"),  # 82
        (on_annotation(bbox=[1, 2, 3, 4, 5]), "annotation 11: bbox is [1, 2, 3, 4, 5]"),  # 82
        (on_annotation(bbox=["1", 2, 3, 4]), "annotation 11: bbox is ['1', 2, 3, 4]"),  # 84
        (on_annotation(bbox=[[1], 2, 3, 4]), "annotation 11: bbox is [[1], 2, 3, 4]"),
        (on_annotation(bbox=None), "annotation 11: bbox is None, not [x, y"),  # 85
        (on_annotation(bbox=[1, 2, 3, 10**30]), "which no image holds"),  # 73
        (on_annotation(iscrowd="no"), "annotation 11: iscrowd is 'no', not 0 or 1"),
        (lambda all: all["annotations"][0].pop("bbox"), "annotation 11: has no bbox"),
        (lambda all: all["annotations"].append([]), "annotations[3]: is [], not an object"),
        (on_category(id=2), "category 2 (dog): its id is there twice"),
        (on_category(name=""), "categories[0]: name is '', not a text in one line"),
        (on_category(name="a\nb"), r"categories[0]: name is 'a\nb', not a text in one line"),
    ],
)
def test_a_bad_record_is_named_with_its_field(tmp_path: Path, change: Change, message: str) -> None:
    root = write_coco(tmp_path, change)
    message = r"annotations/instances_train\.json: " + ".*" + re.escape(message)
    with pytest.raises(ValueError, match=message) as error:
        read(root)
    assert "\n" not in str(error.value)
    assert collected(root)[1][0] == "bad_annotation"


def test_a_number_beyond_all_is_no_box(tmp_path: Path) -> None:  # 72
    text = json.dumps(content()).replace("15.25", "1e999")
    with pytest.raises(ValueError, match=r"annotation 11: bbox is .*inf"):
        read(write_text(tmp_path, text))


def test_a_reader_that_collects_goes_on_after_faults(tmp_path: Path) -> None:
    def change(all: dict[str, Any]) -> None:
        all["images"][0]["width"] = HEIGHT
        all["annotations"][0]["category_id"] = 5
        all["annotations"].append({})

    records, kinds = collected(write_coco(tmp_path, change))
    assert sorted(kinds) == ["bad_annotation", "size_mismatch", "unknown_class"]
    assert records.boxes.tolist() == [[1, 2, 4, 6]]


def test_an_annotation_may_be_number_0(tmp_path: Path) -> None:  # 77
    assert len(read(write_coco(tmp_path, on_annotation(id=0))).boxes) == 3


def test_an_unknown_category_is_as_the_policy_has_it(tmp_path: Path) -> None:  # 79
    root = write_coco(tmp_path, on_annotation(category_id=5))
    with pytest.raises(ValueError, match=r"of image 3: category_id 5 .*data\.unknown_class=drop"):
        read(root)
    assert len(read(root, unknown_class="drop").boxes) == 2


def test_category_0_is_no_background(tmp_path: Path) -> None:  # 81
    def change(all: dict[str, Any]) -> None:
        all["categories"][0]["id"] = all["annotations"][0]["category_id"] = 0

    records = read(write_coco(tmp_path, change))
    annotations = to_annotations(records, records.class_names(), Report(POLICIES))
    assert annotations.labels.tolist() == [2, 1, 2]


def test_a_category_called_background_that_nothing_has_is_no_class(tmp_path: Path) -> None:  # 81
    background = {"id": 0, "name": "background"}
    records = read(write_coco(tmp_path, lambda all: all["categories"].insert(0, background)))
    assert records.class_names() == ["cat", "dog"]


def test_two_categories_of_one_name_are_one_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = read(write_coco(tmp_path, on_category(name=" dog")))
    assert names(records) == ["dog"] * 3
    assert "1 categories have the name of another" in caplog.text


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-5, 5)])
def test_a_box_without_width_or_height_is_as_the_policy_has_it(  # 83
    tmp_path: Path, size: tuple[int, int]
) -> None:
    root = write_coco(tmp_path, on_annotation(bbox=[9, 9, *size]))
    with pytest.raises(ValueError, match=r"annotation 11 of image 3: bbox .* no width or height"):
        read(root, bad_box="raise")
    records, kinds = collected(root)
    assert kinds == ["bad_box"]
    assert names(records) == ["dog", "dog"]


def test_a_box_outside_its_image_is_faulty(tmp_path: Path) -> None:
    root = write_coco(tmp_path, on_annotation(bbox=[60, 9, 5, 5]))
    with pytest.raises(ValueError, match=r"1 of 3 boxes are faulty.*outside the 60x40 image"):
        read(root)


def test_a_box_over_the_border_is_clipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = read(write_coco(tmp_path, on_annotation(bbox=[50, -3, 20, 10])))
    assert records.boxes[1].tolist() == [50, 0, 60, 7]
    assert "1 boxes reach over their image" in caplog.text


def test_a_sum_that_is_rounded_over_the_border_is_no_fault_of_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    x, width = 29.95, 60 - 29.95 + 1e-14
    assert x + width > 60
    records = read(write_coco(tmp_path, on_annotation(bbox=[x, 0, width, 9])))
    assert records.boxes[1, 2] == 60
    assert not caplog.text


def test_without_iscrowd_an_object_is_no_crowd(tmp_path: Path) -> None:  # 86
    assert not read(write_coco(tmp_path)).crowd.any()


def test_an_image_of_a_crowd_alone_trains_nothing_and_is_ignored_in_evaluation(  # 87
    tmp_path: Path,
) -> None:
    def change(all: dict[str, Any]) -> None:
        all["annotations"][1]["iscrowd"] = 1

    records = read(write_coco(tmp_path, change))
    annotations = to_annotations(records, ["cat", "dog"], Report(POLICIES))
    trained = DetectionDataset(annotations, (32, 32), None, True, keep_crowds=False, seed=0)
    scored = DetectionDataset(annotations, (32, 32), None, True, keep_crowds=True, seed=0)
    assert len(trained.objects(0)[0]) == 0
    assert scored.objects(0)[2].tolist() == [True]


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


@pytest.mark.parametrize(
    ("one", "other"),
    [("x", "y"), (2**24, 2**24 + 1), (2**53, 2**53 + 1), (2**63 - 1, 2**63 - 2)],
)
def test_ids_of_images_may_be_texts_or_large_numbers(  # 89
    tmp_path: Path, one: int | str, other: int | str
) -> None:
    def change(all: dict[str, Any]) -> None:
        for record, id in zip(all["images"], (one, other), strict=True):
            record["id"] = id
        for record, id in zip(all["annotations"], (other, one, other), strict=True):
            record["image_id"] = id

    records = read(write_coco(tmp_path, change))
    assert records.starts.tolist() == [0, 1, 3]
    assert names(records) == ["dog", "cat", "dog"]


@pytest.mark.parametrize("size", [{}, {"width": 0, "height": 0}, {"width": None}])
def test_a_size_that_is_not_stated_is_the_images(tmp_path: Path, size: dict) -> None:  # 90
    def change(all: dict[str, Any]) -> None:
        all["images"][1] = {"id": 3, "file_name": "a.png", **size}

    assert read(write_coco(tmp_path, change)).sizes.tolist() == [[WIDTH, HEIGHT]] * 2


def test_another_size_than_the_images_is_as_the_policy_has_it(tmp_path: Path) -> None:  # 90
    root = write_coco(tmp_path, on_image(width=HEIGHT, height=WIDTH))
    with pytest.raises(ValueError, match=r"instances_train\.json: size is 40x60, but a\.png is"):
        read(root)
    assert read(root, size_mismatch="drop").ids == ["train/b.png"]


def test_boxes_of_a_photograph_as_it_is_stored_turn_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_coco(tmp_path, on_image(file_name="a.jpg"))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn to the right
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "train" / "a.jpg", exif=exif)
    records = read(root)
    assert records.sizes[1].tolist() == [HEIGHT, WIDTH]
    x, y, width, height = 10.5, 5, 20, 15.25  # its left side is the top, its bottom the left side
    assert records.boxes[1].tolist() == [HEIGHT - y - height, x, HEIGHT - y, x + width]
    assert "1 annotations are of photographs before EXIF turns them" in caplog.text


def test_a_missing_image_is_as_the_policy_has_it(tmp_path: Path) -> None:
    root = write_coco(tmp_path, on_image(file_name="c.png"))
    with pytest.raises(ValueError, match=r"image 3: no file c\.png in .*data\.bad_image=drop"):
        read(root)
    records = read(root, bad_image="drop")
    assert records.ids == ["train/b.png"]
    assert names(records) == ["dog"]


def test_a_file_is_read_alike_in_pieces_of_any_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_text(tmp_path, json.dumps(content(), indent=3))
    whole = read(root)
    for characters in (1, 2, 7):
        monkeypatch.setattr("ssd.data.coco.json_lists.CHUNK", characters)
        assert (read(root).boxes == whole.boxes).all()
