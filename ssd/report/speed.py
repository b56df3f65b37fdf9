"""How long each stage of a pass over a split takes."""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import TypedDict

import torch

WAITING, NETWORK, DETECTING, LOSS, SCORING = "waiting", "network", "detecting", "loss", "scoring"
STAGES = {
    WAITING: "waiting for images",
    NETWORK: "network",
    DETECTING: "decoding and NMS",
    LOSS: "loss and gathering",
    SCORING: "scoring",
}
READ_IMAGES, READ_SECONDS = 32, 1.0  # whichever comes first


class Speed(TypedDict):
    """What a pass took, in milliseconds per image."""

    waiting: float  # for batches, and for their way to the device: what the workers do not hide
    network: float  # with normalisation
    detecting: float  # decoding and non-maximum suppression
    loss: float  # of the split, and gathering the detections
    scoring: float  # by the rules of VOC and COCO, once, after the last batch
    reading: float  # reading and resizing alone, in one process, outside the pass
    images: int  # measured; the first batch, which warms up, is not, unless there is no other
    images_per_second: float  # end to end: of STAGES together


class Stopwatch:
    """Reads a clock between the stages of a pass. On a GPU every stage waits until it is done."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.laps: dict[str, list[float]] = defaultdict(list)  # seconds, by stage and batch
        self.images: list[int] = []  # of each batch
        self.mark = self.now()

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def begin(self, images: int) -> None:
        """A batch of so many images is here."""
        self.lap(WAITING)
        self.images.append(images)

    def lap(self, stage: str) -> None:
        """What passed since the last lap was of this stage."""
        before, self.mark = self.mark, self.now()
        self.laps[stage].append(self.mark - before)

    def speed(self, reading: float) -> Speed:
        """reading: milliseconds per image"""
        warm = slice(1, None) if self.images[1:] else slice(None)
        images = sum(self.images[warm])
        stages = {stage: 1000 * sum(self.laps[stage][warm]) / images for stage in STAGES}
        stages[SCORING] = 1000 * sum(self.laps[SCORING]) / sum(self.images)
        rate = 1000 / sum(stages.values())
        return Speed(**stages, reading=reading, images=images, images_per_second=rate)


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} of its threads"


def time_reading(read: Callable[[int], object], images: int) -> float:
    """Milliseconds an image of a split, the mean over some of them. read: takes a row"""
    start, done = time.perf_counter(), 0
    for row in range(0, images, -(-images // READ_IMAGES)):
        read(row)
        done += 1
        if time.perf_counter() - start > READ_SECONDS:
            break
    return 1000 * (time.perf_counter() - start) / done
