"""Data sets in the format of PASCAL VOC: Annotations/, ImageSets/Main/, JPEGImages/."""

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path

from ssd.data.boxes import checked
from ssd.data.checks import Report
from ssd.data.columns import ALL, Columns, Object
from ssd.data.images import header

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".JPG", ".JPEG", ".PNG")


def recognises(root: Path) -> bool:
    """Whether a folder, or one below it, is in VOC format."""
    return any((folder / "Annotations").is_dir() for folder in folders(root))


def folders(root: Path) -> list[Path]:
    """The data sets at a root: itself, or those below it, as VOC2007 and VOC2012."""
    if (root / "Annotations").is_dir():
        return [root]
    return sorted(path.parent for path in root.glob("*/Annotations"))


def splits(root: Path) -> list[str]:
    """The image sets that there are, after a slash where the root holds several data sets."""
    names = []
    for folder in folders(root):
        front = "" if folder == root else f"{folder.name}/"
        files = sorted((folder / "ImageSets" / "Main").glob("*.txt"))
        names += [f"{front}{file.stem}" for file in files]
    return names


def read(root: Path, split: str, report: Report, columns: Columns) -> None:
    """The images of a split, in its order.

    split: name of a file in ImageSets/Main/, without .txt; after a slash where `root` holds several
    data sets, as in VOC2007/trainval; or ALL, every annotation that there is
    """
    if split == ALL:
        for folder in folders(root):
            paths = sorted((folder / "Annotations").glob("[!.]*.xml"))
            read_pictures(folder, [path.stem for path in paths], report, columns)
        return
    front, _, image_set = split.rpartition("/")
    read_pictures(root / front, read_ids(root / front, image_set), report, columns)


def read_pictures(folder: Path, ids: Iterable[str], report: Report, columns: Columns) -> None:
    for id in ids:
        try:
            read_picture(folder, id, report, columns)
        except ValueError as error:
            report.fault("bad_annotation", str(error))


def image_set_file(folder: Path, image_set: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{image_set}.txt"


def read_ids(folder: Path, image_set: str) -> list[str]:
    """Ids of an image set, in the order of its file. "id -1" of a class's own list is no member."""
    path = image_set_file(folder, image_set)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; data.root is where the VOC folders lie")
    if not path.is_file():
        others = sorted(file.stem for file in path.parent.glob("*.txt"))
        known = f"there are {', '.join(others)}" if others else f"{path.parent} has none"
        raise ValueError(f"{path}: no such image set; {known}")
    lines = (line.split() for line in path.read_text(encoding="utf-8-sig").splitlines())
    ids = [line[0] for line in lines if line and line[1:] != ["-1"]]
    if not ids:
        raise ValueError(f"{path}: names no images")
    return ids


def read_picture(folder: Path, id: str, report: Report, columns: Columns) -> None:
    """One image's annotation, checked against the image's header."""
    path = folder / "Annotations" / f"{id}.xml"
    root = parse(path)
    file = find_image(folder / "JPEGImages", id)
    size = header(file, annotated_size(root, path), path, report)
    if size is None:
        return
    nodes = enumerate(root.findall("object"), start=1)
    objects = [read_object(node, f"{path}: object {count}") for count, node in nodes]
    columns.add(id, str(file), size, checked(objects, size, path.name, report, inclusive=True))


def parse(path: Path) -> ElementTree.Element:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError(f"{path}: has a DOCTYPE or an ENTITY, which no annotation needs")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: not XML ({error})") from None
    if root.tag != "annotation":
        raise ValueError(f"{path}: root is <{root.tag}>, not <annotation>")
    return root


def find_image(folder: Path, id: str) -> Path:
    for suffix in SUFFIXES:
        path = folder / f"{id}{suffix}"
        if path.is_file():
            return path
    raise ValueError(f"{folder / id}: no such image; tried {', '.join(SUFFIXES)}")


def annotated_size(root: ElementTree.Element, path: Path) -> tuple[int, int] | None:
    """Width and height that the file states; None where it states none, or 0 as some tools do."""
    node = root.find("size")
    if node is None:
        return None
    width, height = (int(number(node, side, str(path))) for side in ("width", "height"))
    return (width, height) if width and height else None


def read_object(node: ElementTree.Element, where: str) -> Object:
    """One object. VOC is 1-based and inclusive; this is the only place that subtracts one."""
    name = (node.findtext("name") or "").strip()
    if not name:
        raise ValueError(f"{where}: has no name")
    difficult = (node.findtext("difficult") or "0").strip() or "0"
    if difficult not in ("0", "1"):
        raise ValueError(f"{where} ({name}): difficult is {difficult!r}, not 0 or 1")
    box = node.find("bndbox")
    if box is None:
        raise ValueError(f"{where} ({name}): has no bndbox")
    where = f"{where} ({name}): bndbox"
    xmin, ymin, xmax, ymax = (number(box, side, where) for side in ("xmin", "ymin", "xmax", "ymax"))
    return Object(name, (xmin - 1, ymin - 1, xmax, ymax), difficult == "1")


def number(node: ElementTree.Element, field: str, where: str) -> float:
    text = (node.findtext(field) or "").strip()
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: {field} is {text!r}, not a number")
    return value
