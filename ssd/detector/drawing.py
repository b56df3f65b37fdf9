"""Detections drawn on their pictures, as files."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ssd.report.annotations import Found
from ssd.report.drawing import draw_boxes

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 93]
FULL_COLOUR = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


def drawn(image: np.ndarray, found: Found, classes: Sequence[str]) -> np.ndarray:
    """image: (H, W, 3) uint8 RGB; returns: likewise, enlarged where it is small"""
    names = [classes[label - 1] for label in found.labels]
    return draw_boxes(image, found.boxes, names, found.labels.tolist(), found.scores.tolist())


def write_picture(image: np.ndarray, path: Path) -> None:
    """A JPEG, whole or not at all, whose lines and letters keep their colours."""
    good, content = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), JPEG + FULL_COLOUR)
    if not good:
        raise ValueError(f"{path}: cannot be encoded as a JPEG")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{threading.get_ident()}.part")  # a name may have no room for more
    try:
        part.write_bytes(content.tobytes())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def drawn_names(names: Sequence[str]) -> list[str]:
    """What drawn pictures are called: as theirs, with .jpg, and no two alike on any file system."""
    taken: set[str] = set()
    found = []
    for name in names:
        stem, count = os.path.splitext(name)[0], 1
        chosen = f"{stem}.jpg"
        while chosen.casefold() in taken:
            count += 1
            chosen = f"{stem}_{count}.jpg"
        taken.add(chosen.casefold())
        found.append(chosen)
    return found
