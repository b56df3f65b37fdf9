"""Image files to pixels, as a person sees them."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ssd.data.checks import Report

cv2.setNumThreads(
    0
)  # workers are the parallelism; threads inside them only get in each other's way

TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
ORIENTATION = 0x0112


def read_size(path: str | Path) -> tuple[int, int]:
    """Width and height of an image as it is shown, from its header alone."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(ORIENTATION) in TRANSPOSED:
                return height, width
            return width, height
    except FileNotFoundError:
        raise ValueError(f"{path}: no such image") from None
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not an image that can be opened ({error})") from None


def header(
    file: Path, annotated: tuple[int, int] | None, where: Path, report: Report
) -> tuple[int, int] | None:
    """The size of an image, which is also the annotated one where there is one; None where it is
    not, or where the image cannot be read, and such images are left out. where: the annotation"""
    try:
        size = read_size(file)
    except ValueError as error:
        report.fault("bad_image", str(error))
        return None
    if annotated in (None, size):
        return size
    sides = [f"{width}x{height}" for width, height in (annotated, size)]
    message = f"{where}: size is {sides[0]}, but {file.name} is {sides[1]}"
    report.fault("size_mismatch", message)
    return None


def read_image(path: str | Path) -> np.ndarray:
    """An image, turned as its EXIF says. (H, W, 3) uint8 RGB.

    OpenCV decodes twice as fast as Pillow but fills what a truncated JPEG lacks with gray, without
    a word; a file without an end-of-image marker, and what OpenCV can't read, goes to Pillow.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    truncated = content.startswith(b"\xff\xd8") and b"\xff\xd9" not in content[-1024:]
    if content and not truncated:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is not None:
            return image
    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: damaged image ({error})") from None
