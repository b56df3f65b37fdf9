"""YOLO: labels/<picture>.txt with `class cx cy w h` in fractions, ids from 0, and data.yaml.

The format has no place for scores: whoever needs them takes another.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from ssd.report.annotations.found import Found


def write(folder: Path, found: Sequence[Found], classes: Sequence[str]) -> None:
    for one in found:
        path = folder / "labels" / f"{os.path.splitext(one.name)[0]}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines_of(one)))
    described = {"train": "train.txt", "names": dict(enumerate(classes))}
    text = yaml.safe_dump(described, allow_unicode=True, sort_keys=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    lists = {"classes": classes, "train": [f"images/{one.name}" for one in found]}
    for name, lines in lists.items():
        text = "".join(f"{line}\n" for line in lines)
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def lines_of(one: Found) -> list[str]:
    low, high = one.boxes[:, :2], one.boxes[:, 2:]
    fractions = np.concatenate([(low + high) / 2, high - low], axis=1) / (one.size * 2)
    return [
        f"{label - 1} " + " ".join(f"{number:.8f}" for number in row)
        for label, row in zip(one.labels.tolist(), fractions, strict=True)
    ]
