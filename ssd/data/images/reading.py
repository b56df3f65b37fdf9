"""Image files to pixels, as a person sees them.

Formats are those of `FORMATS`, one picture a file. Photographs are turned as their EXIF says;
transparent pictures lie on white, as on a page; 16-bit channels are divided by 257; CMYK becomes
RGB without a colour profile, and in a JPEG it is inverted, as Adobe writes it and browsers read it.
"""

import io
import os
import stat
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ssd.data.images.headers import JPEG, PNG, Header, is_cut, parse
from ssd.data.images.turning import TURNS, turned

cv2.setNumThreads(
    0
)  # workers are the parallelism; threads inside them only get in each other's way

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
MOST_PIXELS = 89_478_485  # Pillow's limit: 256 MiB of RGB
LONGEST_SIDE = 32_767  # OpenCV's where it warps
HEAD = 16_384  # bytes of a file that nearly always hold its header
ORIENTATION = 0x0112  # tag of EXIF
WIDTH, HEIGHT = 256, 257  # tags of TIFF
AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def read_size(path: str | Path) -> tuple[int, int]:
    """Width and height of an image as it is shown, from its header alone."""
    return read_header(path).size


def read_header(path: str | Path) -> Header:
    """What a file says before its pixels; an error where they are not to be decoded."""
    try:
        check_file(path)
        with open(path, "rb") as file:
            content = file.read(HEAD)
            found = parse(content)
            if found is None:
                # A long colour profile or preview comes first, or the format is another.
                content += file.read() if content.startswith((JPEG, PNG)) else b""
                found = parse(content) or pillow_header(file, str(path), content)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such image") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    check(found, path)
    return found


def read_image(path: str | Path) -> np.ndarray:
    """An image as it is shown. (H, W, 3) uint8 RGB.

    OpenCV decodes plain files, twice as fast as Pillow and to the same pixels; Pillow the others.
    """
    try:
        check_file(path)
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    found = parse(content)
    if found is None:
        check(pillow_header(io.BytesIO(content), str(path), content), path)
        return decode_with_pillow(content, path)
    check(found, path)
    if is_cut(content, found):
        raise ValueError(f"{path}: damaged image (it is cut; its end is missing)")
    return turned(decode(content, found, path), found.orientation)


def check_file(path: str | Path) -> None:
    """Refuse what is no file: to open a pipe is to wait for its writer."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path}: is no file")


def check(found: Header, path: str | Path) -> None:
    """Refuse what must not be decoded: bombs, and files of several pictures."""
    width, height = found.stored
    if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
        raise ValueError(
            f"{path}: {width}x{height} pixels are too many; at most {MOST_PIXELS:,} in all and "
            f"{LONGEST_SIDE:,} a side are read"
        )
    if found.pictures > 1:
        raise ValueError(f"{path}: holds {found.pictures} pictures; give files of one")


def decode(content: bytes, found: Header, path: str | Path) -> np.ndarray:
    """The pixels of a JPEG or PNG file as they are stored. (H, W, 3) uint8 RGB"""
    if found.plain:
        pixels = decode_with_opencv(content, AS_STORED)
        if pixels is not None:
            return pixels
    if found.bits == 16 and content.startswith(PNG):
        pixels = decode_with_opencv(content, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is not None:
            return from_16_bits(pixels)
    return decode_with_pillow(content, path, turn=False)


def decode_with_opencv(content: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None


def from_16_bits(pixels: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3 or 4) uint16 as OpenCV gives them to (H, W, 3) uint8 RGB."""
    pixels = to_8_bits(pixels)
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return np.array(to_rgb(Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA))))


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """White stays white: 65535 = 255 * 257."""
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def decode_with_pillow(content: bytes, path: str | Path, turn: bool = True) -> np.ndarray:
    """(H, W, 3) uint8 RGB. turn: as EXIF says, or else as it is stored"""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return np.array(to_rgb(ImageOps.exif_transpose(image) if turn else image))
    except Exception as error:  # Pillow's decoders raise nearly every kind on damaged files
        raise ValueError(f"{path}: damaged image ({reason(error)})") from None


def pillow_header(file: io.BufferedIOBase, path: str, content: bytes) -> Header:
    """The header of a file that `parse` does not know. content: the file's beginning"""
    if not content:
        raise ValueError(f"{path}: the file is empty")
    if content.startswith(PNG):  # Pillow would decode it for its EXIF
        raise ValueError(f"{path}: damaged image (a PNG without pixels)")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
            stored = image.size
            if image.format == "TIFF":  # whose size Pillow turns, in some versions
                stored = image.tag_v2[WIDTH], image.tag_v2[HEIGHT]
            orientation = image.getexif().get(ORIENTATION, 1)
            # A second picture in a JPEG is a preview, or the other eye's.
            format = "JPEG" if image.format == "MPO" else image.format
            pictures = 1 if format == "JPEG" else getattr(image, "n_frames", 1)
    except UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        raise ValueError(f"{path}: not an image, or of another format than {formats}") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: too many pixels ({reason(error)})") from None
    except Exception as error:  # as above
        raise ValueError(f"{path}: not an image that can be opened ({reason(error)})") from None
    orientation = orientation if orientation in TURNS else 1
    return Header(format, stored, orientation, 8, False, pictures, 0)


def reason(error: Exception) -> str:
    """What an exception says, in one short line."""
    if isinstance(error, UnidentifiedImageError):  # which shows the stream, not the file
        return "no decoder knows it"
    return " ".join(str(error).split())[:200] or type(error).__name__


def to_rgb(image: Image.Image) -> Image.Image:
    """In RGB, on white where it is transparent."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray(to_8_bits(np.asarray(image)))
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no known white; save it with 8 or 16 bits")
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(page, image.convert("RGBA"))
    return image.convert("RGB")
