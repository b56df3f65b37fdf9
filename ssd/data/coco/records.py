"""What a record of a COCO file must be. Each function says what is wrong with one, or None."""

import re
import reprlib
from typing import Any

from ssd.data.paths import LONGEST_NAME, is_name

LARGEST = 2**63 - 1
NUMBERS = {int, float}
# Control characters, other ends of lines, half characters
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def wrong_image(record: Any) -> str | None:
    return wrong_name(record, "file_name") or wrong_size(record)


def wrong_category(record: Any) -> str | None:
    if why := wrong_record(record) or wrong_name(record, "name"):
        return why
    if is_name(record["name"].strip()):
        return None
    name = shown(record["name"])
    return f"name is {name}, not one line of at most {LONGEST_NAME} visible characters"


def wrong_annotation(record: Any) -> str | None:
    if why := wrong_record(record):
        return why
    if type(record["id"]) is not int:
        return f"id is {shown(record['id'])}, not a whole number"
    return (
        wrong_id(record, "image_id")
        or wrong_id(record, "category_id")
        or wrong_box(record)
        or wrong_crowd(record)
    )


def wrong_record(record: Any) -> str | None:
    """Of a record of any list."""
    if type(record) is not dict:
        return f"is {shown(record)}, not an object"
    return wrong_id(record, "id")


def wrong_id(record: dict[str, Any], field: str) -> str | None:
    value = record.get(field)
    if type(value) is int and -LARGEST <= value <= LARGEST:
        return None
    if type(value) is str and is_text(value):
        return None
    if field not in record:
        return f"has no {field}"
    return f"{field} is {shown(value)}, not a whole number of 64 bits or a text"


def wrong_name(record: dict[str, Any], field: str) -> str | None:
    value = record.get(field)
    if type(value) is str and is_text(value):
        return None
    if field not in record:
        return f"has no {field}"
    return f"{field} is {shown(value)}, not a text in one line"


def wrong_size(record: dict[str, Any]) -> str | None:
    for side in ("width", "height"):
        value = record.get(side)
        if value is not None and type(value) not in NUMBERS:
            return f"{side} is {shown(value)}, not a number"
    return None


def wrong_box(record: dict[str, Any]) -> str | None:
    box = record.get("bbox")
    if type(box) is not list or len(box) != 4 or not NUMBERS.issuperset(map(type, box)):
        if "bbox" not in record:
            return "has no bbox"
        return f"bbox is {shown(box)}, not [x, y, width, height] in numbers"
    if min(box) < -LARGEST or max(box) > LARGEST:
        return f"bbox is {shown(box)}, which no image holds"
    return None


def wrong_crowd(record: dict[str, Any]) -> str | None:
    crowd = record.get("iscrowd", 0)
    return None if crowd in (0, 1) else f"iscrowd is {shown(crowd)}, not 0 or 1"


def is_text(value: str) -> bool:
    return bool(value.strip()) and not UNPRINTABLE.search(value)


def shown(value: Any) -> str:
    return reprlib.repr(value)
