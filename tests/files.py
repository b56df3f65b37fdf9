"""Folders of small files for tests."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

SIZE = (60, 40)  # width and height of images


def write(root: Path, files: Mapping[str, str | bytes | None]) -> Path:
    """Files by their paths below `root`; an image of SIZE where the content is None."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            cv2.imwrite(str(path), np.full((SIZE[1], SIZE[0], 3), 99, np.uint8))
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root
