"""A data set in COCO format for tests: two images with three objects, changed as a test has it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from voc import read_records

from ssd.data.columns import Records

WIDTH, HEIGHT = 60, 40
Change = Callable[[dict[str, Any]], object]


def content() -> dict[str, Any]:
    """Two images with three objects, in an order of their own."""
    return {
        "info": {},
        "images": [
            {"id": 7, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
            {"id": 3, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": [
            {"id": 11, "image_id": 3, "category_id": 90, "bbox": [10.5, 5, 20, 15.25]},
            {"id": 12, "image_id": 7, "category_id": 2, "bbox": [0, 0, 60, 40], "iscrowd": 0},
            {"id": 13, "image_id": 3, "category_id": 2, "bbox": [1, 2, 3, 4], "iscrowd": 0},
        ],
        "categories": [{"id": 90, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def write_images(folder: Path, *files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        cv2.imwrite(str(folder / file), np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def write_text(root: Path, text: str) -> Path:
    """A data set with a split of this JSON."""
    write_images(root / "train", "a.png", "b.png")
    path = root / "annotations" / "instances_train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return root


def write_coco(root: Path, change: Change = lambda _: None) -> Path:
    """A data set with a split of `content`, changed."""
    changed = content()
    change(changed)
    return write_text(root, json.dumps(changed))


def read(root: Path, **policies: str) -> Records:
    return read_records(root, format="coco", **policies)


def on_image(**fields: object) -> Change:
    return lambda all: all["images"][1].update(fields)


def on_annotation(**fields: object) -> Change:
    return lambda all: all["annotations"][0].update(fields)


def on_category(**fields: object) -> Change:
    return lambda all: all["categories"][0].update(fields)
