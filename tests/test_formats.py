from pathlib import Path

import numpy as np
import pytest
from files import write
from formats import ANNOTATION, HEADER, IMAGE, write_dogs
from voc import annotation, collected, read_records

from ssd.data.columns import Columns, Object, count_twice
from ssd.data.formats import AUTO, FORMATS, format_of
from ssd.errors import ConfigError

FOLDERS = {
    "voc": {"Annotations/a.xml": annotation([]), "JPEGImages/a.png": None, "classes.txt": "cat"},
    "coco": {"annotations/instances_train.json": '{"images": []}', "images/a.png": None},
    "yolo": {"images/a.png": None, "labels/a.txt": "", "runs.csv": "epoch,loss\n1,2\n"},
    "csv": {"labels.csv": "filename,class,xmin,ymin,xmax,ymax\n", "images/a.png": None},
}


def test_every_format_has_a_folder_here() -> None:
    assert set(FOLDERS) == set(FORMATS)


@pytest.mark.parametrize("format", FOLDERS)
def test_a_format_is_recognised_from_its_folder(tmp_path: Path, format: str) -> None:
    assert format_of(write(tmp_path, FOLDERS[format]), AUTO) == format


@pytest.mark.parametrize(("one", "other"), [("voc", "yolo"), ("coco", "csv")])
def test_a_folder_in_two_formats_is_an_error_that_names_both(
    tmp_path: Path, one: str, other: str
) -> None:
    write(tmp_path, FOLDERS[one] | FOLDERS[other])
    with pytest.raises(ValueError, match=f"in several formats: {one}, {other}; data.format= says"):
        format_of(tmp_path, AUTO)
    assert format_of(tmp_path, other) == other


@pytest.mark.parametrize("files", [{}, {"a.png": None, "notes.txt": "x", "x.json": "[]"}])
def test_a_folder_in_no_format_names_what_was_looked_for(
    tmp_path: Path, files: dict[str, str | None]
) -> None:
    with pytest.raises(ValueError, match="in no format that is known") as caught:
        format_of(write(tmp_path, files), AUTO)
    assert all(f"{format}: " in str(caught.value) for format in FORMATS)


def test_an_unknown_format_is_an_error_that_shows_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.format=xml: give one of auto, voc, coco, yolo"):
        format_of(tmp_path, "xml")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        format_of(tmp_path / "nowhere", AUTO)


DOG, FLAT = (10, 5, 20, 15), (5, 5, 5, 9)
LINKED = {format: (IMAGE[format], ANNOTATION[format]) for format in FORMATS}
FILES = [(format, file) for format, files in LINKED.items() for file in files]


@pytest.mark.parametrize("format", FORMATS)
def test_a_box_is_the_same_in_every_format(tmp_path: Path, format: str) -> None:
    records = read_records(write_dogs(tmp_path, format, DOG), format=format)
    assert records.boxes[0] == pytest.approx(DOG)


@pytest.mark.parametrize("format", FORMATS)
def test_a_faulty_box_names_its_picture_and_itself(tmp_path: Path, format: str) -> None:
    records, faults = collected(write_dogs(tmp_path, format, DOG, FLAT), format=format)
    assert len(records.boxes) == 1
    (fault,) = faults
    assert (fault.kind, fault.file) == ("bad_box", str(tmp_path / IMAGE[format]))
    assert fault.box == pytest.approx(FLAT)
    assert ": no width or height (" in fault.message


@pytest.mark.parametrize("format", ["voc", "coco", "csv"])
def test_a_box_outside_its_image_is_said_alike(tmp_path: Path, format: str) -> None:
    outside = (70, 5, 80, 9)
    (fault,) = collected(write_dogs(tmp_path, format, outside), format=format)[1]
    assert ": outside the 60x40 image (" in fault.message
    assert fault.box == outside


@pytest.mark.parametrize("format", FORMATS)
def test_an_image_that_cannot_be_opened_is_named(tmp_path: Path, format: str) -> None:
    path = write_dogs(tmp_path, format, DOG) / IMAGE[format]
    path.write_bytes(b"no image")
    (fault,) = collected(tmp_path, format=format)[1]
    assert (fault.kind, fault.file, fault.box) == ("bad_image", str(path), None)


@pytest.mark.parametrize("format", FORMATS)
def test_objects_that_are_there_twice_are_kept_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, format: str
) -> None:
    write_dogs(tmp_path, format, DOG, (10, 5, 20, 16), DOG, DOG)
    assert len(read_records(tmp_path, format=format).boxes) == 4
    assert "2 objects are in their image twice, and kept" in caplog.text


def test_twice_is_alike_in_all_that_an_object_is() -> None:
    rng = np.random.default_rng(0)
    columns = Columns()
    expected = 0
    for image in range(50):
        corners = rng.integers(0, 2, (20, 4)).astype(float).tolist()
        marks = rng.integers(0, 2, (20, 2)).astype(bool).tolist()
        objects = [
            Object("cat" if cat else "dog", tuple(box), difficult)
            for box, (cat, difficult) in zip(corners, marks, strict=True)
        ]
        columns.add(str(image), "", (9, 9), objects)
        expected += len(objects) - len(set(objects))
    assert count_twice(columns.close()) == expected > 0


@pytest.mark.parametrize(
    ("format", "first_pixel", "expected"),
    [
        ("voc", 1, DOG),
        ("voc", 0, (11, 6, 20, 15)),
        ("coco", 0, DOG),
        ("coco", 1, (9, 4, 19, 14)),  # the sizes stay
        ("csv", 0, DOG),
        ("csv", 1, (9, 4, 20, 15)),
    ],
)
def test_the_first_pixel_is_0_or_1(
    tmp_path: Path, format: str, first_pixel: int, expected: tuple
) -> None:
    write_dogs(tmp_path, format, DOG)
    records = read_records(tmp_path, format=format, first_pixel=first_pixel)
    assert records.boxes.tolist() == [list(expected)]


@pytest.mark.parametrize(("first_pixel", "width"), [(0, 1), (1, 2)])
def test_a_box_whose_xmin_is_its_xmax_is_a_slip_however_pixels_are_counted(
    tmp_path: Path, first_pixel: int, width: int
) -> None:
    write(tmp_path, {"a.png": None, "train.csv": HEADER + "a.png,dog,11,6,12,15\n"})
    records = read_records(tmp_path, format="csv", first_pixel=first_pixel)
    assert records.boxes[0, 2] - records.boxes[0, 0] == width
    write(tmp_path, {"train.csv": HEADER + "a.png,dog,11,6,11,15\n"})
    with pytest.raises(ValueError, match=r"no width or height \(xmin 11, ymin 6, xmax 11, ymax 15"):
        read_records(tmp_path, format="csv", first_pixel=first_pixel, bad_box="raise")


@pytest.mark.parametrize("first_pixel", [0, 1])
def test_fractions_have_no_first_pixel(tmp_path: Path, first_pixel: int) -> None:
    write_dogs(tmp_path, "yolo", DOG)
    with pytest.raises(ConfigError, match=rf"data\.first_pixel={first_pixel}: .*; give null$"):
        read_records(tmp_path, format="yolo", first_pixel=first_pixel)


def link(path: Path, target: Path) -> None:
    """A link where a file or a folder was, to where it is now."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    path.symlink_to(target)


@pytest.mark.parametrize(("format", "file"), FILES)
def test_a_link_to_a_file_elsewhere_is_refused(tmp_path: Path, format: str, file: str) -> None:
    root = write_dogs(tmp_path / "data", format, DOG)
    link(root / file, tmp_path / "private.xml")
    with pytest.raises(ValueError, match=f"{file}: is a link that leaves the data folder"):
        read_records(root, format=format)


@pytest.mark.parametrize(("format", "file"), FILES)
@pytest.mark.parametrize(
    "target",
    [
        "data/.store/a",
        "blobs/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "annex/objects/xK/0p/MD5E-s42--098f6bcd4621d373cade4e832627b4f6.png",
        "dvc/files/md5/09/8f6bcd4621d373cade4e832627b4f6",
    ],
)
def test_a_link_stays_in_the_data_folder_or_leads_to_a_store_of_contents(
    tmp_path: Path, format: str, file: str, target: str
) -> None:
    root = write_dogs(tmp_path / "data", format, DOG)
    link(root / file, tmp_path / target)
    assert len(read_records(root, format=format).boxes) == 1


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_may_be_a_link_and_its_files_links_in_it(tmp_path: Path, format: str) -> None:
    root = write_dogs(tmp_path / "data", format, DOG)
    link(root / IMAGE[format], (root / IMAGE[format]).with_name("b.dat"))
    link((root / IMAGE[format]).parent, tmp_path / "disk" / "pictures")
    (tmp_path / "disk" / "pictures" / "a.png").unlink()
    (tmp_path / "disk" / "pictures" / "a.png").symlink_to("b.dat")
    assert len(read_records(root, format=format).boxes) == 1


def test_a_split_that_cannot_be_read_does_not_stop_a_report_that_collects(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": None, "train.csv": HEADER + "a.png,dog,1,2,3,4\n", "val.csv": HEADER})
    records, faults = collected(tmp_path, ["train", "val", "test"], "csv")
    assert records.ids == ["a.png"]
    assert [fault.kind for fault in faults] == ["bad_annotation"] * 2
    assert "val.csv: names no images" in faults[0].message
    assert "no split test; there are train, val" in faults[1].message
    with pytest.raises(ValueError, match=r"val\.csv: names no images"):
        read_records(tmp_path, ["train", "val"], "csv")


def test_a_file_that_cannot_be_read_leaves_the_others_of_its_split(tmp_path: Path) -> None:
    write_dogs(tmp_path, "coco", DOG)
    write(tmp_path, {"annotations/instances_val.json": '{"images": [{'})
    records, faults = collected(tmp_path, "all", "coco")
    assert len(records.boxes) == 1
    assert "instances_val.json: " in faults[0].message


def test_an_image_listed_twice_is_taken_once_by_a_report_that_collects(tmp_path: Path) -> None:
    write_dogs(tmp_path, "voc", DOG)
    write(tmp_path, {"ImageSets/Main/train.txt": "a\na\n"})
    records, faults = collected(tmp_path)
    assert (records.ids, len(records.boxes)) == (["a"], 1)
    assert "image a is listed twice" in faults[0].message
