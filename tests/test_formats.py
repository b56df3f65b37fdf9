from pathlib import Path

import pytest
from files import write
from voc import annotation

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
