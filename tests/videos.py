"""Small videos for tests."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np


def write_video(
    path: Path, frames: Iterable[np.ndarray], rate: float = 10.0, codec: str = "MJPG"
) -> Path:
    """frames: (H, W, 3) uint8 RGB"""
    images = list(frames)
    size = images[0].shape[1], images[0].shape[0]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), rate, size)
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def shades(count: int) -> list[np.ndarray]:
    """Frames that grow brighter from one to the next."""
    return [np.full((48, 64, 3), 20 * number, np.uint8) for number in range(count)]
