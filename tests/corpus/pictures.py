"""Cases 92 to 104: image files. Each is made in memory, and seen as the pixels that it has here."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (40, 60, 3), np.uint8)
SMOOTH = np.array(Image.fromarray(NOISE[:5, :8]).resize((60, 40), Image.Resampling.BICUBIC))
RED, WHITE = (255, 0, 0), (255, 255, 255)
DEEP = np.array([[0, 257, 25_700, 65_535]], np.uint16)  # 16-bit grays; 255 is 65,535
SHALLOW = np.array([[0, 1, 100, 255]], np.uint8)


class Picture(NamedTuple):
    number: int
    what: str
    name: str
    make: Callable[[], bytes]
    says: str = ""  # a pattern of the error
    pixels: Any = None  # what is seen, (H, W, 3) or what broadcasts to it; None: it is an error
    off: int = 0  # how far a lossy format may be from it


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@cache
def jpeg(**options: Any) -> bytes:
    return saved(Image.fromarray(SMOOTH), "JPEG", **options)


@cache
def png() -> bytes:
    return saved(Image.fromarray(NOISE), "PNG")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(
    size: tuple[int, int], bits: int, colour: int, rows: Sequence[bytes], *chunks: bytes
) -> bytes:
    """A PNG file by its specification, of rows that are not filtered."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + data + chunk(b"IEND", b"")


def deep_png(colour: int, *values: int, extra: bytes = b"") -> bytes:
    """One row of 16-bit channels."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = struct.pack(f">{len(values)}H", *values)
    return raw_png((len(values) // channels, 1), 16, colour, [row], extra)


def inks(*values: int) -> Image.Image:
    """A picture of one colour, given as cyan, magenta, yellow and black."""
    return Image.new("CMYK", (16, 16), values)


def without_adobe(content: bytes) -> bytes:
    """A JPEG without the segment that says whose CMYK it is."""
    place = content.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", content, place + 2)
    return content[:place] + content[place + 2 + length :]


def with_orientation(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return jpeg(exif=exif.tobytes())


def upright(value: int) -> np.ndarray:
    """What Pillow shows of it."""
    return np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(with_orientation(value)))))


def decoded(content: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


def animated(format: str) -> bytes:
    frames = [Image.new("RGB", (6, 4), color) for color in ("red", "lime")]
    return saved(frames[0], format, save_all=True, append_images=frames[1:])


def with_zeros() -> bytes:
    content = bytearray(jpeg(quality=95))
    middle = content.index(b"\xff\xda") + 300
    content[middle : middle + 40] = bytes(40)
    return bytes(content)


def flipped() -> bytes:
    content = bytearray(png())
    content[len(content) // 2] ^= 8
    return bytes(content)


def endless() -> bytes:
    """Its pixels claim to be 2 GB."""
    content = bytearray(png())
    struct.pack_into(">I", content, content.index(b"IDAT") - 4, 2**31 - 1)
    return bytes(content)


def huge_bmp() -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 14_000, 14_000, 1, 24, *[0] * 6)


def huge_jpeg() -> bytes:
    content = bytearray(jpeg())
    struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, 60_000, 60_000)
    return bytes(content)


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def still(width: int, height: int, format: str = "PNG") -> bytes:
    return saved(Image.new("RGB", (width, height), RED), format)


def palette(*alpha: int) -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    if alpha:
        image.info["transparency"] = bytes(alpha)
    return image


NO_END, OTHER, MANY = "its end is missing", "another format than JPEG", "pixels are too many"
EXIF = (*range(1, 9), 99)
LA = Image.merge("LA", [Image.fromarray(np.uint8([row])) for row in ((100, 100, 0), (255, 0, 51))])
RGBA = np.array([[(255, 0, 0, 255), (255, 0, 0, 0), (255, 0, 0, 51)]], np.uint8)
RGBA_SEEN = [[RED, WHITE, (255, 204, 204)]]
GRAYS = SHALLOW[..., None]

CASES = [
    Picture(92, "zero bytes", "a.jpg", lambda: b"", "the file is empty"),
    Picture(93, "text", "a.jpg", lambda: b"<html>404</html>", "not an image, or of another format"),
    Picture(94, "half of a JPEG", "a.jpg", lambda: half(jpeg(quality=100)), NO_END),
    Picture(94, "a JPEG less 10 bytes", "a.jpg", lambda: jpeg()[:-10], NO_END),
    Picture(94, "a JPEG less its end", "a.jpg", lambda: jpeg()[:-2], NO_END),
    Picture(94, "a JPEG's header", "a.jpg", lambda: jpeg()[:100], "not an image that can be"),
    Picture(95, "zeros in a scan", "a.jpg", with_zeros, pixels=decoded(with_zeros())),
    Picture(96, "a PNG's flipped bit", "a.png", flipped, "damaged image"),
    Picture(96, "half of a PNG", "a.png", lambda: half(png()), NO_END),
    Picture(96, "a PNG's header", "a.png", lambda: png()[:40], "a PNG without pixels"),
    Picture(96, "a PNG less its end", "a.png", lambda: png()[:-4], NO_END),
    Picture(96, "a PNG's endless chunk", "a.png", endless, NO_END),
    Picture(97, "a PNG called .jpg", "a.jpg", png, pixels=NOISE),
    Picture(98, "gray", "a.png", lambda: saved(Image.fromarray(SHALLOW), "PNG"), pixels=GRAYS),
    Picture(98, "gray JPEG", "a.jpg", lambda: saved(Image.new("L", (9, 9), 77), "JPEG"), pixels=77),
    Picture(98, "gray, transparent", "a.png", lambda: saved(LA, "PNG"),
            pixels=[[(100,) * 3, WHITE, (204,) * 3]]),
    Picture(98, "RGBA", "a.png", lambda: saved(Image.fromarray(RGBA), "PNG"), pixels=RGBA_SEEN),
    Picture(98, "RGBA in WebP", "a.webp", 
            lambda: saved(Image.fromarray(RGBA), "WEBP", lossless=True), pixels=RGBA_SEEN),
    Picture(98, "palette", "a.png", lambda: saved(palette(), "PNG"), pixels=[[RED, (0, 0, 255)]]),
    Picture(98, "palette, transparent", "a.png", lambda: saved(palette(0, 51), "PNG"),
            pixels=[[WHITE, (204, 204, 255)]]),
    Picture(98, "a transparent colour", "a.png",
            lambda: raw_png((2, 1), 8, 2, [bytes((9, 9, 9, *RED))], chunk(b"tRNS", b"\0\t" * 3)),
            pixels=[[WHITE, RED]]),
    Picture(98, "1-bit", "a.png", lambda: raw_png((4, 1), 1, 0, [b"\xa0"]),
            pixels=[[WHITE, (0,) * 3] * 2]),
    Picture(98, "CMYK", "a.tif", lambda: saved(inks(0, 255, 255, 0), "TIFF"), pixels=RED),
    Picture(98, "inverted CMYK of Adobe", "a.jpg", lambda: saved(inks(0, 255, 255, 0), "JPEG"),
            pixels=RED, off=2),
    Picture(98, "CMYK with black", "a.jpg", lambda: saved(inks(0, 0, 0, 155), "JPEG"),
            pixels=100, off=2),
    Picture(98, "inverted CMYK of no one", "a.jpg",
            lambda: without_adobe(saved(inks(0, 255, 255, 0), "JPEG")), pixels=RED, off=2),
    Picture(99, "16-bit gray", "a.png", lambda: saved(Image.fromarray(DEEP), "PNG"), pixels=GRAYS),
    Picture(99, "16-bit gray TIFF", "a.tif", lambda: saved(Image.fromarray(DEEP), "TIFF"),
            pixels=GRAYS),
    Picture(99, "16-bit RGB", "a.png", lambda: deep_png(2, 65_535, 0, 25_700, 40_000, 128, 129),
            pixels=[[(255, 0, 100), (156, 0, 1)]]),
    Picture(99, "16-bit gray, transparent", "a.png",
            lambda: deep_png(4, 25_700, 65_535, 25_700, 0), pixels=[[(100,) * 3, WHITE]]),
    Picture(99, "16-bit RGBA", "a.png",
            lambda: deep_png(6, 65_535, 0, 0, 65_535, 65_535, 0, 0, 13_107),
            pixels=[[RED, (255, 204, 204)]]),
    Picture(99, "float TIFF", "a.tif", lambda: saved(Image.new("F", (6, 4), 0.5), "TIFF"),
            "32-bit pixels have no known white"),
    *(Picture(100, f"EXIF {value}", "a.jpg", lambda value=value: with_orientation(value),
              pixels=upright(value)) for value in EXIF),
    Picture(101, "animated GIF", "a.gif", lambda: animated("GIF"), "holds 2 pictures"),
    Picture(101, "animated PNG", "a.png", lambda: animated("PNG"), "holds 2 pictures"),
    Picture(101, "animated WebP", "a.webp", lambda: animated("WEBP"), "holds 2 pictures"),
    Picture(101, "TIFF of two pages", "a.tif", lambda: animated("TIFF"), "holds 2 pictures"),
    Picture(101, "FITS", "a.fits", lambda: b"SIMPLE  =" + b" " * 2871, OTHER),
    Picture(101, "EPS", "a.eps",
            lambda: saved(Image.new("L", (6, 4)), "EPS"), OTHER),
    Picture(101, "still GIF", "a.gif", lambda: still(6, 4, "GIF"), pixels=RED),
    *(Picture(102, f"PNG of {width}x{height}", "a.png",
              lambda size=(width, height): raw_png(size, 8, 2, []), f"{width}x{height} {MANY}")
      for width, height in ((14_000, 14_000), (10_000, 10_000), (1, 60_000))),
    Picture(102, "BMP of 14000x14000", "a.bmp", huge_bmp, "too many pixels"),
    Picture(102, "JPEG of 60000x60000", "a.jpg", huge_jpeg, f"60000x60000 {MANY}"),
    Picture(103, "1x1", "a.png", lambda: still(1, 1), pixels=RED),
    Picture(103, "3x2000", "a.png", lambda: still(3, 2000), pixels=RED),
    Picture(104, "a colour profile", "a.jpg", lambda: jpeg(icc_profile=bytes(70_000)),
            pixels=decoded(jpeg())),
    Picture(104, "progressive", "a.jpg", lambda: jpeg(progressive=True),
            pixels=decoded(jpeg(progressive=True))),
    Picture(104, "restart markers", "a.jpg", lambda: jpeg(restart_marker_rows=1),
            pixels=decoded(jpeg())),
    Picture(104, "4:4:4", "a.jpg", lambda: jpeg(subsampling="4:4:4"),
            pixels=decoded(jpeg(subsampling="4:4:4"))),
]  # fmt: skip
