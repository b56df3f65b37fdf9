"""One annotation file of PASCAL VOC: XML from strangers, so nothing in it is believed."""

import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ssd.data.checks import Report
from ssd.data.columns import Object
from ssd.data.paths import LONGEST_NAME, is_name, shown

SIDES = ("xmin", "ymin", "xmax", "ymax")
# What float() takes is more: 1e3, 1_0, nan, and the digits of every script.
NUMBER = re.compile(r"[ \t\r\n]*-?[0-9]{1,9}(?:\.[0-9]{0,30})?[ \t\r\n]*")

MOST_BYTES = 5 * 2**20  # 10,000 objects are 3 MB
MOST_TAGS = 500_000  # 5 MiB of opening tags alone are 500 MB in memory
DEEPEST = 10  # levels; VOC's parts of objects are the fifth


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
        root = ElementTree.fromstring(content)  # noqa: S314 - without entities it is harmless
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


def read_objects(
    root: ElementTree.Element, path: Path, file: str, report: Report
) -> dict[int, Object]:
    """The objects by their places in the file, from 1 on, with the numbers that it has for boxes.

    file: the image, for faults
    """
    objects = {}
    for count, node in enumerate(root.findall("object"), start=1):
        try:
            objects[count] = read_object(node)
        except ValueError as error:
            name = shown((node.findtext("name") or "").strip())[1:-1]
            named = f" ({name})" if name else ""
            report.fault("bad_annotation", f"{path}: object {count}{named}: {error}", file)
    return objects


def read_object(node: ElementTree.Element) -> Object:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise ValueError("has no name")
    if not is_name(name):
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
    return Object(name, (xmin, ymin, xmax, ymax), difficult == "1")


def number(node: ElementTree.Element, field: str) -> float:
    text = node.findtext(field)
    if text is None:
        raise ValueError(f"{field} is missing")
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{field} is {shown(text.strip())}, not a number as 12 or 12.5")
    return float(text)
