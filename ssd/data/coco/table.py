"""The lists of a COCO file, checked, as columns."""

from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ssd.data.boxes import Place, checked, counted_from_0
from ssd.data.checks import Report
from ssd.data.coco.images import Id, Images, Picture, open_images
from ssd.data.coco.json_lists import read_lists
from ssd.data.coco.records import wrong_annotation, wrong_category, wrong_image, wrong_record
from ssd.data.columns import Records

ONE_CLASS = "categories have the name of another and are one class with it"


class Table:
    """The three lists of a file in the making. Of an annotation no Python object stays.

    path: the file; first_pixel: what it calls the first pixel
    """

    def __init__(self, path: Path, report: Report, first_pixel: int) -> None:
        self.path = path
        self.report = report
        self.first_pixel = first_pixel
        self.pictures: dict[Id, Picture | None] = {}  # None for one that is left out
        self.categories: dict[Id, int] = {}  # to places in the vocabulary
        self.vocabulary: dict[str, int] = {}
        self.ids = array("q")  # of annotations
        self.images = array("q")  # which of `image_ids`
        self.labels = array("q")  # which of `category_ids`
        self.boxes = array("d")  # x, y, width and height, in turn
        self.crowd = bytearray()
        self.image_ids: dict[Id, int] = {}  # those that annotations have, numbered
        self.category_ids: dict[Id, int] = {}

    def parse(self) -> None:
        take = {
            "images": self.add_image,
            "annotations": self.add_annotation,
            "categories": self.add_category,
        }
        read_lists(self.path, take)
        if not self.pictures:
            raise ValueError(f"{self.path}: names no images")

    def fault(self, record: str, why: str, kind: str = "bad_annotation") -> None:
        self.report.fault(kind, f"{self.path}: {record}: {why}")

    def add_image(self, place: int, record: Any) -> None:
        if why := wrong_record(record):
            self.fault(f"images[{place}]", why)
            return
        id = record["id"]
        if id in self.pictures:
            self.fault(f"image {id}", "its id is there twice")
            return
        self.pictures[id] = None
        if why := wrong_image(record):
            self.fault(f"image {id}", why)
            return
        width, height = record.get("width"), record.get("height")
        size = (width, height) if width and height else None  # some tools write 0 for none
        self.pictures[id] = Picture(record["file_name"], size)

    def add_category(self, place: int, record: Any) -> None:
        if why := wrong_category(record):
            self.fault(f"categories[{place}]", why)
            return
        id, name = record["id"], record["name"].strip()
        if id in self.categories:
            self.fault(f"category {id} ({name})", "its id is there twice")
            return
        if name in self.vocabulary:
            self.report.note(ONE_CLASS)
        self.categories[id] = self.vocabulary.setdefault(name, len(self.vocabulary))

    def add_annotation(self, place: int, record: Any) -> None:
        if why := wrong_annotation(record):
            named = not wrong_record(record)
            self.fault(f"annotation {record['id']}" if named else f"annotations[{place}]", why)
            return
        image, category = record["image_id"], record["category_id"]
        self.ids.append(record["id"])
        self.images.append(self.image_ids.setdefault(image, len(self.image_ids)))
        self.labels.append(self.category_ids.setdefault(category, len(self.category_ids)))
        self.boxes.extend(record["bbox"])
        self.crowd.append(record.get("iscrowd", 0) == 1)

    def records(self, root: Path, folders: Sequence[str]) -> Records:
        """The images that can be opened and all that is in them. folders: where images may be"""
        known = self.known()
        opened = open_images(self.pictures, root, folders, str(self.path), self.report)
        place = {id: number for number, id in enumerate(opened.files.values())}
        image = column(place.get(id, -1) for id in self.image_ids)[column(self.images)]
        name = column(self.categories.get(id, -1) for id in self.category_ids)[column(self.labels)]
        rows = np.flatnonzero(known & (image >= 0))
        rows = rows[np.argsort(image[rows], kind="stable")]
        boxes, good = self.checked(rows, image[rows], opened)
        rows, boxes = rows[good], boxes[good]
        counts = np.bincount(image[rows], minlength=len(place))
        crowd = np.frombuffer(bytes(self.crowd), np.bool_)[rows]
        return Records(
            ids=[file.removeprefix(f"{root}/") for file in opened.files],
            files=list(opened.files),
            sizes=opened.sizes,
            starts=np.concatenate([[0], counts.cumsum()]).astype(np.int64),
            boxes=boxes,
            names=name[rows],
            difficult=crowd,
            crowd=crowd,
            vocabulary=list(self.vocabulary),
        )

    def known(self) -> np.ndarray:
        """Which annotations have an id of their own, and an image and a category that exist."""
        ids, images, labels = column(self.ids), column(self.images), column(self.labels)
        first = np.zeros(len(ids), bool)
        first[np.unique(ids, return_index=True)[1]] = True
        for row in np.flatnonzero(~first):
            self.fault(self.annotation(row), "its id is there twice")
        imaged = column(id in self.pictures for id in self.image_ids)[images] > 0
        for row in np.flatnonzero(~imaged):
            self.fault(self.annotation(row), "image_id is not among the images")
        named = column(id in self.categories for id in self.category_ids)[labels] > 0
        category_ids = list(self.category_ids)
        for row in np.flatnonzero(~named):
            why = f"category_id {category_ids[labels[row]]!r} is not among the categories"
            self.fault(self.annotation(row), why, "unknown_class")
        return first & imaged & named

    @cached_property
    def image_names(self) -> list[Id]:
        """The ids that `images` numbers; for messages, after the file is read."""
        return list(self.image_ids)

    def annotation(self, row: int) -> str:
        return f"annotation {self.ids[row]} of image {self.image_names[self.images[row]]}"

    def checked(
        self, rows: np.ndarray, image: np.ndarray, opened: Images
    ) -> tuple[np.ndarray, np.ndarray]:
        """Boxes of annotations, and which of them are good, as `boxes.checked` has it.

        rows, image: (rows,) annotations, and places of their images
        """
        files = list(opened.files)

        def place(index: int) -> Place:
            row = rows[index]
            box = ", ".join(f"{number:g}" for number in self.boxes[4 * row : 4 * row + 4])
            where = f"{self.path}: {self.annotation(row)}"
            return Place(where, f"bbox [{box}]", files[image[index]])

        written = np.array(self.boxes, np.float64).reshape(-1, 4)[rows]
        boxes = counted_from_0(written, self.first_pixel)
        boxes[:, 2:] += boxes[:, :2]
        for number, one in opened.turned.items():
            mine = slice(*np.searchsorted(image, (number, number + 1)))
            boxes[mine] = one.shown(boxes[mine])
        return checked(boxes, opened.sizes[image], place, self.report)


def column(values: Iterable[int]) -> np.ndarray:
    return np.fromiter(values, np.int64)
