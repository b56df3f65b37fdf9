"""The bad inputs of `corpus`, each with its outcome. An error is one line that names its file."""

import re
from pathlib import Path

import numpy as np
import pytest
from corpus import annotations, lists, pictures
from corpus.cases import ERROR, NOTED, POLICY, Case, named
from voc import POLICIES, read_records, write_voc

from ssd.data.checks import Report
from ssd.data.columns import to_annotations
from ssd.data.images.reading import read_image, read_size
from ssd.data.overlaps import check_leaks

CASES = [*annotations.CASES, *lists.CASES]
DAMAGED = [case for case in pictures.CASES if case.pixels is None]
ELSEWHERE = {
    "test_json_lists.py": range(68, 75),
    "test_coco.py": [*range(75, 88), 89, 90],
    "test_coco_files.py": [88],
    "test_metric.py": [91],
}
SEEN = [case for case in pictures.CASES if case.pixels is not None]


def read(root: Path, case: Case, **policies: str) -> list:
    """Boxes of known classes, as training has them."""
    records = read_records(root, case.split, **policies)
    report = Report({**POLICIES, **policies})
    boxes = to_annotations(records, ["cat", "dog"], report).boxes.tolist()
    report.close()
    return boxes


@pytest.mark.parametrize("case", CASES, ids=named(CASES))
def test_a_bad_input_has_its_outcome(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, case: Case
) -> None:
    case.make(tmp_path)
    if case.outcome == ERROR:
        with pytest.raises(ValueError, match=case.says) as raised:
            read(tmp_path, case)
        message = str(raised.value)
        assert len(message.splitlines()) == 1
        assert len(message) < 1000
        assert str(tmp_path) in message or message.startswith("a: ")  # a file, or an image's id
    elif case.outcome == POLICY:
        with pytest.raises(ValueError, match=f"{case.says}.*data.{case.policy}=drop"):
            read(tmp_path, case, **{case.policy: "raise"})
        assert read(tmp_path, case, **{case.policy: "drop"}) == case.boxes
        assert "left out 1 " in caplog.text
    else:
        assert read(tmp_path, case) == case.boxes
        assert (case.outcome == NOTED) == bool(caplog.text)
        assert case.says in caplog.text


def test_every_case_is_here_or_beside_what_it_is_about() -> None:
    numbers = {case.number for case in CASES} | {case.number for case in pictures.CASES} | {65}
    for name, elsewhere in ELSEWHERE.items():
        text = Path(__file__).with_name(name).read_text()
        noted = {int(number) for number in re.findall(r"  # (\d+)$", text, re.MULTILINE)}
        assert noted >= set(elsewhere)
        numbers |= set(elsewhere)
    assert numbers == {*range(1, 105)}


def test_an_image_called_another_format_is_counted(  # case 97
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_voc(tmp_path, {"train": {"a": [("dog", 5, 5, 9, 9)], "b": []}})
    image = root / "JPEGImages" / "a.png"
    image.rename(image.with_suffix(".jpg"))
    assert len(read_records(root).boxes) == 1
    assert "1 images are of another format than their names say" in caplog.text


def test_an_image_of_two_splits_is_an_error(tmp_path: Path) -> None:  # case 65
    write_voc(tmp_path, {"train": {"a": [], "b": []}, "val": {"b": []}})
    with pytest.raises(ValueError, match=r"1 images are in two splits.*: b"):
        check_leaks(read_records(tmp_path), read_records(tmp_path, "val"), Report(POLICIES))


@pytest.mark.parametrize("case", DAMAGED, ids=named(DAMAGED))
def test_a_bad_image_is_an_error_of_one_line(tmp_path: Path, case: pictures.Picture) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.make())
    with pytest.raises(ValueError, match=rf"{case.name}: .*{case.says}") as raised:
        read_image(path)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("case", SEEN, ids=named(SEEN))
def test_an_odd_image_is_read_as_a_person_sees_it(tmp_path: Path, case: pictures.Picture) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.make())
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    assert read_size(path) == (pixels.shape[1], pixels.shape[0])
    assert np.abs(pixels.astype(int) - case.pixels).max() <= case.off
