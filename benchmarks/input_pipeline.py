"""Files to augmented samples of 300 pixels in one thread, beside torchvision's v2 transforms.

Both draw the SSD recipe: colours, zoom-outs, crops that overlap an object, mirror images.
torchvision's is that of its detection reference, as it is and with a resize put behind it, which is
faster than to leave that to its model.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.io import decode_image
from torchvision.transforms import v2

from benchmarks.timing import OURS, Timed, in_turn
from ssd.data.dataset import DetectionDataset
from ssd.datamodule import DetectionDataModule

SIDE, IMAGES = 300, 60
MEAN = (123, 117, 104)


def measure(rounds: int, data: DetectionDataModule) -> Iterator[Timed]:
    dataset = data.dataset("train", training=True)
    chosen = list(range(len(dataset)))[:: max(1, len(dataset) // IMAGES)][:IMAGES]
    sides = {
        OURS: lambda: [dataset[0, index] for index in chosen],
        "torchvision, tensors, resized": torchvisions(dataset, chosen, pillow=False, resize=True),
        "torchvision, Pillow, resized": torchvisions(dataset, chosen, pillow=True, resize=True),
        "torchvision, tensors": torchvisions(dataset, chosen, pillow=False, resize=False),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    width, height = dataset.annotations.sizes.median(dim=0).values.tolist()
    case = f"{len(chosen)} images, {width}x{height}"
    yield in_turn("input", case, "images", len(chosen), sides, rounds)
    torch.set_num_threads(threads)


def torchvisions(
    dataset: DetectionDataset, chosen: Sequence[int], pillow: bool, resize: bool
) -> Callable[[], list[Tensor]]:
    transform = recipe(pillow, resize)
    files = [Path(dataset.annotations.files[index]) for index in chosen]
    targets = [target(dataset, index) for index in chosen]

    def run() -> list[Tensor]:
        if pillow:
            images = (Image.open(file).convert("RGB") for file in files)
        else:
            content = (
                torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8) for file in files
            )
            images = (decode_image(column, "RGB") for column in content)
        return [transform(*pair) for pair in zip(images, targets, strict=True)]

    return run


def recipe(pillow: bool, resize: bool) -> v2.Compose:
    """references/detection/presets.py of torchvision, "ssd"."""
    return v2.Compose(
        [
            *([] if pillow else [v2.ToImage()]),
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill={tv_tensors.Image: MEAN, "others": 0, Image.Image: MEAN}),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(p=0.5),
            *([v2.Resize((SIDE, SIDE))] if resize else []),
            *([v2.PILToTensor()] if pillow else []),
            v2.ToDtype(torch.float, scale=True),
            v2.SanitizeBoundingBoxes(),
            v2.ToPureTensor(),
        ]
    )


def target(dataset: DetectionDataset, index: int) -> dict[str, Tensor]:
    boxes, labels, _ = dataset.objects(index)
    width, height = dataset.annotations.sizes[index].tolist()
    boxes = tv_tensors.BoundingBoxes(
        torch.from_numpy(boxes), format="XYXY", canvas_size=(height, width)
    )
    return {"boxes": boxes, "labels": torch.from_numpy(labels)}
