"""Images whose headers are whole and whose pixels are not."""

from pathlib import Path

import pytest
from formats import IMAGE, write_dogs
from voc import collected, read_records, write_voc

from ssd.data.formats import FORMATS

DOG = ("dog", 11, 6, 20, 15)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("format", FORMATS)
def test_an_image_with_damaged_pixels_can_be_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, format: str
) -> None:
    root = write_dogs(tmp_path, format, (10, 5, 20, 15))
    cut(root / IMAGE[format])
    assert len(read_records(root, format=format, bad_image="raise").ids) == 1  # by its header
    assert read_records(root, format=format, bad_image="drop").ids == []
    assert f"left out 1 images that cannot be read: {root / IMAGE[format]}: dam" in caplog.text


def test_the_other_images_stay(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"train": {"a": [DOG], "bb": [DOG, DOG], "ccc": [DOG]}})
    cut(root / "JPEGImages" / "bb.png")
    records = read_records(root, bad_image="drop")
    assert (records.ids, records.starts.tolist()) == (["a", "ccc"], [0, 1, 2])
    assert len(collected(root)[0].ids) == 3  # the doctor decodes by itself
