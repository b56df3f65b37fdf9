from pathlib import Path

import pytest
from files import write
from PIL import Image
from voc import POLICIES, collected, names, read_records

from ssd.data.checks import Report
from ssd.data.columns import Records
from ssd.data.formats import AUTO
from ssd.data.parts import Part
from ssd.data.splits import read_part
from ssd.data.yolo.reader import splits

BOX = "0 0.5 0.5 0.2 0.2\n"  # 24 to 36, 16 to 24 in an image of 60x40
ALL = "all"
LISTED = {"images/a.png": None, "classes.txt": "cat\ndog\n"}
DATA_YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"
FOLDERS = {"images/train/a.png": None, "labels/train/a.txt": BOX,
           "images/val/b.png": None, "labels/val/b.txt": "1 0.5 0.5 1 1\n"}  # fmt: skip


def labelled(root: Path, labels: str | bytes, **policies: str) -> Records:
    """One image with these labels."""
    write(root, {**LISTED, "labels/a.txt": labels})
    return read_records(root, ALL, "yolo", **policies)


def described(root: Path, text: str | bytes) -> Path:
    """Images of two splits with this data.yaml."""
    return write(root, {**FOLDERS, "data.yaml": text})


def test_a_line_is_the_class_and_the_centre_and_size_of_its_box(tmp_path: Path) -> None:
    records = labelled(tmp_path, "1 0.5 0.25 0.5 0.5\n0 0.1 0.75 0.2 0.5\n")
    assert names(records) == ["dog", "cat"]
    assert records.boxes.tolist() == [[15, 0, 45, 20], [0, 20, 12, 40]]
    assert records.sizes.tolist() == [[60, 40]]


@pytest.mark.parametrize(
    "line", ["0.0 5e-1 .5 0.2 2.0E-1", "  0\t0.5 0.5\t0.2 0.2  ", "\ufeff0 0.5 0.5 0.2 0.2\r\n\r\n"]
)
def test_numbers_and_spaces_are_as_tools_write_them(tmp_path: Path, line: str) -> None:
    assert labelled(tmp_path, line).boxes[0].tolist() == pytest.approx([24, 16, 36, 24])


def test_a_box_of_a_rotated_photograph_is_of_the_shown_picture(tmp_path: Path) -> None:
    write(tmp_path, {"classes.txt": "cat\n", "labels/a.txt": BOX, "images/.keep": ""})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "images/a.jpg", exif=exif)
    records = read_records(tmp_path, ALL, "yolo")
    assert records.sizes.tolist() == [[40, 60]]
    assert records.boxes[0].tolist() == pytest.approx([16, 24, 24, 36])


def test_a_segment_becomes_the_box_around_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = labelled(tmp_path, "0 0.1 0.5 0.5 0.25 0.4 0.75\n" + BOX)
    assert records.boxes[0].tolist() == pytest.approx([6, 10, 30, 30])
    assert "1 segments become the boxes around them" in caplog.text


def test_keypoints_are_left_out_of_a_box(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    described(tmp_path, DATA_YAML + "kpt_shape: [1, 2]\n")
    write(tmp_path, {"labels/train/a.txt": "0 0.5 0.5 0.2 0.2 0.9 0.9\n"})
    records = read_records(tmp_path, "train", "yolo")
    assert records.boxes[0].tolist() == pytest.approx([24, 16, 36, 24])
    assert "1 boxes lose their keypoints" in caplog.text


def test_what_rounding_puts_over_the_border_is_clipped_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = labelled(tmp_path, "0 0.5 0.5 1.00008 1\n")
    assert records.boxes.tolist() == [[0, 0, 60, 40]]
    assert not caplog.text


def test_a_box_over_the_border_is_clipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert labelled(tmp_path, "0 0 0 1 1\n").boxes.tolist() == [[0, 0, 30, 20]]
    assert "1 boxes reach over their image" in caplog.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2", "3 numbers after the class"),
        ("0 0.5 0.5 0.2 0.2 0.97", "5 numbers after the class"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "7 numbers after the class"),
        ("cat 0.5 0.5 0.2 0.2", "'cat' is not a number"),
        ("0 0,5 0.5 0.2 0.2", "'0,5' is not a number"),
        ("0 nan 0.5 0.2 0.2", "'nan' is not a number"),
        ("0 0.5 1e999 0.2 0.2", "'1e999' is not a number"),
        ("0 0.5 0_1 0.2 0.2", "'0_1' is not a number"),
        ("0 ０ 0.5 0.2 0.2", "'０' is not a number"),  # noqa: RUF001
        ("2 0.5 0.5 0.2 0.2", "class 2, but there are 2 classes, 0 to 1.*data.unknown_class=drop"),
        ("-1 0.5 0.5 0.2 0.2", "class -1, but"),
        ("0.5 0.5 0.5 0.2 0.2", "class 0.5, but"),
        ("0 30 20 12 8", "30 is no fraction of the image, from 0 to 1.*data.bad_box=drop"),
        ("0 0.5 0.5 -0.2 0.2", "-0.2 is no fraction"),
        ("0 0.5 0.5 0.2 1.001", "1.001 is no fraction"),
        ("0 0.5 0.5 0 0.2", "no width or height"),
    ],
)
def test_a_bad_line_names_its_file_and_number(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"labels/a\.txt:3: .*{message}"):
        labelled(tmp_path, f"{BOX}\n{line}\n", bad_box="raise")


def test_a_report_that_collects_gets_every_fault_and_the_good_lines(tmp_path: Path) -> None:
    bad = "0 1\n0 a b c d\n7 0.5 0.5 0.2 0.2\n0 7 7 7 7\n"
    write(tmp_path, {**LISTED, "labels/a.txt": bad + BOX})
    records, faults = collected(tmp_path, ALL, "yolo")
    kinds = [fault.kind for fault in faults]
    assert kinds == ["bad_annotation", "bad_annotation", "unknown_class", "bad_box"]
    assert {fault.file for fault in faults} == {str(tmp_path / "images/a.png")}
    assert len(records.boxes) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe0\x00", "not UTF-8"), (b"0 " * 3_000_000, "more than 5242880 are refused")],
)
def test_labels_that_are_no_text_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=rf"labels/a\.txt: .*{message}"):
        labelled(tmp_path, content)


def test_an_image_without_a_label_file_has_no_objects(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {**LISTED, "images/b.png": None, "labels/b.txt": BOX, "images/c.png": None})
    records = read_records(tmp_path, ALL, "yolo")
    assert records.ids == ["images/a.png", "images/b.png", "images/c.png"]
    assert records.starts.tolist() == [0, 0, 1, 1]
    assert "2 images have no label file" in caplog.text


def test_images_without_any_label_file_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, {**LISTED, "labels/b.txt": BOX})
    with pytest.raises(ValueError, match=r"no image of .*images has labels; there is no .*a\.txt"):
        read_records(tmp_path, ALL, "yolo")


def test_label_files_without_an_image_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {"labels/b.txt": BOX, "labels/classes.txt": "cat", "labels/._a.txt": "x"})
    labelled(tmp_path, BOX)
    assert "1 label files have no image and are left out" in caplog.text


LAYOUTS = {
    "data.yaml": {**FOLDERS, "data.yaml": DATA_YAML},
    "ids with names": {**FOLDERS, "data.yaml": DATA_YAML.replace("[cat, dog]", "{1: dog, 0: cat}")},
    "lists of folders": {
        **FOLDERS,
        "data.yaml": DATA_YAML.replace("images/train", "[images/train]"),
    },
    "a path that is the author's": {**FOLDERS, "data.yaml": "path: /content/x\n" + DATA_YAML},
    "a path below": {
        **{f"coco/{name}": content for name, content in FOLDERS.items()},
        "coco.yaml": "path: coco\nnc: 2\ntest:  # none\n" + DATA_YAML,
    },
    "lists of images": {
        **FOLDERS,
        "data.yaml": "train: train.txt\nval: lists/val.txt\nnames: [cat, dog]",
        "train.txt": "./images/train/a.png\n",
        "lists/val.txt": "\ufeff\r\nimages/val/b.png\r\n",
    },
    "Roboflow": {
        "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n",
        "README.roboflow.txt": "",
        "train/images/a.png": None, "train/labels/a.txt": BOX,
        "valid/images/b.png": None, "valid/labels/b.txt": BOX.replace("0", "1", 1),
    },
    "classes.txt": {**FOLDERS, "classes.txt": "cat\r\ndog\r\n\r\n"},
    "folders of splits": {
        "labels.txt": "", "obj.names": "cat\ndog",
        "train/images/a.png": None, "train/labels/a.txt": BOX,
        "val/images/b.png": None, "val/labels/b.txt": BOX.replace("0", "1", 1),
    },
    "labels beside images": {
        "classes.txt": "cat\ndog",
        "train/a.png": None, "train/a.txt": BOX,
        "val/b.png": None, "val/b.txt": BOX.replace("0", "1", 1),
    },
    "darknet": {
        "obj.names": "cat\ndog", "obj.data": "classes = 2\ntrain = data/train.txt",
        "train.txt": "data/obj_train_data/a.png\n", "val.txt": "data/obj_train_data/b.png\n",
        "obj_train_data/a.png": None, "obj_train_data/a.txt": BOX,
        "obj_train_data/b.png": None, "obj_train_data/b.txt": BOX.replace("0", "1", 1),
    },
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_usual_layout_is_read_and_its_splits_are_found(tmp_path: Path, layout: str) -> None:
    write(tmp_path, LAYOUTS[layout])
    part = Part(tmp_path, AUTO, AUTO, AUTO, None, {}, None)
    divided = read_part(part, Report(POLICIES))
    train, val = divided.stages["train"], divided.stages["val"]
    assert (names(train), names(val), divided.made) == (["cat"], ["dog"], [])
    assert [Path(*train.files).name, Path(*val.files).name] == ["a.png", "b.png"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_is_every_image_once(tmp_path: Path, layout: str) -> None:
    records = read_records(write(tmp_path, LAYOUTS[layout]), ALL, "yolo")
    assert sorted(Path(id).name for id in records.ids) == ["a.png", "b.png"]


def test_all_is_also_what_lies_beside_the_folders_of_splits(tmp_path: Path) -> None:
    write(tmp_path, {**FOLDERS, **LISTED, "labels/a.txt": BOX})
    assert len(read_records(tmp_path, ALL, "yolo").ids) == 3


def test_labels_and_their_list_may_lie_beside_images_without_splits(tmp_path: Path) -> None:
    write(tmp_path, {"classes.txt": "cat", "a.png": None, "a.txt": BOX, "sub/b.JPG": None})
    assert splits(tmp_path) == []
    assert read_records(tmp_path, ALL, "yolo").ids == ["a.png", "sub/b.JPG"]


def test_a_class_may_be_called_no(tmp_path: Path) -> None:
    described(tmp_path, DATA_YAML.replace("[cat, dog]", "[no, 010]"))
    assert names(read_records(tmp_path, "train", "yolo")) == ["no"]
    assert names(read_records(tmp_path, "val", "yolo")) == ["010"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [cat\ntrain: images/train", r":2: cannot be read as YAML: .*expected"),
        ("names: &a [cat]\ntrain: images\nx: *a", r":3: cannot be read as YAML: an alias"),
        ("train: a\nnames: {0: cat, 0: dog}", r":2: cannot be read as YAML: a key is there twice"),
        pytest.param(
            "train: a\nnames: " + "[" * 1500, r": cannot be read as YAML", marks=pytest.mark.slow
        ),
        (DATA_YAML + "# " + "x" * 2**20, r": has \d+ bytes; more than 1048576 are refused"),
        (DATA_YAML + "nc: 3\n", r": nc is '3', but names has 2"),
        (
            DATA_YAML.replace("[cat, dog]", "{0: cat, 2: dog}"),
            r": names has the id '2', not only 0 to 1",
        ),
        (DATA_YAML.replace("[cat, dog]", "[cat, [dog]]"), r": names is neither"),
        (DATA_YAML.replace("[cat, dog]", "cat"), r": names is neither"),
        (DATA_YAML.replace("[cat, dog]", "[]"), r": names no classes"),
        (DATA_YAML.replace("dog", "''"), r": the class of id 1 has no name"),
        (DATA_YAML.replace("dog", '"d\\e[0mog"'), r": the class of id 1 has no name, but 'd.x1b"),
        (DATA_YAML.replace("dog", "cat"), r": 'cat' is the name of 2 classes"),
        (
            DATA_YAML.replace("images/val", "images/nothing"),
            r": val is 'images/nothing', but there",
        ),
        (DATA_YAML.replace("images/val", "../../x"), r": val: '../../x' leaves the data folder"),
        (DATA_YAML.replace("images/val", "/etc"), r": val: '/etc' leaves the data folder"),
        (DATA_YAML.replace("images/val", "http://x/y"), r": val: 'http://x/y' leaves the data"),
        (DATA_YAML.replace("images/val", "{a: b}"), r": val is {'a': 'b'}, neither"),
        (DATA_YAML.encode() + b"x: \xff", r": not UTF-8"),
    ],
)
def test_a_bad_data_yaml_is_one_line_that_names_it(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    described(tmp_path, text)
    with pytest.raises(ValueError, match=rf"data\.yaml{message}") as caught:
        read_records(tmp_path, "train", "yolo")
    assert "\n" not in str(caught.value)


def test_two_descriptions_are_an_error_that_names_both(tmp_path: Path) -> None:
    write(described(tmp_path, DATA_YAML), {"other.yaml": DATA_YAML})
    with pytest.raises(ValueError, match=r"data\.yaml and other\.yaml all describe"):
        splits(tmp_path)


def test_labels_without_names_of_classes_are_an_error_that_says_where_to_write_them(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=r"nothing names the classes.*classes\.txt, one a line"):
        read_records(write(tmp_path, FOLDERS), "train", "yolo")


@pytest.mark.parametrize(
    ("lines", "why"), [("cat\n\ndog", "the class of id 1 has no name"), ("", "names no classes")]
)
def test_a_list_of_names_has_no_gap(tmp_path: Path, lines: str, why: str) -> None:
    write(tmp_path, {**FOLDERS, "classes.txt": lines})
    with pytest.raises(ValueError, match=rf"classes\.txt: {why}"):
        read_records(tmp_path, "train", "yolo")


@pytest.mark.parametrize("line", ["../a.png", "/etc/a.png", "https://x/a.png", "C:\\a.png"])
def test_a_list_that_leaves_the_data_folder_is_an_error(tmp_path: Path, line: str) -> None:
    write(tmp_path, {"classes.txt": "cat", "train.txt": f"{line}\n"})
    with pytest.raises(ValueError, match=r"train\.txt:1: .*leaves the data folder"):
        read_records(tmp_path, "train", "yolo")


def test_a_listed_image_that_is_not_there_is_named_and_can_be_left_out(tmp_path: Path) -> None:
    write(tmp_path, {**LAYOUTS["darknet"], "train.txt": "obj_train_data/a.png\nnowhere.png\n"})
    with pytest.raises(ValueError, match=r"train\.txt:2: there is no image 'nowhere\.png'"):
        read_records(tmp_path, "train", "yolo")
    assert len(read_records(tmp_path, "train", "yolo", bad_image="drop").ids) == 1


def test_an_unknown_split_shows_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no split test; there are train, val, and all is"):
        read_records(described(tmp_path, DATA_YAML), "test", "yolo")
