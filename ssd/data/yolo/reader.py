"""Data sets in the format of YOLO: a text file of labels for every image, one object a line.

A line is `class cx cy w h`, or for a segment `class x1 y1 x2 y2 x3 y3 …`, in fractions of the image
as it is shown, as Ultralytics' `verify_image_label` has it.
"""

import math
import os
from pathlib import Path

import numpy as np

from ssd.data.boxes import Place, boxes_of, checked, with_boxes
from ssd.data.checks import Report
from ssd.data.columns import ALL, Columns, Object
from ssd.data.images.opening import open_image
from ssd.data.paths import read_text, shown
from ssd.data.yolo.files import (
    Classes,
    Layout,
    find_layout,
    images_of,
    label_folder,
    label_name,
    looks_like_yolo,
    read_classes,
)
from ssd.errors import ConfigError

ROUNDING = 1e-4  # of the image: what tools that write few digits are off
MOST_LABEL_BYTES = 5 * 2**20
SEGMENTS = "segments become the boxes around them"
KEYPOINTS = "boxes lose their keypoints"
UNLABELLED = "images have no label file, so no objects"
STRAY = "label files have no image and are left out"


def recognises(root: Path) -> bool:
    return looks_like_yolo(root)


def splits(root: Path) -> list[str]:
    return list(find_layout(root).splits)


def read(root: Path, split: str, report: Report, columns: Columns, first_pixel: int | None) -> None:
    """The images of a split, or of ALL; an image without a label file has no objects.

    first_pixel: None; labels count no pixels
    """
    if first_pixel is not None:
        raise ConfigError(
            f"data.first_pixel={first_pixel}: the labels of {root} are fractions of their images, "
            "as YOLO has them, where no pixel is counted; give null"
        )
    layout = find_layout(root)
    classes = read_classes(root, layout.file)
    sources = sources_of(root, layout, split)
    files: dict[Path, set[str]] = {}  # of each folder of labels
    labels: dict[Path, bool] = {}  # those that images should have, and whether there are such
    for image in images_of(root, sources, report):
        folder = label_folder(root, image.parent)
        if folder not in files:
            files[folder] = label_files(folder)
        path = folder / label_name(image.name)
        labels[path] = path.name in files[folder]
        opened = open_image(root, str(image), None, str(path), report)
        if opened:
            size, objects = opened.header.size, []
            if labels[path]:
                with report.skipping(str(image)):
                    text = read_text(root, path, MOST_LABEL_BYTES)
                    objects = read_labels(text, path, classes, size, str(image), report)
            columns.add(image.relative_to(root).as_posix(), str(image), size, objects)
    check_labels(root, sources, labels)
    unlabelled = list(labels.values()).count(False)
    if unlabelled:
        report.note(UNLABELLED, unlabelled)
    if all(source.is_dir() for source in sources):
        apart = {path for path in files if "labels" in path.relative_to(root).parts}
        paths = {path / name for path in apart for name in files[path]}
        if paths - labels.keys():
            report.note(STRAY, len(paths - labels.keys()))


def check_labels(root: Path, sources: list[Path], labels: dict[Path, bool]) -> None:
    places = " and ".join(map(str, sources))
    if not labels:
        raise ValueError(f"{root}: there are no images in {places}")
    if not any(labels.values()):
        path = next(iter(labels))
        raise ValueError(f"{root}: no image of {places} has labels; there is no {path}, for one")


def sources_of(root: Path, layout: Layout, split: str) -> list[Path]:
    if split == ALL:
        return layout.every
    if split not in layout.splits:
        known = f"there are {', '.join(layout.splits)}" if layout.splits else "it has no splits"
        raise ValueError(f"{root}: no split {split}; {known}, and {ALL} is every image")
    return layout.splits[split]


def label_files(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    names = (name for name in os.listdir(folder) if name[0] != "." and name != "classes.txt")
    return {name for name in names if name.endswith(".txt")}


def read_labels(
    text: str, path: Path, classes: Classes, size: tuple[int, int], file: str, report: Report
) -> list[Object]:
    """The objects of an image. size: its width and height; file: its path"""
    found = {}
    for count, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            item = read_line(line, f"{path}:{count}", classes, file, report)
            if item:
                found[count, line] = item
    lines, objects = list(found), list(found.values())

    def place(index: int) -> Place:
        count, line = lines[index]
        return Place(f"{path}:{count}", shown(line.strip()), file)

    boxes = boxes_of(objects) * (*size, *size)
    boxes, good = checked(boxes, np.array(size), place, report)
    return with_boxes(objects, boxes, good)


def read_line(line: str, where: str, classes: Classes, file: str, report: Report) -> Object | None:
    """The object of a line, its box in fractions, or None where it is a fault.

    where: file:line; file: the image
    """
    try:
        first, *numbers = read_numbers(line, where)
        check_count(len(numbers), classes.keypoints, where)
    except ValueError as error:
        report.fault("bad_annotation", str(error), file)
        return None
    if not first.is_integer() or not 0 <= first < len(classes.names):
        ids = f"{len(classes.names)} classes, 0 to {len(classes.names) - 1}"
        report.fault("unknown_class", f"{where}: class {first:g}, but there are {ids}", file)
        return None
    if classes.keypoints:
        report.note(KEYPOINTS)
        numbers = numbers[:4]
    far = next((x for x in numbers if not -ROUNDING <= x <= 1 + ROUNDING), None)
    if far is not None:
        report.boxes += 1
        why = f"{far:g} is no fraction of the image, from 0 to 1"
        report.fault("bad_box", f"{where}: {why}", file)
        return None
    if len(numbers) > 4:
        report.note(SEGMENTS)
    x1, y1, x2, y2 = (unrounded(corner) for corner in corners(numbers))
    return Object(classes.names[int(first)], (x1, y1, x2, y2))


def read_numbers(line: str, where: str) -> list[float]:
    numbers = []
    for word in line.split():
        try:
            number = float(word) if word.isascii() and "_" not in word else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{where}: {shown(word)} is not a number")
        numbers.append(number)
    return numbers


def check_count(count: int, keypoints: bool, where: str) -> None:
    """count: numbers after the class"""
    segment = count >= 6 and count % 2 == 0
    if count != 4 and not (count > 4 if keypoints else segment):
        raise ValueError(
            f"{where}: {count} numbers after the class; a box has 4, cx cy w h, and a segment "
            "two for each of at least 3 points"
        )


def corners(numbers: list[float]) -> tuple[float, float, float, float]:
    """xyxy of cxcywh, or around the points of a segment; fractions."""
    if len(numbers) > 4:
        xs, ys = numbers[::2], numbers[1::2]
        return min(xs), min(ys), max(xs), max(ys)
    cx, cy, w, h = numbers
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def unrounded(value: float) -> float:
    """A fraction, at the border where it is over it by no more than rounding."""
    return min(max(value, 0.0), 1.0) if -ROUNDING <= value <= 1 + ROUNDING else value
