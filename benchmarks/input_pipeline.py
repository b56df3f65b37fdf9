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
from torchvision.io import decode_image

from benchmarks.timing import OURS, Timed, in_turn
from benchmarks.torchvision_recipe import recipe, target
from ssd.data.dataset import DetectionDataset
from ssd.datamodule import DetectionDataModule

SIDE, IMAGES = 300, 60


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
    transform = recipe((SIDE, SIDE) if resize else None, pillow, scale=not resize)
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
