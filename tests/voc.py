"""A data set in VOC format for tests, written in milliseconds."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ssd.data.checks import Fault, Report
from ssd.data.columns import Records
from ssd.data.formats import read_split

Box = tuple[str, int, int, int, int]  # name, xmin, ymin, xmax, ymax: 1-based and inclusive

SIZE = (60, 40)  # width, height
COLORS = {"cat": (255, 0, 0), "dog": (0, 0, 255)}


def annotation(boxes: list[Box], size: tuple[int, int] = SIZE, difficult: str = "0") -> str:
    objects = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>"
        f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
        "</bndbox></object>"
        for name, xmin, ymin, xmax, ymax in boxes
    )
    width, height = size
    return (
        f"<annotation><size><width>{width}</width><height>{height}</height></size>"
        f"{objects}</annotation>"
    )


def write_image(root: Path, id: str, boxes: Sequence[Box] = ()) -> Path:
    """An image of noise, its boxes painted in the color of their class."""
    path = root / "JPEGImages" / f"{id}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(id)).integers(80, 120, (SIZE[1], SIZE[0], 3), np.uint8)
    for name, xmin, ymin, xmax, ymax in boxes:
        pixels[ymin - 1 : ymax, xmin - 1 : xmax] = COLORS[name]
    cv2.imwrite(str(path), pixels)
    return path


def write_annotation(root: Path, id: str, content: str) -> Path:
    path = root / "Annotations" / f"{id}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def write_split(root: Path, name: str, ids: list[str]) -> None:
    path = root / "ImageSets" / "Main" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{id}\n" for id in ids))


def write_voc(root: Path, splits: dict[str, dict[str, list[Box]]]) -> Path:
    """A whole data set: the boxes of every image of every split."""
    for name, images in splits.items():
        write_split(root, name, list(images))
        for id, boxes in images.items():
            write_image(root, id, boxes)
            write_annotation(root, id, annotation(boxes))
    return root


POLICIES = {
    "bad_box": "drop",
    "bad_image": "raise",
    "size_mismatch": "raise",
    "unknown_class": "raise",
}


def read_records(
    root: Path,
    split: str | list[str] = "train",
    format: str = "voc",
    first_pixel: int | None = None,
    **policies: str,
) -> Records:
    """A split as it is read before training, with what is said about it."""
    report = Report({**POLICIES, **policies})
    records = read_split(root, format, split, report, first_pixel)
    report.close()
    return records


def collected(
    root: Path, split: str | list[str] = "train", format: str = "voc"
) -> tuple[Records, list[Fault]]:
    """A split and its faults, all of them, as the doctor reads it."""
    report = Report(POLICIES, collect=True)
    return read_split(root, format, split, report, first_pixel=None), report.faults


def names(records: Records) -> list[str]:
    return [records.vocabulary[index] for index in records.names]
