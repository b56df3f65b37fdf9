"""A table of classes for people."""

import math
from collections.abc import Sequence
from typing import TypedDict


class Row(TypedDict):
    """The result of one class; precisions are nan where the class has no objects."""

    name: str
    truths: int
    detections: int
    ap_voc07: float
    ap_voc12: float
    ap_50: float
    ap: float  # mean over IoU .50:.95


COUNTS = {"truths": "truths", "detections": "detections"}
PRECISIONS = {"ap_voc07": "AP VOC07", "ap_voc12": "AP VOC12", "ap_50": "AP@.50", "ap": "AP .50:.95"}


def class_table(rows: Sequence[Row]) -> str:
    """Aligned plain text: a line for each class, then the mean over those with a value."""
    counts = [str(sum(row[key] for row in rows)) for key in COUNTS]
    means = [number(mean([row[key] for row in rows])) for key in PRECISIONS]
    head = ["class", *COUNTS.values(), *PRECISIONS.values()]
    lines = [head, *(cells(row) for row in rows), ["mean", *counts, *means]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = [aligned(line, widths) for line in lines]
    rule = "-" * len(texts[0])
    return "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])


def cells(row: Row) -> list[str]:
    # a class name comes from a file: escape codes must not reach the terminal
    name = "".join(letter if letter.isprintable() else "?" for letter in row["name"])
    counts = [str(row[key]) for key in COUNTS]
    return [name, *counts, *(number(row[key]) for key in PRECISIONS)]


def aligned(line: list[str], widths: list[int]) -> str:
    first, *rest = zip(line, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)])


def number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
