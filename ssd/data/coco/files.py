"""Where the files of a data set in COCO format lie, as people have them."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

OTHER_WORDS = {"instances", "annotation", "annotations", "coco", "labels", "default", "result"}
BEGINNING = re.compile(
    rb'\s*\{(\s*"(info|licenses|annotations)"\s*:|.*"(images|categories)"\s*:\s*\[)', re.S
)
HEAD = 16_384  # bytes that hold the first keys


def annotation_files(root: Path) -> list[tuple[str, Path]]:
    """JSON files that may be annotations, with their splits; "" for a file that names none.

    annotations/instances_train2017.json is train2017, and then nothing else counts: beside it are
    captions and key points of the same images. Else annotations/train.json, train.json, and
    train/_annotations.coco.json as Roboflow has it.
    """
    files = sorted((root / "annotations").glob("instances_*.json"))
    if files:
        return [(split_name(path), path) for path in files]
    files = sorted((root / "annotations").glob("[!.]*.json")) + sorted(root.glob("[!.]*.json"))
    named = [(split_name(path), path) for path in files]
    below = sorted(root.glob("*/[!.]*.json"))
    return named + [
        (path.parent.name, path)
        for path in below
        if path.parent.name != "annotations" and not split_name(path)
    ]


def split_name(path: Path) -> str:
    """What is left of a file's name without the words that say what it is."""
    words = re.split(r"([_.-])", path.stem)  # words and what parts them, in turn
    while words and (words[0] in OTHER_WORDS or words[0] in "_.-"):
        words.pop(0)
    while words and (words[-1] in OTHER_WORDS or words[-1] in "_.-"):
        words.pop()
    return "".join(words)


def looks_like_coco(path: Path) -> bool:
    """Whether a file begins as COCO's do; results, and JSON of other kinds, do not."""
    try:
        if not path.is_file():  # to open a pipe is to wait for its writer
            return False
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return BEGINNING.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def image_folders(root: Path, split: str, path: Path) -> list[str]:
    """The folders that images of a split may lie in, the likeliest first. path: the annotations"""
    names = [name for name in (split, path.stem.removeprefix("instances_")) if name]
    folders = [
        *(root / folder for name in names for folder in (f"images/{name}", f"{name}/images", name)),
        *(root / "images", root / "data", path.parent, path.parent / "data", root),
    ]
    return [str(folder) for folder in dict.fromkeys(folders) if folder.is_dir()]


def find_image(folders: Sequence[str], name: str) -> str | None:
    """The path of an image in the first folder that has it."""
    paths = (f"{folder}/{name}" for folder in folders)
    return next((path for path in paths if os.path.isfile(path)), None)
