"""Samples and batches: the images of a split, read, augmented and padded together."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ssd.data.checks import with_cure
from ssd.data.images.reading import read_image
from ssd.data.transforms import Augmentation, make_view, place_boxes, render
from ssd.records import Annotations, Batch, Sample

BLACK = (0, 0, 0)


class DetectionDataset(Dataset):
    """The images of a split at the network's input size.

    A sample is a pure function of its key: an index is the plain, resized image; an (epoch, index)
    is augmented by a generator of (seed, epoch, index), so it is the same in every worker, on every
    device and after every restart.
    image_size: (height, width)
    keep_difficult: whether difficult objects are among the boxes
    keep_crowds: whether regions of many objects are
    """

    def __init__(
        self,
        annotations: Annotations,
        image_size: tuple[int, int],
        augmentation: Augmentation | None,
        keep_difficult: bool,
        keep_crowds: bool,
        seed: int,
    ) -> None:
        self.annotations = annotations
        self.image_size = image_size
        self.augmentation = augmentation
        self.keep_difficult = keep_difficult
        self.keep_crowds = keep_crowds
        self.seed = seed

    def __len__(self) -> int:
        return len(self.annotations.ids)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (None, key)
        boxes, labels, difficult = self.objects(index)
        width, height = self.annotations.sizes[index].tolist()
        window, mirrored, recolour, fill = (0, 0, width, height), False, None, BLACK
        kept = np.ones(len(boxes), bool)
        if epoch is not None and self.augmentation:
            rng = np.random.default_rng((self.seed, epoch, index))
            window = self.augmentation.window(boxes, (width, height), rng)
            kept = self.augmentation.crop.keeps(boxes, window)
            mirrored = self.augmentation.mirrored(rng)
            recolour = partial(self.augmentation.recolour, rng=rng)
            fill = self.augmentation.fill
        view = make_view(window, (width, height), self.image_size, mirrored)
        image = readable(self.annotations.files[index])
        if image.shape[:2] != (height, width):
            raise ValueError(
                f"{self.annotations.files[index]}: {image.shape[1]}x{image.shape[0]} pixels, but "
                f"{width}x{height} when this run began; leave the data alone while it is in use"
            )
        image = render(image, view, self.image_size, fill, recolour)
        return Sample(
            image=torch.from_numpy(image).permute(2, 0, 1),
            boxes=torch.from_numpy(place_boxes(boxes[kept], view, self.image_size)),
            labels=torch.from_numpy(labels[kept]),
            difficult=torch.from_numpy(difficult[kept]),
            index=index,
        )

    def picture(self, index: int) -> np.ndarray:
        """The image as it is. (H, W, 3) uint8 RGB"""
        return readable(self.annotations.files[index])

    def objects(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (G, 4) xyxy pixels, labels (G,) and difficult flags (G,) of an image."""
        row = index % len(self)
        start, end = self.annotations.starts[row : row + 2].tolist()
        boxes, labels, difficult, crowd = (
            getattr(self.annotations, name)[start:end].numpy()
            for name in ("boxes", "labels", "difficult", "crowd")
        )
        kept = (self.keep_difficult | ~difficult | crowd) & (self.keep_crowds | ~crowd)
        return boxes[kept], labels[kept], difficult[kept]


def readable(file: str) -> np.ndarray:
    """The pixels of an image, or an error that says how training goes on without it."""
    try:
        return read_image(file)
    except ValueError as error:
        raise ValueError(with_cure("bad_image", str(error))) from None


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples of one size to a batch, padded to the most boxes of any."""
    return Batch(
        images=torch.stack([s["image"].permute(1, 2, 0) for s in samples]).permute(0, 3, 1, 2),
        boxes=padded([s["boxes"] for s in samples]),
        labels=padded([s["labels"] for s in samples]),
        difficult=padded([s["difficult"] for s in samples]),
        indices=torch.tensor([s["index"] for s in samples]),
    )


def padded(columns: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(columns), batch_first=True)
