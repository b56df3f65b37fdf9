"""Cases 57 to 67: lists of images."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

from corpus.annotations import DOG, READ
from corpus.cases import ACCEPTED, ERROR, POLICY, Case
from voc import annotation, write_annotation, write_image


def listed(content: str | bytes, *ids: str) -> Callable[[Path], None]:
    """A list, and images of some ids."""

    def make(root: Path) -> None:
        path = root / "ImageSets" / "Main" / "train.txt"
        path.parent.mkdir(parents=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        (root / "Annotations").mkdir()
        for id in ids:
            write_image(root, id)
            write_annotation(root, id, annotation([DOG]))

    return make


def lacking(folder: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        listed("a\n", "a")(root)
        for path in (root / folder).iterdir():
            path.unlink()

    return make


ACCENTS = "caf\u00e9"
APART = unicodedata.normalize("NFD", ACCENTS)
ODD = ("my photo 12", "a#1", "a%20b", "\U0001f415", "x" * 251, "a.b.c", "year/a")
LEAVING = ("../a", "/etc/passwd", "b/../../a", "C:\\a\\b/c")

CASES = [
    Case(57, "CRLF", listed("a\r\nb\r\n", "a", "b"), ACCEPTED, boxes=[READ] * 2),
    Case(58, "blank lines", listed("\na\n\n  \nb\n\n", "a", "b"), ACCEPTED, boxes=[READ] * 2),
    Case(
        59, "columns of a class", listed("a 1\nb -1\nc  0\n", "a", "c"), ACCEPTED, boxes=[READ] * 2
    ),
    Case(
        60,
        "an id twice",
        listed("a\nb\na\n", "a", "b"),
        ERROR,
        "train of .*: image a is listed twice",
    ),
    Case(
        61,
        "no image",
        lacking("JPEGImages"),
        POLICY,
        r"a\.xml: its image is missing: .*JPEGImages: no such image: 'a'",
        [],
        "bad_image",
    ),
    Case(
        62, "no annotation", lacking("Annotations"), ERROR, "Annotations: no such annotation: 'a'"
    ),
    *(
        Case(63, id, listed(f"{id}\n", "a"), ERROR, "Annotations: .* leaves the data folder")
        for id in LEAVING
    ),
    Case(63, "a NUL byte", listed("a\0\n", "a"), ERROR, r"no such annotation: 'a\\x00'"),
    Case(63, "a page", listed("x" * 5000, "a"), ERROR, "no such annotation: .* of 5000 characters"),
    Case(64, "an empty list", listed("\n"), ERROR, r"train\.txt: names no images"),
    Case(64, "a list in latin-1", listed(b"caf\xe9\n"), ERROR, r"train\.txt: not UTF-8 text"),
    Case(66, "accents apart in the list", listed(APART, ACCENTS), ACCEPTED, boxes=[READ]),
    Case(66, "accents apart in the files", listed(ACCENTS, APART), ACCEPTED, boxes=[READ]),
    *(Case(67, id[:20], listed(f"{id}\n", id), ACCEPTED, boxes=[READ]) for id in ODD),
]
