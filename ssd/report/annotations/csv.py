"""CSV: a row a detection, in 0-based and half-open pixels; a picture without any has a row too."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from ssd.report.annotations.found import Found

COLUMNS = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax", "score")
OF_VIDEOS = ("frame", "seconds")


def write(folder: Path, found: Sequence[Found], classes: Sequence[str]) -> None:
    header = [*COLUMNS, *(OF_VIDEOS if any(one.video for one in found) else ())]
    with (folder / "train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for one in found:
            writer.writerows(rows_of(one, classes))


def rows_of(one: Found, classes: Sequence[str]) -> Iterator[list[object]]:
    end = [one.frame, f"{one.seconds:.3f}"] if one.video else []
    for box, score, label in zip(one.boxes, one.scores, one.labels, strict=True):
        corners = [f"{side:.3f}" for side in box]
        yield [one.name, *one.size, classes[label - 1], *corners, f"{score:.6f}", *end]
    if not len(one.boxes):
        yield [one.name, *one.size, *[""] * 6, *end]
