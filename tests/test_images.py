from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd.data.images import read_image, read_size

RED = np.full((20, 30, 3), (255, 0, 0), np.uint8)


def save(path: Path, orientation: int | None = None, **options: object) -> Path:
    image = Image.fromarray(RED)
    if orientation:
        options["exif"] = image.getexif()
        options["exif"][0x0112] = orientation
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.jpg"])
def test_red_stays_red(tmp_path: Path, name: str) -> None:
    pixel = read_image(save(tmp_path / name))[10, 10]
    assert pixel.tolist() == pytest.approx([255, 0, 0], abs=2)


def test_a_gray_image_has_three_channels(tmp_path: Path) -> None:
    Image.new("L", (30, 20), 77).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 77).all()
    assert read_image(tmp_path / "a.png").shape == (20, 30, 3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_rotated_photograph_has_the_size_that_it_is_shown_with(
    tmp_path: Path, orientation: int
) -> None:
    path = save(tmp_path / "a.jpg", orientation)
    height, width, _ = read_image(path).shape
    assert read_size(path) == (width, height)
    assert (width > height) == (orientation in (1, 3))


def test_what_opencv_cannot_read_pillow_reads(tmp_path: Path) -> None:
    assert (read_image(save(tmp_path / "a.tga"))[10, 10] == (255, 0, 0)).all()


@pytest.mark.parametrize("cut", [10, 100])
def test_a_truncated_jpeg_is_an_error_that_names_it(tmp_path: Path, cut: int) -> None:
    path = save(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ValueError, match=r"a\.jpg: damaged image"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    for read in (read_image, read_size):
        with pytest.raises(ValueError, match=r"a\.jpg: "):
            read(tmp_path / "a.jpg")
