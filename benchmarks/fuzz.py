"""Damaged annotations, lists and images of every format, read until the time is up.

    python benchmarks/fuzz.py [--seconds 60] [--seed 0]

A case is a small valid file with one to four changes, made by (seed, number) alone. It must be
read, or refused with a ValueError of one line that names it; whatever else happens is printed,
and the exit code is then 1.
"""

import argparse
import io
import logging
import random
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from ssd.data.checks import POLICIES, RAISE, Report
from ssd.data.columns import ALL, to_annotations
from ssd.data.formats import FORMATS, read_split
from ssd.data.images.reading import read_image, read_size

ANNOTATION = b"""<annotation><filename>a.png</filename>
<size><width>24</width><height>16</height><depth>3</depth></size>
<object><name>dog</name><difficult>0</difficult>
<bndbox><xmin>3</xmin><ymin>2</ymin><xmax>20</xmax><ymax>9.5</ymax></bndbox></object>
<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>24</xmax><ymax>16</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object></annotation>"""
LIST = b"a\nb 1\nc -1\n\na\n"
COCO = b"""{"info": {"year": 2017}, "images": [{"id": 1, "file_name": "a.png", "width": 24,
"height": 16}, {"id": 2, "file_name": "b.png"}], "annotations": [{"id": 1, "image_id": 1, "area": 9,
"category_id": 3, "bbox": [3, 2.5, 9, 8], "iscrowd": 0, "segmentation": [[3, 2, 9, 8, 3, 8]]},
{"id": 2, "image_id": 2, "category_id": 7, "bbox": [0, 0, 24, 16], "iscrowd": 1}],
"categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog", "supercategory": "animal"}]}"""
LABELS = b"0 .5 .5 .2 .2\n1 0.1 0.1 0.9 0.1 0.5 0.6\n0 0.25 0.5 0.5 1\n"
CLASSES = b"cat\ndog\n"
YAML = b"""path: .
train: images
val: [images]
nc: 2
names:
  0: cat
  1: dog
"""
CSV = b"""filename,width,height,class,xmin,ymin,xmax,ymax
a.png,24,16,cat,3,2,20,9.5
a.png,24,16,dog,0,0,24,16
b.png,24,16,dog,1,1,9,9
c.png,24,16,,,,,
"""
OPEN_IMAGES = b"""ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf
a,/m/1,0.1,0.5,0.2,0.6,0
b,/m/2,0,1,0,1,1
"""
DESCRIBED = b"/m/1,cat\n/m/2,dog\n"
XML_TOKENS = (
    b"<object>", b"</object>", b"<object/>", b"<bndbox>", b"</bndbox>", b"<name>", b"<size>", b"-",
    b"</annotation>", b"&lt;", b"&#10;", b"&#x2028;", b"&#0;", b"&#x1F600;", b"&dog;", b"<![CDATA[",
    b"]]>", b"<!--", b"-->", b"<!DOCTYPE a [", b"<!ENTITY a 'b'>", b"<?xml version='1.0'?>",
    b"<?xml version='1.0' encoding='utf-16'?>", b"<?xml version='1.0' encoding='gbk'?>",
    b"<?xml version='1.0' encoding='rot13'?>", b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"nan", b"inf",
    b"1e308", b"9" * 400, b"0.", b"-0", b"1_0", b"\xef\xbc\x91", b" xmlns='a&#10;b'", b"a:",
)  # fmt: skip
LIST_TOKENS = (
    b"../", b"/", b"\\", b"C:", b"\0", b"\r", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b" 1", b" -1",
    b"\t0", b".", b"..", b"~", b"%2e", b"\xef\xbb\xbf", b"\xff\xfe", b"x" * 300, b"e\xcc\x81", b"*",
    b"a.png", b"file:///", b"\x1b[31m",
)  # fmt: skip
TEXT_TOKENS = (
    b'"', b"{", b"}", b"[", b"]", b",", b":", b";", b"null", b"true", b"-", b"- ", b"-0", b"0.5",
    b"1e308", b"1e999", b"1e-320", b"NaN", b"9" * 30, b"1_0", b"\xef\xbc\x91", b"\\ud800",
    b"\\u0000", b"\\u2028", b"\xe2\x80\xa8", b"../", b"/", b"C:\\", b"\0", b"\xff", b"\xff\xfe",
    b"\xef\xbb\xbf", b"\n", b"\r", b"\t", b" ", b'"id": 1,', b'""', b"a.png", b"b", b"&a ", b"*a",
    b"!!int ", b"|", b"?", b"train: ", b"names:", b".", b"0 .5 .5 .2 .2\n", b"# ", b"x" * 300,
)  # fmt: skip
IMAGE_TOKENS = (
    b"\xff\xd9", b"\xff\xd8", b"\xff\xda", b"\xff\xc0", b"\xff\xff", b"\0" * 40, b"\xff\xe1\0\x10",
    b"IDAT", b"IEND", b"tRNS", b"eXIf", b"acTL", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"II*\0",
    b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0",
)  # fmt: skip


IMAGE_OF_UNKNOWN = r"(images/)?[abc](\.png)?: unknown class"


def picture(mode: str, format: str, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).convert(mode).save(file, format, exif=exif.tobytes(), **options)
    return file.getvalue()


def pictures() -> list[bytes]:
    return [
        picture("RGB", "JPEG"),
        picture("L", "JPEG", progressive=True),
        picture("CMYK", "JPEG"),
        picture("RGB", "PNG"),
        picture("RGBA", "PNG"),
        picture("P", "PNG", transparency=3),
        picture("RGB", "BMP"),
        picture("RGB", "GIF"),
        picture("RGB", "TIFF", compression="tiff_lzw"),
        picture("RGB", "WEBP"),
    ]


def mutated(content: bytes, tokens: Sequence[bytes], rng: random.Random) -> bytes:
    """With one to four changes."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((1, 2, 4, 16, 200)))
        piece = content[start:end]
        change = rng.randrange(6)
        if change == 0:
            piece = bytes(byte ^ 1 << rng.randrange(8) for byte in piece[:1]) + piece[1:]
        elif change == 1:
            piece = b""
        elif change == 2:
            piece *= rng.choice((2, 3, 50))
        elif change == 3:
            piece = rng.choice(tokens) + piece
        elif change == 4:
            piece = rng.choice(tokens)
        else:
            piece = rng.randbytes(len(piece))
        content = content[:start] + piece + content[end:]
    return content[: rng.randrange(len(content) + 1)] if rng.random() < 0.1 else content


class Text(NamedTuple):
    """A file that is damaged, in a valid data set of the images a, b and c."""

    format: str
    path: str
    content: bytes
    tokens: Sequence[bytes]
    others: dict[str, bytes]  # files beside it
    split: str = ALL

    def case(self, root: Path, rng: random.Random) -> None:
        content = mutated(self.content, self.tokens, rng)
        if rng.random() < 0.1:
            content = content.decode("latin-1").encode("utf-16")
        for name, text in (self.others | {self.path: content}).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        read(root, self.format, self.split, rng)


def read(root: Path, format: str, split: str, rng: random.Random) -> None:
    """As the data module does, its own way or the doctor's."""
    report = Report(dict.fromkeys(POLICIES, RAISE), collect=rng.random() < 0.5)
    FORMATS[format].splits(root)
    records = read_split(root, format, split, report, first_pixel=None)
    found = to_annotations(records, ["cat", "dog"], report)
    report.close()
    boxes, counts = found.boxes.numpy(), found.starts.diff().numpy()
    sizes = np.repeat(found.sizes.numpy(), counts, axis=0)
    low, high = boxes[:, :2], boxes[:, 2:]
    assert np.all((low >= 0) & (low < high) & (high <= sizes)), "a box is not in its image"


def image_case(root: Path, rng: random.Random) -> None:
    path = root / "image.jpg"
    path.write_bytes(mutated(rng.choice(PICTURES), IMAGE_TOKENS, rng))
    size = read_size(path)
    pixels = read_image(path)
    assert pixels.dtype == np.uint8, pixels.dtype
    assert pixels.shape == (size[1], size[0], 3), f"{pixels.shape}, but {size} by the header"


PICTURES = pictures()
VOC_LIST = "ImageSets/Main/train.txt"
VOC_ANNOTATIONS = {f"Annotations/{id}.xml": ANNOTATION for id in "abc"}
TEXTS = {
    "annotation": Text("voc", "Annotations/a.xml", ANNOTATION, XML_TOKENS, {}),
    "list": Text("voc", VOC_LIST, LIST, LIST_TOKENS, VOC_ANNOTATIONS, "train"),
    "coco": Text("coco", "annotations/instances_train.json", COCO, TEXT_TOKENS, {}),
    "labels": Text("yolo", "labels/a.txt", LABELS, TEXT_TOKENS, {"classes.txt": CLASSES}),
    "classes": Text("yolo", "classes.txt", CLASSES, TEXT_TOKENS, {"labels/a.txt": LABELS}),
    "yaml": Text("yolo", "data.yaml", YAML, TEXT_TOKENS, {"labels/a.txt": LABELS}, "train"),
    "csv": Text("csv", "train.csv", CSV, TEXT_TOKENS, {}),
    "open images": Text(
        "csv", "train.csv", OPEN_IMAGES, TEXT_TOKENS, {"class-descriptions.csv": DESCRIBED}
    ),
}
KINDS: dict[str, Callable[[Path, random.Random], None]] = {
    **{kind: text.case for kind, text in TEXTS.items()},
    "image": image_case,
}


def prepare(root: Path) -> None:
    """A folder of three images for each kind."""
    for kind in KINDS:
        voc = kind in TEXTS and TEXTS[kind].format == "voc"
        folder = root / kind / ("JPEGImages" if voc else "images")
        folder.mkdir(parents=True)
        for id in "abc":
            Image.new("RGB", (24, 16)).save(folder / f"{id}.png")


def outcome(kind: str, number: int, seed: int, root: Path) -> str:
    """What became of a case: "read", "refused", or what went wrong, in words."""
    try:
        with warnings.catch_warnings(action="error"):
            KINDS[kind](root / kind, random.Random(f"{seed} {kind} {number}"))
    except ValueError as error:
        lines = str(error).splitlines()
        if len(lines) != 1 or len(lines[0]) > 2000:
            return f"an error of {len(lines)} lines and {len(str(error))} characters: {error!r}"
        if str(root) not in lines[0] and not re.match(IMAGE_OF_UNKNOWN, lines[0]):
            return f"an error that names neither a file nor an image: {error}"
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.disable()
    counts: Counter[tuple[str, str]] = Counter()
    crashes, number, slowest = 0, 0, (0.0, "")
    end = time.monotonic() + given.seconds
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root)
        while time.monotonic() < end:
            for kind in KINDS:
                start = time.monotonic()
                what = outcome(kind, number, given.seed, root)
                slowest = max(slowest, (time.monotonic() - start, f"{kind} {number}"))
                if what not in ("read", "refused"):
                    crashes += 1
                    print(f"{kind} {number} of seed {given.seed}: {what}")
                    what = "crashed"
                counts[kind, what] += 1
            number += 1
    for (kind, what), count in sorted(counts.items()):
        print(f"{kind:12}{what:10}{count:8}")
    print(
        f"{counts.total()} cases in {given.seconds:g} s, {crashes} crashes; the slowest took "
        f"{slowest[0]:.2f} s: {slowest[1]} of seed {given.seed}"
    )
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
