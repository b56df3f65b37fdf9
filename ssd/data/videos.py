"""Video files to frames, one at a time, by OpenCV's FFmpeg."""

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv",
            ".ts", ".3gp", ".ogv")  # fmt: skip
USUAL_RATE = 25.0  # frames a second, where a file states none
FASTEST = 1000.0

# Errors are said here; FFmpeg reads this when it is first used.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

log = logging.getLogger(__name__)


class Frame(NamedTuple):
    image: np.ndarray  # (H, W, 3) uint8 RGB, turned as it is shown
    number: int  # from 0
    seconds: float  # after the first one


class Video(NamedTuple):
    path: Path
    rate: float  # frames a second
    stated: int  # frames that the file says it has; 0 where it does not know
    frames: Iterator[Frame]


def is_video(name: str) -> bool:
    """Whether a file's name is a video's."""
    return os.path.splitext(name)[1].casefold() in SUFFIXES


@contextmanager
def open_video(path: Path) -> Iterator[Video]:
    """A video file while it is read; an error where not even its first frame can be."""
    if not path.is_file() or not path.stat().st_size:
        raise ValueError(f"{path}: {'the file is empty' if path.is_file() else 'no such video'}")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        good, first = capture.read()
        if not good:
            raise ValueError(f"{path}: not a video, damaged, or of a codec that OpenCV lacks")
        rate = capture.get(cv2.CAP_PROP_FPS)
        if not 0 < rate < FASTEST:
            log.warning("%s: states no frame rate; %g a second are taken", path, USUAL_RATE)
            rate = USUAL_RATE
        stated = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        stated = int(stated) if math.isfinite(stated) and stated > 0 else 0
        yield Video(path, rate, stated, frames(path, capture, first, stated))
    finally:
        capture.release()


def frames(
    path: Path, capture: cv2.VideoCapture, first: np.ndarray, stated: int
) -> Iterator[Frame]:
    number, frame = 0, first
    start = capture.get(cv2.CAP_PROP_POS_MSEC)
    while frame is not None:
        if frame.shape != first.shape:
            raise ValueError(f"{path}: frame {number} has another size than the first")
        seconds = (capture.get(cv2.CAP_PROP_POS_MSEC) - start) / 1000
        yield Frame(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), number, seconds)
        frame = capture.read()[1]
        number += 1
    if number < stated:
        log.warning("%s: states %d frames, but only %d can be read", path, stated, number)
