"""Videos that browsers play: VP8 in WebM, which OpenCV's wheels write; H.264 they cannot.

VP9 would make half the bytes in five times the time; mp4v, the usual choice, plays in no browser.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

SUFFIX = ".webm"
LONGEST_SIDE = 16_383  # VP8's


class VideoFile:
    """A video in the making, which takes its name when it is whole: `with VideoFile(…) as file`."""

    def __init__(self, path: Path, rate: float) -> None:
        """rate: frames a second"""
        self.path = path
        self.part = path.with_name(f".{path.name}.part{SUFFIX}")
        self.rate = rate
        self.frames = 0
        self.writer: cv2.VideoWriter | None = None

    def add(self, image: np.ndarray) -> None:
        """image: (H, W, 3) uint8 RGB, all of one size"""
        if self.writer is None:
            self.writer = self.start((image.shape[1], image.shape[0]))
        self.writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def start(self, size: tuple[int, int]) -> cv2.VideoWriter:
        if max(size) > LONGEST_SIDE:
            raise ValueError(
                f"{self.path}: a side of {max(size)} pixels; a WebM has {LONGEST_SIDE}"
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        codec = cv2.VideoWriter_fourcc(*"VP80")
        with silent():
            writer = cv2.VideoWriter(str(self.part), cv2.CAP_FFMPEG, codec, self.rate, size)
        if not writer.isOpened():
            raise OSError(f"{self.path}: this OpenCV writes no WebM; draw=false goes without")
        return writer

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self.writer is None:
            return
        self.writer.release()
        try:
            if error is None:
                self.check()
                os.replace(self.part, self.path)
        finally:
            self.part.unlink(missing_ok=True)

    def check(self) -> None:
        """An error where the file is not whole: OpenCV says nothing of a full disk."""
        written = cv2.VideoCapture(str(self.part), cv2.CAP_FFMPEG)
        frames = written.get(cv2.CAP_PROP_FRAME_COUNT)
        written.release()
        if frames < self.frames - 1:
            raise OSError(f"{self.path}: not written whole; is the disk full?")


@contextmanager
def silent() -> Iterator[None]:
    """Without what libraries write to stderr past Python: OpenCV says of every WebM that it has no
    tags of codecs, which none has."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
