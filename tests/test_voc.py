from pathlib import Path

import pytest
import torch
from PIL import Image
from voc import (
    POLICIES,
    annotation,
    collected,
    names,
    read_records,
    write_annotation,
    write_image,
    write_split,
    write_voc,
)

from ssd.data.checks import Report
from ssd.data.columns import Records, to_annotations
from ssd.data.voc.image_sets import read_ids

CAT, DOG = ("cat", 1, 1, 60, 40), ("dog", 11, 6, 20, 15)


def one_image(root: Path, content: str) -> Path:
    write_image(root, "a")
    write_annotation(root, "a", content)
    write_split(root, "train", ["a"])
    return root


def test_boxes_become_0_based_and_half_open(tmp_path: Path) -> None:
    records = read_records(write_voc(tmp_path, {"train": {"a": [CAT, DOG]}}))
    assert records.boxes.tolist() == [[0, 0, 60, 40], [10, 5, 20, 15]]


def test_columns_hold_every_image_in_the_order_of_the_split(tmp_path: Path) -> None:
    images = {"b": [DOG], "empty": [], "a": [CAT, DOG]}
    records = read_records(write_voc(tmp_path, {"train": images}))
    columns = to_annotations(records, records.class_names(), Report(POLICIES))
    assert columns.ids == ["b", "empty", "a"]
    assert columns.starts.tolist() == [0, 1, 1, 3]
    assert columns.labels.tolist() == [2, 1, 2]
    assert columns.boxes.dtype == torch.float64
    assert columns.sizes.tolist() == [[60, 40]] * 3


@pytest.mark.parametrize(("text", "flag"), [("0", False), ("1", True), ("", False)])
def test_difficult_is_what_the_file_says(tmp_path: Path, text: str, flag: bool) -> None:
    records = read_records(one_image(tmp_path, annotation([DOG], difficult=text)))
    assert records.difficult.tolist() == [flag]


def test_a_file_without_difficult_has_none(tmp_path: Path) -> None:
    content = annotation([DOG]).replace("<difficult>0</difficult>", "")
    assert read_records(one_image(tmp_path, content)).difficult.tolist() == [False]


def test_names_keep_their_capitals(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"train": {"a": []}})
    write_annotation(root, "a", annotation([("Traffic Light", 1, 1, 9, 9)]))
    assert names(read_records(root)) == ["Traffic Light"]


def test_parts_of_an_object_are_no_objects(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    content = annotation([DOG]).replace("</object>", part)
    assert names(read_records(one_image(tmp_path, content))) == ["dog"]


def test_several_splits_join_with_their_folders(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOC2007", {"trainval": {"a": [CAT]}})
    write_voc(tmp_path / "VOC2012", {"trainval": {"b": [DOG]}})
    records = read_records(tmp_path, ["VOC2007/trainval", "VOC2012/trainval"])
    assert records.ids == ["a", "b"]


def test_an_image_listed_twice_is_an_error(tmp_path: Path) -> None:
    write_voc(tmp_path, {"train": {"a": [CAT]}, "more": {"a": [CAT]}})
    with pytest.raises(ValueError, match="image a is listed twice"):
        read_records(tmp_path, ["train", "more"])


def test_lists_may_have_crlf_empty_lines_and_the_columns_of_a_class(tmp_path: Path) -> None:
    write_split(tmp_path, "train", [])
    (tmp_path / "ImageSets/Main/train.txt").write_bytes(b"\xef\xbb\xbfa 1\r\nb -1\r\n\r\nc  0\r\n")
    assert read_ids(tmp_path, tmp_path, "train") == ["a", "c"]


@pytest.mark.parametrize(
    ("box", "why"),
    [
        (("dog", 5, 5, 5, 9), "no width or height"),
        (("dog", 9, 5, 5, 9), "no width or height"),
        (("dog", 70, 5, 80, 9), "outside the 60x40 image"),
    ],
)
def test_a_faulty_box_is_dropped_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, box: tuple, why: str
) -> None:
    good = [("dog", 1 + i % 50, 1, 10 + i % 50, 10) for i in range(1000)]
    records = read_records(one_image(tmp_path, annotation([box, *good])))
    assert len(records.boxes) == 1000
    assert f"a.xml: object 1 (dog): {why}" in caplog.text


def test_more_than_one_faulty_box_in_a_thousand_is_an_error(tmp_path: Path) -> None:
    root = one_image(tmp_path, annotation([("dog", 5, 5, 5, 9), DOG]))
    with pytest.raises(ValueError, match=r"1 of 2 boxes are faulty.*a\.xml: object 1"):
        read_records(root)


def test_a_faulty_box_can_be_an_error_at_once(tmp_path: Path) -> None:
    root = one_image(tmp_path, annotation([("dog", 5, 5, 5, 9)]))
    with pytest.raises(ValueError, match=r"a\.xml: object 1 \(dog\).*data\.bad_box=drop"):
        read_records(root, bad_box="raise")


def test_a_box_over_the_border_is_clipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = read_records(one_image(tmp_path, annotation([("dog", 51, 1, 70, 10)])))
    assert records.boxes.tolist() == [[50, 0, 60, 10]]
    assert "1 boxes reach over their image" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a\.xml: not XML"),
        ("<html></html>", r"a\.xml: root is 'html'"),
        ("<!DOCTYPE x><annotation/>", r"a\.xml: has a DOCTYPE"),
        (annotation([DOG]).replace("dog", ""), r"a\.xml: object 1: has no name"),
        (annotation([DOG]).replace("bndbox", "box"), r"a\.xml: object 1 \(dog\): has no bndbox"),
        (annotation([DOG]).replace("<xmin>11", "<xmin>eleven"), r"bndbox: xmin is 'eleven'"),
        (annotation([DOG]).replace("<xmin>11", "<xmin>nan"), r"bndbox: xmin is 'nan'"),
        (annotation([DOG], difficult="maybe"), r"object 1 \(dog\): difficult is 'maybe'"),
        (annotation([DOG], size=(40, 60)), r"a\.xml: size is 40x60, but a\.png is 60x40"),
    ],
)
def test_a_bad_annotation_names_its_file_and_field(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read_records(one_image(tmp_path, content))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere: no such folder; data\.root is where"):
        read_records(tmp_path / "nowhere")


def test_a_missing_image_set_shows_those_there_are(tmp_path: Path) -> None:
    write_voc(tmp_path, {"trainval": {"a": [CAT]}})
    with pytest.raises(ValueError, match=r"train\.txt: no such image set; there are trainval"):
        read_records(tmp_path)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    write_annotation(tmp_path, "a", annotation([DOG]))
    write_split(tmp_path, "train", ["a"])
    with pytest.raises(ValueError, match="JPEGImages: no such image: 'a'"):
        read_records(tmp_path)


def test_a_missing_annotation_is_named(tmp_path: Path) -> None:
    write_image(tmp_path, "a")
    write_split(tmp_path, "train", ["a"])
    with pytest.raises(ValueError, match="Annotations: no such annotation: 'a'"):
        read_records(tmp_path)


@pytest.mark.parametrize("classes", [["Dog", "cat"], ["dogs", "cat"]])
def test_an_unknown_class_names_the_file_and_the_class_that_was_meant(
    tmp_path: Path, classes: list[str]
) -> None:
    records = read_records(write_voc(tmp_path, {"train": {"a": [DOG]}}))
    with pytest.raises(ValueError, match=rf"a: unknown class 'dog', did you mean {classes[0]}"):
        to_annotations(records, classes, Report(POLICIES))


def test_an_id_of_two_images_is_an_error(tmp_path: Path) -> None:
    root = one_image(tmp_path, annotation([DOG]))
    (root / "JPEGImages" / "a.JPG").write_bytes((root / "JPEGImages" / "a.png").read_bytes())
    with pytest.raises(ValueError, match=r"which image is meant, a\.JPG or a\.png"):
        read_records(root)


def test_folders_may_be_links(tmp_path: Path) -> None:
    disk = one_image(tmp_path / "disk", annotation([DOG]))
    root = tmp_path / "root"
    root.mkdir()
    for folder in disk.iterdir():
        (root / folder.name).symlink_to(folder)
    assert read_records(root).ids == ["a"]


def test_links_may_lead_to_another_year_of_the_data_set(tmp_path: Path) -> None:
    one_image(tmp_path / "VOC2007", annotation([DOG]))
    one_image(tmp_path / "VOC2012", annotation([DOG]))
    path = tmp_path / "VOC2012" / "JPEGImages" / "a.png"
    path.unlink()
    path.symlink_to(tmp_path / "VOC2007" / "JPEGImages" / "a.png")
    assert read_records(tmp_path, "VOC2012/train").ids == ["a"]


def test_all_faults_are_collected_on_request(tmp_path: Path) -> None:
    bad = annotation([DOG, CAT, DOG]).replace("<xmin>11", "<xmin>x").replace("cat", "")
    write_voc(tmp_path, {"train": {"a": [], "b": [DOG], "c": []}})
    write_annotation(tmp_path, "a", bad)
    (tmp_path / "JPEGImages" / "c.png").write_bytes(b"")
    records, faults = collected(tmp_path)
    assert records.ids == ["a", "b"]
    assert [fault.kind for fault in faults] == ["bad_annotation"] * 3 + ["bad_image"]


def test_an_image_that_cannot_be_opened_can_be_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_voc(tmp_path, {"train": {"a": [DOG], "b": [DOG]}})
    (root / "JPEGImages" / "a.png").write_bytes(b"not found")
    assert read_records(root, bad_image="drop").ids == ["b"]
    assert "left out 1 images that cannot be read" in caplog.text


def test_files_that_count_from_0_have_a_cure(tmp_path: Path) -> None:
    root = one_image(tmp_path, annotation([("dog", 0, 0, 9, 9), DOG]))
    with pytest.raises(ValueError, match=r"1 of 2 boxes.*: data\.first_pixel=0 reads them so"):
        read_records(root)
    assert read_records(root, first_pixel=0).boxes.tolist() == [[0, 0, 9, 9], [11, 6, 20, 15]]


def test_a_box_is_named_by_its_place_in_the_file_whatever_precedes_it(tmp_path: Path) -> None:
    content = annotation([DOG, CAT, ("dog", 5, 5, 5, 9)]).replace("<xmin>11", "<xmin>x")
    faults = collected(one_image(tmp_path, content))[1]
    messages = [fault.message.partition(": ")[2] for fault in faults]
    assert messages[0].startswith("object 1 (dog): bndbox: xmin is 'x'")
    assert messages[1].startswith("object 3 (dog): no width or height")
    assert {fault.file for fault in faults} == {str(tmp_path / "JPEGImages" / "a.png")}


def test_a_list_that_cannot_be_read_does_not_stop_a_report_that_collects(tmp_path: Path) -> None:
    write_voc(tmp_path, {"train": {"a": [DOG]}, "val": {}})
    records, faults = collected(tmp_path, ["train", "val"])
    assert records.ids == ["a"]
    assert [fault.kind for fault in faults] == ["bad_annotation"]
    assert "val.txt: names no images" in faults[0].message


def test_boxes_of_a_turned_square_are_of_the_picture_that_is_shown(tmp_path: Path) -> None:
    root = one_image(tmp_path, annotation([DOG], size=(40, 40)))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 40)).save(root / "JPEGImages" / "a.png", exif=exif)
    assert read_records(root).boxes.tolist() == [[10, 5, 20, 15]]


def whole_folder(root: Path, images: dict[str, list], **policies: str) -> Records:
    """Without lists of images."""
    for id, boxes in images.items():
        write_image(root, id)
        write_annotation(root, id, annotation(boxes))
    return read_records(root, "all", **policies)


def test_images_without_an_annotation_are_counted_where_no_list_leaves_them_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_image(tmp_path, "b")
    assert whole_folder(tmp_path, {"a": [DOG]}).ids == ["a"]
    assert "1 images have no annotation and are left out" in caplog.text
    caplog.clear()
    write_split(tmp_path, "train", ["a"])
    assert read_records(tmp_path).ids == ["a"]
    assert not caplog.text


def test_a_missing_image_can_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_annotation(tmp_path, "b", annotation([DOG]))
    with pytest.raises(ValueError, match=r"b\.xml: its image is missing.*data\.bad_image=drop"):
        whole_folder(tmp_path, {"a": [DOG]})
    assert whole_folder(tmp_path, {"a": [DOG]}, bad_image="drop").ids == ["a"]
    assert "left out 1 images" in caplog.text


def test_a_folder_without_annotations_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(ValueError, match=r"Annotations: holds no annotations.*\.xml"):
        read_records(tmp_path, "all")


def test_half_a_pixel_is_no_other_way_of_counting(tmp_path: Path) -> None:
    content = annotation([DOG]).replace("<xmin>11", "<xmin>0.5")
    assert read_records(one_image(tmp_path, content)).boxes.tolist() == [[0, 5, 20, 15]]


def test_fractions_are_no_pixels(tmp_path: Path) -> None:
    content = annotation([DOG])
    for pixels, fraction in ((11, 0.1), (6, 0.2), (20, 0.5), (15, 1)):
        content = content.replace(f">{pixels}<", f">{fraction}<")
    with pytest.raises(ValueError, match=r"no number of a box is above 1.*fractions"):
        read_records(one_image(tmp_path, content))


@pytest.mark.parametrize(("orientation", "said"), [(3, True), (6, True), (1, False)])
def test_images_whose_boxes_may_be_of_before_exif_turned_them_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, orientation: int, said: bool
) -> None:
    root = one_image(tmp_path, annotation([DOG], size=(40, 40)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (40, 40)).save(root / "JPEGImages" / "a.png", exif=exif)
    read_records(root)
    assert ("1 images are turned by EXIF, and nothing tells" in caplog.text) == said
