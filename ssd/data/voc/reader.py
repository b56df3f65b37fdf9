"""Data sets in the format of PASCAL VOC: Annotations/, ImageSets/Main/, JPEGImages/.

An annotation belongs to the image of its own name; what its <filename>, <folder> and <path> say is
never opened. Boxes are of the picture of the annotated size: as it is shown, or, where only that
fits, as the camera stored it, before EXIF turned it.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from ssd.data.boxes import checked
from ssd.data.checks import Report
from ssd.data.columns import ALL, Columns, Object
from ssd.data.images.folders import SUFFIXES
from ssd.data.images.headers import Header
from ssd.data.images.reading import agreed_size, found_header
from ssd.data.images.turning import turned_box
from ssd.data.listings import Listing
from ssd.data.voc.annotation import annotated_size, parse, read_objects
from ssd.data.voc.image_sets import read_ids

MOST_ZEROS = 0.05  # of all boxes; more than that is another way of counting

NO_SIZE = "annotations state no size; it is read from their images"
OTHER_FILE = "annotations give the name of another file; they belong to the image of their own name"
STORED = "annotations are of photographs before EXIF turns them; their boxes are turned too"
TWICE = "objects are in their image twice, and kept"
ZERO = "boxes have a coordinate of 0, where VOC counts from 1"


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
