"""Data sets in the format of PASCAL VOC: Annotations/, ImageSets/Main/, JPEGImages/."""

import difflib
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ssd.data.checks import Report
from ssd.data.images import read_size
from ssd.records import Annotations

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".JPG", ".JPEG", ".PNG")


class Object(NamedTuple):
    """One <object> of an annotation file; the box in pixels, 0-based and half-open."""

    name: str
    difficult: bool
    box: tuple[float, float, float, float]


class Picture(NamedTuple):
    """One image and its annotation file."""

    id: str
    file: Path
    size: tuple[int, int]
    objects: list[Object]


Split = str | Sequence[str] | None


def read_split(root: Path, split: Split, report: Report) -> list[Picture]:
    """The images of a split, or of several one after another.

    split: name of a file in ImageSets/Main/, without .txt; after a slash where `root` holds several
    data sets, as in VOC2007/trainval. Ids of several data sets must not collide.
    """
    pictures: dict[str, Picture] = {}
    for name in names_of(split):
        folder, _, image_set = name.rpartition("/")
        for id in read_ids(root / folder, image_set):
            if id in pictures:
                raise ValueError(f"{name} of {root}: image {id} is listed twice")
            pictures[id] = read_picture(root / folder, id, report)
    return list(pictures.values())


def names_of(split: Split) -> list[str]:
    """The image sets of a split: none, one, or several."""
    if split is None:
        return []
    return [split] if isinstance(split, str) else list(split)


def has_split(root: Path, split: str) -> bool:
    """Whether the image set exists. Arguments as for `read_split`."""
    folder, _, image_set = split.rpartition("/")
    return image_set_file(root / folder, image_set).is_file()


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


def read_picture(folder: Path, id: str, report: Report) -> Picture:
    """One image's annotation, checked against the image's header."""
    path = folder / "Annotations" / f"{id}.xml"
    root = parse(path)
    file = find_image(folder / "JPEGImages", id)
    size = read_size(file)
    annotated = annotated_size(root, path)
    if annotated not in (None, size):
        raise ValueError(
            f"{path}: size is {annotated[0]}x{annotated[1]}, but {file.name} is {size[0]}x{size[1]}"
        )
    nodes = enumerate(root.findall("object"), start=1)
    objects = [read_object(node, f"{path}: object {count}") for count, node in nodes]
    return Picture(id, file, size, checked(objects, size, path, report))


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
    return Object(name, difficult == "1", (xmin - 1, ymin - 1, xmax, ymax))


def number(node: ElementTree.Element, field: str, where: str) -> float:
    text = (node.findtext(field) or "").strip()
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: {field} is {text!r}, not a number")
    return value


def checked(
    objects: list[Object], size: tuple[int, int], path: Path, report: Report
) -> list[Object]:
    """The objects whose boxes hold something of the image, clipped to it; the others are
    reported."""
    width, height = size
    good = []
    for index, (name, difficult, (x1, y1, x2, y2)) in enumerate(objects):
        report.boxes += 1
        inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        # a file's xmin = xmax would be one pixel wide by the inclusive reading; it is a slip of the
        # tool
        flat = x1 + 1 >= x2 or y1 + 1 >= y2
        if flat or inside[0] >= inside[2] or inside[1] >= inside[3]:
            corners = f"xmin {x1 + 1:g}, ymin {y1 + 1:g}, xmax {x2:g}, ymax {y2:g}"
            why = "no width or height" if flat else f"outside the {width}x{height} image"
            report.drop_box(f"{path.name}: object {index + 1} ({name}): {why} ({corners})")
            continue
        report.clipped += inside != (x1, y1, x2, y2)
        good.append(Object(name, difficult, inside))
    return good


def class_names(pictures: Iterable[Picture]) -> list[str]:
    """The names that occur, sorted."""
    return sorted({object.name for picture in pictures for object in picture.objects})


def to_annotations(pictures: Sequence[Picture], classes: Sequence[str]) -> Annotations:
    """Columns of a split; label k + 1 is classes[k]."""
    label = {name: index + 1 for index, name in enumerate(classes)}
    for picture in pictures:
        for object in picture.objects:
            if object.name not in label:
                raise ValueError(unknown_class(object.name, picture, classes))
    objects = [object for picture in pictures for object in picture.objects]
    counts = torch.tensor([0, *(len(picture.objects) for picture in pictures)])
    return Annotations(
        ids=[picture.id for picture in pictures],
        files=[str(picture.file) for picture in pictures],
        sizes=torch.tensor([picture.size for picture in pictures]).reshape(-1, 2),
        starts=counts.cumsum(0),
        boxes=torch.tensor([object.box for object in objects], dtype=torch.float64).reshape(-1, 4),
        labels=torch.tensor([label[object.name] for object in objects], dtype=torch.int64),
        difficult=torch.tensor([object.difficult for object in objects], dtype=torch.bool),
    )


def unknown_class(name: str, picture: Picture, classes: Sequence[str]) -> str:
    folded = {known.casefold().replace(" ", ""): known for known in classes}
    near = folded.get(name.casefold().replace(" ", "")) or next(
        iter(difflib.get_close_matches(name, classes, n=1)), None
    )
    hint = f"; did you mean {near}?" if near else ""
    return f"{picture.id}.xml: unknown class {name!r}{hint} The classes are {', '.join(classes)}"
