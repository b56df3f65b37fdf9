"""The images of a COCO file, found and opened as far as their headers."""

import re
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssd.data.checks import Report
from ssd.data.coco.files import find_image
from ssd.data.images.opening import Opened, open_image
from ssd.data.paths import inside, shown

PLAIN = re.compile(r"(\w[\w .-]*/)*\w[\w .-]*")  # a path that stays below its folder, at a glance

Id = int | str


class Picture(NamedTuple):
    """What a file says of an image."""

    name: str
    size: tuple[int, int] | None  # width and height, pixels


class Images(NamedTuple):
    """Those that can be opened."""

    files: dict[str, Id]  # I paths, with the ids in the COCO file
    sizes: np.ndarray  # (I, 2) int64 width and height, as they are shown
    turned: dict[int, Opened]  # by their places, those whose boxes are of the stored picture


def open_images(
    pictures: Mapping[Id, Picture | None],
    root: Path,
    folders: Sequence[str],
    where: str,
    report: Report,
) -> Images:
    """Whatever cannot be opened is a fault. None is a picture that was one already.

    folders: where images may be; where: the COCO file
    """
    files: dict[str, Id] = {}
    sizes, turned = array("q"), {}
    for id, picture in pictures.items():
        file = picture and find(picture.name, root, folders, f"{where}: image {id}", report)
        if not file:
            continue
        if file in files:
            other = f"{where}: image {id}: has the file of image {files[file]}, {file}"
            report.fault("bad_annotation", other, file)
            continue
        opened = open_image(root, file, picture.size, where, report)
        if opened:
            if opened.stored:
                turned[len(files)] = opened
            files[file] = id
            sizes.extend(opened.header.size)
    return Images(files, np.array(sizes, np.int64).reshape(-1, 2), turned)


def find(name: str, root: Path, folders: Sequence[str], where: str, report: Report) -> str | None:
    """The path of an image's file; None for a fault. where: the image, as messages name it"""
    if not PLAIN.fullmatch(name):
        try:
            name = inside(root, name, f"{where}: file_name").relative_to(root).as_posix()
        except ValueError as error:
            report.fault("bad_annotation", str(error))
            return None
    file = find_image(folders, name)
    if file is None:
        report.fault("bad_image", f"{where}: no file {shown(name)} in {', '.join(folders)}")
    return file
