"""Data sets in the format of PASCAL VOC: Annotations/, ImageSets/Main/, JPEGImages/.

An annotation belongs to the image of its own name; what its <filename>, <folder> and <path> say is
never opened. Boxes are of the picture of the annotated size: as it is shown, or, where only that
fits, as the camera stored it, before EXIF turned it.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssd.data.boxes import (
    VOC_PIXEL,
    Place,
    boxes_of,
    checked,
    corners,
    counted_from_0,
    with_boxes,
)
from ssd.data.checks import Report
from ssd.data.columns import ALL, Columns, Object
from ssd.data.images.folders import SUFFIXES
from ssd.data.images.opening import Opened, note_unnamed, open_image
from ssd.data.listings import Listing
from ssd.data.paths import check_link
from ssd.data.voc.annotation import annotated_size, parse, read_objects
from ssd.data.voc.image_sets import read_ids

MOST_ZEROS = 0.05  # of all boxes; more than that is another way of counting

NO_SIZE = "annotations state no size; it is read from their images"
OTHER_FILE = "annotations give the name of another file; they belong to the image of their own name"
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


def read(root: Path, split: str, report: Report, columns: Columns, first_pixel: int | None) -> None:
    """The images of a split, in its order.

    split: name of a file in ImageSets/Main/, without .txt; after a slash where `root` holds several
    data sets, as in VOC2007/trainval; or ALL, every annotation that there is
    first_pixel: what files call it, 1 where None: see `boxes.counted_from_0`
    """
    zeros, boxes = report.notes[ZERO], report.boxes
    reading = Reading(root, report, columns, VOC_PIXEL if first_pixel is None else first_pixel)
    if split == ALL:
        for folder in folders(root):
            reading.take(folder, None)
        note_unnamed(root, split, columns, report)
    else:
        front, _, image_set = split.rpartition("/")
        reading.take(root / front, read_ids(root, root / front, image_set))
    if 0 < reading.largest <= 1:
        raise ValueError(
            f"{split} of {root}: no number of a box is above 1, so they look like fractions of "
            "their images; VOC has pixels"
        )
    zeros, boxes = report.notes[ZERO] - zeros, report.boxes - boxes
    check_zeros(f"{split} of {root}", zeros, boxes, report)


def check_zeros(where: str, zeros: int, boxes: int, report: Report) -> None:
    """Whether files count pixels from 1, as VOC does. Boxes of others lie one pixel off, all alike,
    so that no score shows it."""
    if zeros > MOST_ZEROS * boxes:
        report.fault(
            "bad_annotation",
            f"{where}: {zeros} of {boxes} boxes have an xmin or ymin of 0, so the files seem to "
            "count pixels from 0, and VOC counts from 1: data.first_pixel=0 reads them so; if "
            "these are slips, make them 1",
        )


class Reading:
    """The images of a split in the making. first_pixel: what files call it"""

    def __init__(self, root: Path, report: Report, columns: Columns, first_pixel: int) -> None:
        self.root = root
        self.report = report
        self.columns = columns
        self.first_pixel = first_pixel
        self.largest = 0.0  # number of a box

    def take(self, folder: Path, ids: Sequence[str] | None) -> None:
        """Images of one of `folders`; of all annotations where there are no ids."""
        annotations = Listing(folder / "Annotations", (".xml",))
        images = Listing(folder / "JPEGImages", SUFFIXES)
        if ids is None:
            ids = annotations.ids()
            if not ids:
                raise ValueError(f"{annotations.path}: holds no annotations, which end in .xml")
        for id in ids:
            with self.report.skipping():
                path = annotations.find(id, "annotation")
                file = self.image_of(id, path, images)
                if file:
                    with self.report.skipping(file):
                        self.take_image(id, path, file)

    def image_of(self, id: str, path: Path, images: Listing) -> str | None:
        """An annotation's image; None for a fault."""
        try:
            return str(images.find(id, "image"))
        except ValueError as error:
            self.report.fault("bad_image", f"{path}: its image is missing: {error}")
            return None

    def take_image(self, id: str, path: Path, file: str) -> None:
        """One image's annotation, checked against the image's header."""
        check_link(self.root, path)
        content = parse(path)
        size = annotated_size(content, path)
        opened = open_image(self.root, file, size, str(path), self.report)
        if opened is None:
            return
        if size is None:
            self.report.note(NO_SIZE)
        if names_another(content, id):
            self.report.note(OTHER_FILE)
        objects = read_objects(content, path, file, self.report)
        self.columns.add(id, file, opened.header.size, self.placed(objects, path, file, opened))

    def placed(
        self, numbered: dict[int, Object], path: Path, file: str, opened: Opened
    ) -> list[Object]:
        """Objects with their boxes in the picture as it is shown. numbered: as the file has them"""
        numbers, objects = list(numbered), list(numbered.values())
        written = boxes_of(objects)
        self.largest = written.max(initial=self.largest)
        zeros = int((written == 0)[:, :2].any(axis=1).sum())
        if zeros and self.first_pixel:
            self.report.note(ZERO, zeros)

        def place(index: int) -> Place:
            item = objects[index]
            where = f"{path}: object {numbers[index]} ({item.name})"
            return Place(where, corners(item.box), file)

        boxes = opened.shown(counted_from_0(written, self.first_pixel))
        size, inclusive = np.array(opened.header.size), self.first_pixel == 1
        boxes, good = checked(boxes, size, place, self.report, inclusive)
        return with_boxes(objects, boxes, good)


def names_another(content: ElementTree.Element, id: str) -> bool:
    """Whether an annotation names another file than the image it belongs to."""
    name = re.split(r"[/\\]", content.findtext("filename") or "")[-1].strip()
    return bool(name) and id.rpartition("/")[2] not in (name, name.rpartition(".")[0])
