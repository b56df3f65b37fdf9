"""Detections as files of each format, read again by the readers of data sets."""

import json
from pathlib import Path

import numpy as np
import pytest
from files import SIZE, write
from pycocotools.coco import COCO
from voc import read_records

from ssd.data.formats import AUTO, format_of
from ssd.errors import ConfigError
from ssd.report import annotations
from ssd.report.annotations import FORMATS, Found

CLASSES = ["dog", "red cell: ä", "no"]
BOXES = np.array([[0, 0, 12.25, 40], [3.5, 2, 60, 39.125]])


def found(number: int, name: str, boxes: np.ndarray = BOXES) -> Found:
    count = len(boxes)
    scores, labels = np.linspace(0.9, 0.5, count).astype(np.float32), np.arange(count) % 3 + 1
    return Found(number, name, SIZE, boxes, scores, labels)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write(tmp_path / "pictures", {"a.png": None, "deep er/b c.png": None, "z.png": None})


@pytest.mark.parametrize("format", FORMATS)
def test_our_reader_reads_what_was_written(tmp_path: Path, pictures: Path, format: str) -> None:
    names = ["a.png", "deep er/b c.png", "z.png"]
    three = [found(1, names[0]), found(2, names[1], BOXES[1:]), found(3, names[2], BOXES[:0])]
    annotations.write(tmp_path, [format], three, CLASSES, pictures)
    records = read_records(tmp_path / format, "train", format)
    assert [Path(file).name for file in records.files] == [Path(name).name for name in names]
    assert records.starts.tolist() == [0, 2, 3, 3]
    expected = np.concatenate([BOXES, BOXES[1:]])
    np.testing.assert_allclose(records.boxes, expected, atol=1e-6)
    assert [records.vocabulary[name] for name in records.names] == ["dog", "red cell: ä", "dog"]


@pytest.mark.parametrize("format", FORMATS)
def test_what_was_written_is_recognised(tmp_path: Path, pictures: Path, format: str) -> None:
    annotations.write(tmp_path, [format], [found(1, "a.png")], CLASSES, pictures)
    assert format_of(tmp_path / format, AUTO) == format


def test_labels_are_found_of_pictures_in_a_folder_called_images(tmp_path: Path) -> None:
    names = ["a.png", "b/images/deep/a.png", "images/a.png", "images/images/a.png"]
    pictures = write(tmp_path / "pictures", dict.fromkeys(names))
    every = [found(n, name, BOXES[: n % 2 + 1]) for n, name in enumerate(names)]
    annotations.write(tmp_path, ["yolo"], every, CLASSES, pictures)
    records = read_records(tmp_path / "yolo", "train", "yolo")
    assert [Path(file).resolve() for file in records.files] == [pictures / name for name in names]
    assert records.starts.tolist() == [0, 1, 3, 4, 6]
    assert sorted(path.suffix for path in pictures.rglob("*.*")) == [".png"] * 4


def test_voc_counts_from_1_and_names_the_last_pixel(tmp_path: Path, pictures: Path) -> None:
    annotations.write(tmp_path, ["voc"], [found(1, "a.png")], CLASSES, pictures)
    text = (tmp_path / "voc" / "Annotations" / "a.xml").read_text()
    for side, value in (("xmin", "1"), ("ymin", "1"), ("xmax", "12.25"), ("ymax", "40")):
        assert f"<{side}>{value}</{side}>" in text


def test_what_voc_cannot_tell_is_counted(
    tmp_path: Path, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thin = np.array([[5, 5, 6, 20.0], [5, 5, 20, 20]])
    annotations.write(tmp_path, ["voc"], [found(1, "a.png", thin)], CLASSES, pictures)
    assert "left out 1 boxes of at most one pixel" in caplog.text
    assert len(read_records(tmp_path / "voc").boxes) == 1


def test_coco_tools_load_results_with_their_images(tmp_path: Path, pictures: Path) -> None:
    two = [found(1, "a.png"), found(7, "z.png", BOXES[1:])]
    annotations.write(tmp_path, ["coco"], two, CLASSES, pictures)
    data_set = COCO(str(tmp_path / "coco" / "annotations" / "instances_train.json"))
    results = data_set.loadRes(str(tmp_path / "coco" / "predictions.json"))
    assert sorted(results.getImgIds()) == [1, 7]
    assert results.loadAnns(1)[0]["bbox"] == [0, 0, 12.25, 40]
    names = [one["name"] for one in data_set.loadCats(data_set.getCatIds())]
    assert names == CLASSES


def test_scores_keep_every_digit_in_coco(tmp_path: Path, pictures: Path) -> None:
    one = found(1, "a.png")._replace(scores=np.array([0.1, np.nextafter(0.1, 0)], np.float32))
    annotations.write(tmp_path, ["coco"], [one], CLASSES, pictures)
    results = json.loads((tmp_path / "coco" / "predictions.json").read_text())
    assert [result["score"] for result in results] == one.scores.tolist()


def test_frames_of_a_video_have_numbers_and_times(tmp_path: Path) -> None:
    frames = [found(n + 1, "a.mp4")._replace(frame=n, seconds=n / 8) for n in range(2)]
    annotations.write(tmp_path, ["coco", "csv"], frames, CLASSES, None)
    content = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())
    assert [(i["frame"], i["seconds"]) for i in content["images"]] == [(0, 0), (1, 0.125)]
    rows = (tmp_path / "csv" / "train.csv").read_text().splitlines()
    assert rows[0].endswith("score,frame,seconds")
    assert rows[-1].endswith(",1,0.125")


@pytest.mark.parametrize(
    ("formats", "names", "video", "why"),
    [
        (["xml"], ["a.png"], False, "xml is none of coco, voc, yolo, csv"),
        (["voc"], ["a.mp4"], True, "give coco or csv"),
        (["yolo"], ["b/a.png", "b/a.jpg"], False, "b/a.png and b/a.jpg are one name"),
        (["coco", "coco"], ["a.png"], False, "names a format twice"),
        (["csv"], ["a\nb.png"], False, "only coco can hold the name"),
    ],
)
def test_what_a_format_cannot_hold_is_said_before_the_work(
    formats: list[str], names: list[str], video: bool, why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        annotations.check_formats(formats, names, CLASSES, video)
