"""The pictures that an export is compared and calibrated on."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ssd.data.dataset import DetectionDataset
from ssd.data.images.reading import read_image
from ssd.data.progress import Progress
from ssd.data.transforms import resize
from ssd.records import Annotations


class Pictures(NamedTuple):
    """I pictures as the network takes them."""

    images: Tensor  # (I, 3, H, W) uint8 RGB
    sizes: Tensor  # (I, 2) int64 width and height of the originals, pixels
    annotations: Annotations | None  # their truths; None where nothing states them


def pictures_of_dataset(dataset: DetectionDataset, most: int, show: Progress) -> Pictures:
    """At most so many of a split, from its beginning to its end."""
    rows = spread(len(dataset), most)
    images = [dataset[row]["image"] for row in shown(rows, show)]
    annotations = some(dataset.annotations, rows)
    return Pictures(stacked(images), annotations.sizes, annotations)


def pictures_of_files(
    files: Sequence[Path], image_size: tuple[int, int], most: int, show: Progress
) -> Pictures:
    """At most so many of files. image_size: (height, width)"""
    images, sizes = [], []
    for row in shown(spread(len(files), most), show):
        pixels = read_image(files[row])
        sizes.append((pixels.shape[1], pixels.shape[0]))
        resized = resize(pixels, image_size[::-1])
        images.append(torch.from_numpy(resized).permute(2, 0, 1))
    return Pictures(stacked(images), torch.tensor(sizes), None)


def stacked(images: Sequence[Tensor]) -> Tensor:
    """In rows of each channel, as other runtimes take them."""
    return torch.stack([image.contiguous() for image in images])


def spread(count: int, most: int) -> list[int]:
    """At most so many rows, evenly spread: files are often sorted by what they show."""
    return torch.linspace(0, count - 1, min(count, most)).round().long().tolist()


def shown(rows: list[int], show: Progress) -> Iterator[int]:
    """The rows, one after the other, with a word on how far they are."""
    for done, row in enumerate(rows, start=1):
        yield row
        show(done, len(rows))


def some(annotations: Annotations, rows: list[int]) -> Annotations:
    """Those of some images."""
    starts = annotations.starts.tolist()
    spans = [torch.arange(starts[row], starts[row + 1]) for row in rows]
    boxes = torch.cat(spans)
    return Annotations(
        ids=[annotations.ids[row] for row in rows],
        files=[annotations.files[row] for row in rows],
        sizes=annotations.sizes[rows],
        starts=torch.tensor([0, *(len(span) for span in spans)]).cumsum(0),
        boxes=annotations.boxes[boxes],
        labels=annotations.labels[boxes],
        difficult=annotations.difficult[boxes],
        crowd=annotations.crowd[boxes],
    )


def batches(images: Tensor, sizes: Sequence[int]) -> Iterator[Tensor]:
    """Batches of these sizes in turn; the last is filled with repeats of its last picture."""
    start = 0
    for size in cycle(sizes):
        if start >= len(images):
            return
        batch = images[start : start + size]
        yield torch.cat([batch, batch[-1:].expand(size - len(batch), -1, -1, -1)])
        start += size
