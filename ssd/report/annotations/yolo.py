"""YOLO: labels/<picture>.txt with `class cx cy w h` in fractions, ids from 0, and data.yaml.

The format has no place for scores: whoever needs them takes another.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from ssd.report.annotations.found import Found


def write(folder: Path, found: Sequence[Found], classes: Sequence[str]) -> None:
    linked, listed = links([one.name for one in found]), []
    for one in found:
        home = home_of(one.name)
        place, name = PurePosixPath(linked[home]), PurePosixPath(one.name).relative_to(home)
        listed.append(place / name)
        path = folder / place.parent / "labels" / f"{os.path.splitext(name)[0]}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines_of(one)))
    described = {"train": "train.txt", "names": dict(enumerate(classes))}
    text = yaml.safe_dump(described, allow_unicode=True, sort_keys=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    lists = {"classes": classes, "train": listed}
    for name, lines in lists.items():
        text = "".join(f"{line}\n" for line in lines)
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def links(names: Sequence[str]) -> dict[str, str]:
    """Where each folder of pictures is linked: readers seek labels in place of the last images/ of
    a path, so one that is called images is linked by itself, with its labels beside the link."""
    inner = sorted({home_of(name) for name in names} - {""})
    return {"": "images"} | {home: f"{n}/images" for n, home in enumerate(inner, start=1)}


def home_of(name: str) -> str:
    """The folder called images that a picture lies in, the innermost, or none."""
    parts = name.split("/")[:-1]
    return "/".join(parts[: len(parts) - parts[::-1].index("images")]) if "images" in parts else ""


def lines_of(one: Found) -> list[str]:
    low, high = one.boxes[:, :2], one.boxes[:, 2:]
    fractions = np.concatenate([(low + high) / 2, high - low], axis=1) / (one.size * 2)
    return [
        f"{label - 1} " + " ".join(f"{number:.8f}" for number in row)
        for label, row in zip(one.labels.tolist(), fractions, strict=True)
    ]
