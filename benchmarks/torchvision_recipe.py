"""torchvision's own augmentation for SSD, to compare ours with: its speed, its samples, and what is
learned from them.

    python train.py augmentation=ssd data._target_=benchmarks.torchvision_recipe.TorchvisionData
    python benchmarks/torchvision_recipe.py DATA_ROOT SHEET.png    samples of both, side by side
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).parent.parent))

from ssd.data.dataset import DetectionDataset
from ssd.data.images.reading import read_image
from ssd.datamodule import DetectionDataModule
from ssd.records import Sample
from ssd.report.drawing import draw_boxes

MEAN = (123, 117, 104)
SIDE, ROWS = 300, 4  # of the sheet


def recipe(size: tuple[int, int] | None, pillow: bool = False, scale: bool = True) -> v2.Compose:
    """references/detection/presets.py of torchvision, "ssd".

    size: (height, width) to resize to, or None to leave that to its model; pillow: whether images
    come as Pillow's; scale: to floats from 0 to 1, as its model takes them
    """
    fill = {tv_tensors.Image: MEAN, Image.Image: MEAN, "others": 0}
    return v2.Compose(
        [
            *([] if pillow else [v2.ToImage()]),
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill=fill),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(p=0.5),
            # clamped, or boxes that rounding puts over the border would be dropped
            *([v2.Resize(size), v2.ClampBoundingBoxes()] if size else []),
            *([v2.PILToTensor()] if pillow else []),
            *([v2.ToDtype(torch.float, scale=True)] if scale else []),
            v2.SanitizeBoundingBoxes(labels_getter=columns),
            v2.ToPureTensor(),
        ]
    )


def columns(found: tuple[Tensor, dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """What goes with each box."""
    return found[1]["labels"], found[1]["difficult"]


def target(dataset: DetectionDataset, index: int) -> dict[str, Tensor]:
    """The objects of an image as torchvision's transforms take them."""
    boxes, labels, difficult = map(torch.from_numpy, dataset.objects(index))
    width, height = dataset.annotations.sizes[index].tolist()
    boxes = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width))
    return {"boxes": boxes, "labels": labels, "difficult": difficult}


class TorchvisionDataset(DetectionDataset):
    """Samples that torchvision augments, as reproducible as ours."""

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        if not isinstance(key, tuple) or self.augmentation is None:
            return super().__getitem__(key)
        epoch, index = key
        seed = np.random.SeedSequence((self.seed, epoch, index)).generate_state(1)[0]
        pixels = torch.from_numpy(read_image(self.annotations.files[index])).permute(2, 0, 1)
        with torch.random.fork_rng():
            torch.manual_seed(int(seed))
            image, found = recipe(self.image_size, scale=False)(pixels, target(self, index))
        height, width = self.image_size
        boxes = found["boxes"].float() / torch.tensor([width, height, width, height])
        return Sample(
            image=image,
            boxes=boxes,
            labels=found["labels"],
            difficult=found["difficult"],
            index=index,
        )


class TorchvisionData(DetectionDataModule):
    """Our data module with torchvision's samples for training."""

    def dataset(self, stage: str, training: bool) -> DetectionDataset:
        found = super().dataset(stage, training)
        if training:
            found.__class__ = TorchvisionDataset
        return found


def sheet(datasets: list[DetectionDataset], classes: list[str]) -> Image.Image:
    """Rows of four samples of each data set, side by side."""
    page = Image.new("RGB", (8 * SIDE + 40, ROWS * SIDE), "white")
    for column, dataset in enumerate(datasets):
        for place in range(4 * ROWS):
            sample = dataset[place, place * len(dataset) // (4 * ROWS)]
            labels = sample["labels"].tolist()
            picture = draw_boxes(
                np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy()),
                sample["boxes"].numpy() * SIDE,
                [classes[label - 1] for label in labels],
                labels,
            )
            corner = (column * (4 * SIDE + 40) + place % 4 * SIDE, place // 4 * SIDE)
            page.paste(Image.fromarray(picture).resize((SIDE, SIDE)), corner)
    return page


def main() -> None:
    from hydra.utils import instantiate

    from benchmarks.configuring import compose

    root, path = sys.argv[1:]
    cfg = compose("data=auto", f"data.root={root}", "augmentation=ssd")
    augmentation = instantiate(cfg.augmentation, _convert_="all")
    data = instantiate(cfg.data, augmentation=augmentation, image_size=(SIDE, SIDE), seed=0)
    ours, theirs = (data.dataset("train", training=True) for _ in range(2))
    theirs.__class__ = TorchvisionDataset
    sheet([ours, theirs], data.classes).save(path)


if __name__ == "__main__":
    main()
