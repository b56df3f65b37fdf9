"""Numbers in comments are cases of a list of bad inputs that every reader of COCO files meets."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from coco import (
    HEIGHT,
    WIDTH,
    Change,
    content,
    on_annotation,
    on_category,
    on_image,
    read,
    write_coco,
    write_images,
    write_text,
)
from PIL import Image
from voc import POLICIES, collected, names

from ssd.data.checks import Report
from ssd.data.columns import to_annotations
from ssd.data.dataset import DetectionDataset


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
        (on_category(name="a\u00adb"), "categories[0]: name is 'a\\xadb', not one line of at most"),
        (on_category(name="x" * 201), "not one line of at most 200 visible characters"),
        (on_image(file_name="a\u2028b.png"), r"image 3: file_name is 'a\u2028b.png', not a text"),
    ],
)
def test_a_bad_record_is_named_with_its_field(tmp_path: Path, change: Change, message: str) -> None:
    root = write_coco(tmp_path, change)
    path = root / "annotations" / "instances_train.json"  # in full: data sets are read together
    message = f"^{re.escape(str(path))}: .*{re.escape(message)}"
    with pytest.raises(ValueError, match=message) as error:
        read(root)
    assert "\n" not in str(error.value)
    assert collected(root, format="coco")[1][0].kind == "bad_annotation"


def test_a_number_beyond_all_is_no_box(tmp_path: Path) -> None:  # 72
    text = json.dumps(content()).replace("15.25", "1e999")
    with pytest.raises(ValueError, match=r"annotation 11: bbox is .*inf"):
        read(write_text(tmp_path, text))


def test_a_reader_that_collects_goes_on_after_faults(tmp_path: Path) -> None:
    def change(all: dict[str, Any]) -> None:
        all["images"][0]["width"] = HEIGHT
        all["annotations"][0]["category_id"] = 5
        all["annotations"].append({})

    records, faults = collected(write_coco(tmp_path, change), format="coco")
    assert sorted(fault.kind for fault in faults) == [
        "bad_annotation",
        "size_mismatch",
        "unknown_class",
    ]
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
    with pytest.raises(ValueError, match=r"of image 3: no width or height \(bbox \[9, 9, .*\]\)"):
        read(root, bad_box="raise")
    records, faults = collected(root, format="coco")
    assert [fault.kind for fault in faults] == ["bad_box"]
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
    assert "1 images have boxes of before EXIF turns them" in caplog.text


def test_images_that_no_annotation_names_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_coco(tmp_path)
    write_images(root / "train", "c.png", "d.png")
    assert read(root).ids == ["train/b.png", "train/a.png"]
    assert "2 images have no annotation and are left out" in caplog.text


def test_images_in_a_folder_of_all_splits_may_be_of_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_coco(tmp_path, on_image(file_name="c.png"))
    write_images(root / "images", "a.png", "b.png", "c.png")
    shutil.rmtree(root / "train")
    assert len(read(root).ids) == 2
    assert not caplog.text
