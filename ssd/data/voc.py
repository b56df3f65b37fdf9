"""Data sets in the format of PASCAL VOC: Annotations/, ImageSets/Main/, JPEGImages/.

An annotation belongs to the image of its own name; what its <filename>, <folder> and <path> say is
never opened. Boxes are of the picture of the annotated size: as it is shown, or, where only that
fits, as the camera stored it, before EXIF turned it.
"""

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from reprlib import Repr

from ssd.data.boxes import checked
from ssd.data.checks import Report
from ssd.data.columns import ALL, Columns, Object
from ssd.data.folders import SUFFIXES
from ssd.data.headers import Header
from ssd.data.images import agreed_size, found_header
from ssd.data.listings import Listing
from ssd.data.paths import read_text
from ssd.data.turning import turned_box

SIDES = ("xmin", "ymin", "xmax", "ymax")
FLAGS = ("-1", "0", "1")  # the second column of a class's own list: absent, difficult, present
# What float() takes is more: 1e3, 1_0, nan, and the digits of every script.
NUMBER = re.compile(r"[ \t\r\n]*-?[0-9]{1,9}(?:\.[0-9]{0,30})?[ \t\r\n]*")

MOST_BYTES = 5 * 2**20  # of an annotation; 10,000 objects are 3 MB
MOST_TAGS = 500_000  # 5 MiB of opening tags alone are 500 MB in memory
MOST_LIST_BYTES = 2**30  # of an image set
DEEPEST = 10  # levels of an annotation; VOC's parts of objects are the fifth
LONGEST_NAME = 200  # characters of a class's name
MOST_ZEROS = 0.05  # of all boxes; more than that is another way of counting

NO_SIZE = "annotations state no size; it is read from their images"
OTHER_FILE = "annotations give the name of another file; they belong to the image of their own name"
STORED = "annotations are of photographs before EXIF turns them; their boxes are turned too"
TWICE = "objects are in their image twice, and kept"
ZERO = "boxes have a coordinate of 0, where VOC counts from 1"

SHORT = Repr()
SHORT.maxstring = 60


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
    zeros, boxes = report.notes[ZERO], report.boxes
    if split == ALL:
        for folder in folders(root):
            read_pictures(root, folder, None, report, columns)
    else:
        front, _, image_set = split.rpartition("/")
        read_pictures(root, root / front, read_ids(root / front, image_set), report, columns)
    zeros, boxes = report.notes[ZERO] - zeros, report.boxes - boxes
    check_first_pixel(f"{split} of {root}", zeros, boxes, report)


def read_pictures(
    root: Path, folder: Path, ids: Sequence[str] | None, report: Report, columns: Columns
) -> None:
    """Images of one of `folders`; of all annotations where there are no ids."""
    annotations = Listing(folder / "Annotations", (".xml",), root)
    images = Listing(folder / "JPEGImages", SUFFIXES, root)
    for id in annotations.ids() if ids is None else ids:
        try:
            path, file = annotations.find(id, "annotation"), images.find(id, "image")
            read_picture(id, path, file, report, columns)
        except ValueError as error:
            report.fault("bad_annotation", str(error))


def check_first_pixel(where: str, zeros: int, boxes: int, report: Report) -> None:
    """Whether files count pixels from 1, as VOC does. Boxes of others lie one pixel off, all alike,
    so that no score shows it."""
    if zeros > MOST_ZEROS * boxes:
        report.fault(
            "bad_annotation",
            f"{where}: {zeros} of {boxes} boxes have an xmin or ymin of 0, so the files seem to "
            "count pixels from 0, and VOC counts from 1; add 1 to all their coordinates, or export "
            "them as COCO JSON, which counts from 0; if these are slips, make them 1",
        )


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
    text = read_text(path, MOST_LIST_BYTES)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    columns = [line.rsplit(maxsplit=1) for line in lines]
    if all(len(row) == 2 and row[1] in FLAGS for row in columns):
        lines = [id for id, flag in columns if flag != "-1"]
    if not lines:
        raise ValueError(f"{path}: names no images")
    return lines


def read_picture(id: str, path: Path, file: Path, report: Report, columns: Columns) -> None:
    """One image's annotation, checked against the image's header."""
    root = parse(path)
    found = found_header(file, report)
    if found is None:
        return
    objects = read_objects(root, path, report)
    placed, size = objects, annotated_size(root, path)
    if size is None:
        report.note(NO_SIZE)
    elif size == found.stored != found.size:
        report.note(STORED)
        placed, size = [turned(item, found) for item in objects], found.size
    size = agreed_size(found, file, size, path, report)
    if size is None:
        return
    note_oddities(root, id, objects, report)
    columns.add(id, str(file), size, checked(placed, size, str(path), report, inclusive=True))


def turned(item: Object, found: Header) -> Object:
    return item._replace(box=turned_box(item.box, found.orientation, found.stored))


def note_oddities(
    root: ElementTree.Element, id: str, objects: Sequence[Object], report: Report
) -> None:
    """Count what is right, but rarely meant. objects: as the file has them"""
    name = re.split(r"[/\\]", root.findtext("filename") or "")[-1].strip()
    if name and id.rpartition("/")[2] not in (name, name.rpartition(".")[0]):
        report.note(OTHER_FILE)
    if twice := len(objects) - len(set(objects)):
        report.note(TWICE, twice)
    if zeros := sum(-1 <= item.box[0] < 0 or -1 <= item.box[1] < 0 for item in objects):
        report.note(ZERO, zeros)


def parse(path: Path) -> ElementTree.Element:
    """The root of an annotation."""
    try:
        with open(path, "rb") as file:
            large = os.fstat(file.fileno()).st_size > MOST_BYTES
            content = b"" if large else file.read()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    if large:
        raise ValueError(f"{path}: is larger than {MOST_BYTES >> 20} MiB, so no annotation")
    if content.count(b"<") > MOST_TAGS:
        raise ValueError(f"{path}: has more than {MOST_TAGS:,} tags, so no annotation")
    plain = content.replace(b"\0", b"")  # UTF-16's; expat's other encodings hold ASCII as it is
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise ValueError(f"{path}: has a DOCTYPE or an ENTITY, which no annotation needs")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{path}: not XML that can be read ({error})") from None
    if root.tag != "annotation":
        raise ValueError(f"{path}: root is {shown(root.tag)}, not 'annotation'")
    level, depth = list(root), 1
    while level:
        level, depth = [child for node in level for child in node], depth + 1
        if depth > DEEPEST:
            raise ValueError(f"{path}: is nested more than {DEEPEST} levels deep, so no annotation")
    return root


def annotated_size(root: ElementTree.Element, path: Path) -> tuple[int, int] | None:
    """Width and height that the file states; None where it states none, or 0 as some tools do."""
    node = root.find("size")
    if node is None:
        return None
    try:
        width, height = number(node, "width"), number(node, "height")
    except ValueError as error:
        raise ValueError(f"{path}: size: {error}") from None
    if width % 1 or height % 1:
        raise ValueError(f"{path}: size is {width:g}x{height:g}, not whole pixels")
    return (int(width), int(height)) if width > 0 and height > 0 else None


def read_objects(root: ElementTree.Element, path: Path, report: Report) -> list[Object]:
    objects = []
    for count, node in enumerate(root.findall("object"), start=1):
        try:
            objects.append(read_object(node))
        except ValueError as error:
            name = shown((node.findtext("name") or "").strip())[1:-1]
            named = f" ({name})" if name else ""
            report.fault("bad_annotation", f"{path}: object {count}{named}: {error}")
    return objects


def read_object(node: ElementTree.Element) -> Object:
    """One object. VOC is 1-based and inclusive; this is the only place that subtracts one."""
    name = (node.findtext("name") or "").strip()
    if not name:
        raise ValueError("has no name")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"the name is not one line of at most {LONGEST_NAME} visible characters")
    difficult = (node.findtext("difficult") or "0").strip() or "0"
    if difficult not in ("0", "1"):
        raise ValueError(f"difficult is {shown(difficult)}, not 0 or 1")
    boxes = node.findall("bndbox")
    if len(boxes) != 1:
        raise ValueError(f"has {len(boxes) or 'no'} bndbox; an object has one")
    try:
        xmin, ymin, xmax, ymax = [number(boxes[0], side) for side in SIDES]
    except ValueError as error:
        raise ValueError(f"bndbox: {error}") from None
    return Object(name, (xmin - 1, ymin - 1, xmax, ymax), difficult == "1")


def number(node: ElementTree.Element, field: str) -> float:
    text = node.findtext(field)
    if text is None:
        raise ValueError(f"{field} is missing")
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{field} is {shown(text.strip())}, not a number as 12 or 12.5")
    return float(text)


def shown(text: str) -> str:
    """In quotes, on one line, and cut where it is long."""
    return SHORT.repr(text)
