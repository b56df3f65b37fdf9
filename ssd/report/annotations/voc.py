"""PASCAL VOC: Annotations/<picture>.xml and ImageSets/Main/train.txt.

Boxes are 1-based and inclusive there, the inverse of what reading makes of them: what begins at
pixel 0 begins at 1, and what ends before pixel 5 ends at 5. One that is no more than a pixel wide
is a slip of a tool there, so such are left out and counted.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from ssd.report.annotations.found import Found

PRECISION = 1e-5  # pixels, more than six decimals lose

log = logging.getLogger(__name__)


def write(folder: Path, found: Sequence[Found], classes: Sequence[str]) -> None:
    thin = 0
    for one in found:
        root = start(one.name, one.size)
        for box, label, score in zip(one.boxes.tolist(), one.labels, one.scores, strict=True):
            item = add_object(root, classes[label - 1], box, difficult=False)
            thin += item is None
            if item is not None:
                add(item, score=f"{score:.6f}")
        write_xml(root, folder / "Annotations" / f"{stem(one)}.xml")
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    text = "".join(f"{stem(one)}\n" for one in found)
    (lists / "train.txt").write_text(text, encoding="utf-8")
    if thin:
        log.warning("left out %d boxes of at most one pixel, which VOC's format cannot tell", thin)


def stem(one: Found) -> str:
    return os.path.splitext(one.name)[0]


def start(name: str, size: tuple[int, int]) -> Element:
    """The annotation of a picture that has no objects yet. size: (width, height)"""
    root = Element("annotation")
    width, height = size
    add(root, filename=os.path.basename(name))
    add(SubElement(root, "size"), width=width, height=height, depth=3)
    return root


def add_object(root: Element, name: str, box: Sequence[float], difficult: bool) -> Element | None:
    """The object that is added; None where its box cannot be told. box: xyxy pixels"""
    x1, y1, x2, y2 = box
    if min(x2 - x1, y2 - y1) < 1 + PRECISION:
        return None
    item = SubElement(root, "object")
    add(item, name=name, difficult=int(difficult))
    corners = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
    rounded = {side: f"{value:.6f}".rstrip("0").rstrip(".") for side, value in corners.items()}
    add(SubElement(item, "bndbox"), **rounded)
    return item


def add(parent: Element, **texts: object) -> None:
    for name, text in texts.items():
        SubElement(parent, name).text = str(text)


def write_xml(root: Element, path: Path) -> None:
    indent(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree(root).write(path, encoding="utf-8")
