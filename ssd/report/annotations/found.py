"""What was detected in a picture, for files."""

from typing import NamedTuple

import numpy as np


class Found(NamedTuple):
    """The detections of a picture, or of a frame of a video."""

    number: int  # of the picture among all, from 1: its id
    name: str  # path below the folder of all, with slashes; of a frame, the video's
    size: tuple[int, int]  # width and height
    boxes: np.ndarray  # (N, 4) float64 xyxy, pixels of the picture, 0-based and half-open
    scores: np.ndarray  # (N,) float32, falling
    labels: np.ndarray  # (N,) int64, from 1
    frame: int | None = None  # from 0
    seconds: float | None = None  # after the first frame

    @property
    def video(self) -> bool:
        return self.frame is not None
