import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd.data.images.headers import parse, parse_orientation
from ssd.data.images.reading import AS_STORED, decode_with_opencv, read_image, read_size
from ssd.data.images.turning import turned_box

RED = np.full((20, 30, 3), (255, 0, 0), np.uint8)


CORNER = np.zeros((48, 64, 3), np.uint8)
CORNER[:16, :16] = 255  # white at the top left
WHERE = {  # where the first row and column of the stored picture are seen: Exif 2.32, 4.6.4
    1: "top left",
    2: "top right",
    3: "bottom right",
    4: "bottom left",
    5: "top left",
    6: "top right",
    7: "bottom right",
    8: "bottom left",
}


def corner(pixels: np.ndarray) -> str:
    """Which corner is white."""
    row = "top" if pixels[:16].mean() > pixels[-16:].mean() else "bottom"
    return f"{row} {'left' if pixels[:, :16].mean() > pixels[:, -16:].mean() else 'right'}"


def save(
    path: Path, orientation: int | None = None, pixels: np.ndarray = RED, **options: object
) -> Path:
    image = Image.fromarray(pixels)
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


@pytest.mark.parametrize("orientation", [*range(1, 9), 99])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_photograph_is_turned_as_its_exif_says(
    tmp_path: Path, name: str, orientation: int
) -> None:
    path = save(tmp_path / name, orientation, CORNER)
    seen = read_image(path)
    assert read_size(path) == (seen.shape[1], seen.shape[0])
    assert (seen.shape[1] > seen.shape[0]) == (orientation not in (5, 6, 7, 8))
    assert corner(seen) == WHERE.get(orientation, "top left")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_turns_with_its_picture(tmp_path: Path, orientation: int) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[3:9, 5:19] = 255
    seen = read_image(save(tmp_path / "a.png", orientation, pixels))
    x1, y1, x2, y2 = turned_box((5, 3, 19, 9), orientation, (30, 20))
    assert (seen[y1:y2, x1:x2] == 255).all()
    assert seen.sum() == pixels.sum()


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"subsampling": 0}),
        ("RGB", {"subsampling": 1}),
        ("RGB", {"subsampling": 2}),
        ("RGB", {"progressive": True}),
        ("L", {}),
        ("RGB", {"format": "PNG"}),
        ("L", {"format": "PNG"}),
        ("1", {"format": "PNG"}),
        ("P", {"format": "PNG", "bits": 4}),
    ],
)
def test_opencv_decodes_plain_files_to_the_pixels_of_pillow(
    tmp_path: Path, mode: str, options: dict
) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8))
    image = noise.quantize(16) if mode == "P" else noise.convert(mode)
    image.save(tmp_path / "a.jpg", **{"format": "JPEG", **options})
    content = (tmp_path / "a.jpg").read_bytes()
    assert parse(content).plain
    pixels = np.array(Image.open(tmp_path / "a.jpg").convert("RGB"))
    assert np.array_equal(decode_with_opencv(content, AS_STORED), pixels)
    assert np.array_equal(read_image(tmp_path / "a.jpg"), pixels)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_read_in_either_order_of_bytes(order: str) -> None:
    mark = b"II" if order == "<" else b"MM"
    other, own = (0x0100, 4, 1, 640), (0x0112, 3, 1, 6)
    entries = struct.pack(f"{order}HHII", *other) + struct.pack(f"{order}HHIHxx", *own)
    exif = mark + struct.pack(f"{order}HIxxH", 42, 10, 2) + entries
    assert parse_orientation(exif) == 6
    assert parse_orientation(exif[:-4]) == 1


def test_a_header_of_any_length_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", 6, icc_profile=bytes(200_000))
    assert read_size(path) == (20, 30)


def test_a_size_is_that_of_the_header_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-20])
    assert read_size(path) == (30, 20)


def test_a_jpeg_with_a_film_behind_it_is_whole(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert read_image(path)[10, 10].tolist() == pytest.approx([255, 0, 0], abs=2)


def test_the_end_of_a_preview_is_not_that_of_its_jpeg(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", comment=b"\xff\xd8 a preview \xff\xd9" + bytes(1000))
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"a\.jpg: damaged image"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    for read in (read_image, read_size):
        with pytest.raises(ValueError, match=r"a\.jpg: "):
            read(tmp_path / "a.jpg")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg: is no file"):
        read_size(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg: is no file"):
        read_image(tmp_path / "a.jpg")
