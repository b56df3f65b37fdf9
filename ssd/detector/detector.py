"""The detector of a checkpoint: pixels in, boxes in pixels and class names out."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from ssd.data.pictures import Picture, Source, make_picture, pixels_of
from ssd.detector.options import Options, Score, make_options
from ssd.devices import computing_in, find_device, find_precision
from ssd.models import SSD
from ssd.ops.detecting import detect, together
from ssd.ops.mirroring import with_mirrored
from ssd.ops.tiling import Objects, Window, united
from ssd.records import BACKGROUND, Detections
from ssd.weights.checkpoints import build_network, find_checkpoint
from ssd.weights.loading import load_checkpoint

log = logging.getLogger(__name__)


class Detected(TypedDict):
    """What an image holds, best first, in torchvision's shape."""

    boxes: Tensor  # (N, 4) float32 xyxy, pixels of the image
    scores: Tensor  # (N,) float32
    labels: Tensor  # (N,) int64, from 1 on
    names: list[str]  # N, of the classes


def load(path: str | os.PathLike[str], device: str = "auto", precision: str = "auto") -> "Detector":
    """The detector of a run folder, its best, or of a checkpoint file, also another project's.

    device: auto, cpu, cuda, cuda:1 or mps; precision: auto, 32-true, bf16-mixed or 16-mixed
    """
    found = find_checkpoint(Path(path).expanduser())
    where = find_device(device)
    precision = find_precision(precision, where.type)
    checkpoint = load_checkpoint(found)
    described = checkpoint["ssd"]
    return Detector(
        build_network(checkpoint),
        described["classes"],
        described["detecting"],
        where,
        precision,
        checkpoint=str(found),
    )


class Detector:
    """classes: names without the background; detecting: the checkpoint's arguments of
    `ops.detecting.detect`; checkpoint: where it came from"""

    def __init__(
        self,
        network: SSD,
        classes: Sequence[str],
        detecting: Mapping[str, Any],
        device: torch.device,
        precision: str,
        checkpoint: str,
    ) -> None:
        self.network = network.to(device, memory_format=torch.channels_last).eval()
        self.classes = list(classes)
        self.detecting = dict(detecting)
        self.device = device
        self.precision = precision
        self.checkpoint = checkpoint

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        return self.network.image_size

    def detect(
        self,
        images: Source | Sequence[Source],
        score: Score = 0.5,
        *,
        iou_threshold: float | None = None,
        nms: str = "per_class",
        flip: bool = False,
        tiles: int | None = None,
        tile_overlap: float = 0.25,
        tile_whole: bool = True,
        batch_size: int = 8,
    ) -> Detected | list[Detected]:
        """The objects of an image, or of every image of a list.

        images: paths, PIL images, (H, W, 3) uint8 RGB arrays or (3, H, W) uint8 tensors
        score: what is reported is above it; a number, or one for each class by name, "default" for
            the others; None for the checkpoint's own, which is low, as scoring wants it
        iou_threshold: of two boxes that overlap more, the worse goes; None for the checkpoint's own
        nms: "per_class", or "agnostic" where boxes of two classes compete too
        flip: whether each image is looked at in the mirror too
        tiles: pixels of the longer side of windows that large images are divided in, or None
        tile_overlap: of a window's side; tile_whole: whether the whole image is looked at too
        """
        options = self.options(
            score=score,
            iou_threshold=iou_threshold,
            nms=nms,
            flip=flip,
            tiles=tiles,
            tile_overlap=tile_overlap,
            tile_whole=tile_whole,
            batch_size=batch_size,
        )
        several = isinstance(images, list | tuple)
        sources = list(images) if several else [images]
        found: list[Detected] = []
        for start in range(0, len(sources), batch_size):
            pictures = [
                make_picture(pixels_of(source), self.image_size, options.tiling)
                for source in sources[start : start + batch_size]
            ]
            found += [self.described(objects) for objects in self.find(pictures, options)]
        return found if several else found[0]

    def options(self, **chosen: Any) -> Options:
        """Options by their names in `detect`, which must all be given."""
        return make_options(self.classes, self.detecting, **chosen)

    def described(self, objects: Objects) -> Detected:
        return Detected(
            boxes=objects.boxes.float(),
            scores=objects.scores,
            labels=objects.labels,
            names=[self.classes[label - 1] for label in objects.labels.tolist()],
        )

    @torch.no_grad()  # not inference_mode: callers may change what they get
    def find(self, pictures: Sequence[Picture], options: Options) -> list[Objects]:
        """The objects of each picture, boxes in float64."""
        views = torch.from_numpy(np.concatenate([picture.views for picture in pictures]))
        views = views.permute(0, 3, 1, 2)
        parts = [self.look(part, options) for part in views.split(options.batch_size)]
        found = Detections(*(column.cpu() for column in together(parts)))
        rows = iter(zip(*found, strict=True))
        return [in_picture(picture, rows, options.detecting) for picture in pictures]

    def look(self, views: Tensor, options: Options) -> Detections:
        """views: (B, 3, h, w) uint8, channels_last, of the network's input size"""
        views, anchors = views.to(self.device), self.network.anchors
        with computing_in(self.precision, self.device):
            predictions = self.network(views)
            mirrored = self.network(views.flip(3)) if options.flip else None
        if mirrored is not None:
            predictions, anchors = with_mirrored(predictions, mirrored, anchors)
        arguments = dict(options.detecting)
        if "class_thresholds" in arguments:
            arguments["class_thresholds"] = arguments["class_thresholds"].to(self.device)
        return detect(predictions, anchors, **arguments)


def in_picture(
    picture: Picture,
    rows: Iterator[tuple[Tensor, Tensor, Tensor]],
    detecting: Mapping[str, Any],
) -> Objects:
    """The objects of a picture. rows: the boxes, scores and labels of each of its windows, in
    fractions of the window, padded; those of further pictures follow"""
    seen = [in_pixels(next(rows), window) for window in picture.windows]
    if len(seen) == 1:
        return seen[0]
    found = Objects(*(torch.cat(column) for column in zip(*seen, strict=True)))
    windows = torch.tensor(picture.windows, dtype=torch.float64)
    counts = torch.tensor([len(one.scores) for one in seen])
    return united(
        found,
        windows.repeat_interleave(counts, dim=0),
        picture.size,
        detecting["iou_threshold"],
        detecting["agnostic"],
    )


def in_pixels(row: tuple[Tensor, Tensor, Tensor], window: Window) -> Objects:
    """What a window holds, without padding, in float64 pixels of its picture."""
    boxes, scores, labels = (column[row[2] != BACKGROUND] for column in row)
    left, top, right, bottom = window
    sides = torch.tensor([right - left, bottom - top] * 2)
    corner = torch.tensor([left, top] * 2)
    return Objects(boxes.double() * sides + corner, scores, labels)
