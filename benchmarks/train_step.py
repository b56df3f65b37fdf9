"""One training step of SSD300-VGG16 beside torchvision's, in turn, on the same images.

    python benchmarks/train_step.py [--batch 8] [--rounds 5] [--precision 32 bf16]

Random weights, 21 classes, three boxes an image, SGD with momentum and weight decay. Each side runs
as its users run it: torchvision's `model(images, targets)` on float images, ours on the uint8 batch
that the loader gives, in channels_last. Prints the median images per second and the ratio of each
pair of neighbouring runs.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torchvision.models.detection import ssd300_vgg16 as torchvision_ssd

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

CLASSES, SIDE, BOXES = 21, 300, 3
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def make_data(batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """uint8 NHWC images, boxes in fractions, labels."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (batch, SIDE, SIDE, 3), dtype=torch.uint8)
    low = torch.rand(batch, BOXES, 2) * 0.5
    boxes = torch.cat([low, low + 0.1 + 0.4 * torch.rand(batch, BOXES, 2)], dim=2)
    labels = torch.randint(1, CLASSES, (batch, BOXES))
    return images.to(DEVICE), boxes.to(DEVICE), labels.to(DEVICE)


def optimizer_of(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9, weight_decay=5e-4)


def ours(batch: int, bf16: bool) -> Callable[[], None]:
    images, boxes, labels = make_data(batch)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", ["experiment=ssd_torchvision", "model.pretrained=false"])
    network = instantiate(cfg.model, num_classes=CLASSES, _convert_="all")
    network = network.to(DEVICE, memory_format=torch.channels_last)
    loss, optimizer = instantiate(cfg.loss, _convert_="all"), optimizer_of(network)
    pixels = images.permute(0, 3, 1, 2)

    def step() -> None:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
            predictions = network(pixels)
            sums = loss(predictions, {"boxes": boxes, "labels": labels}, network.anchors)
        ((sums["class"] + sums["box"]) / sums["positives"].clamp(min=1)).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def torchvisions(batch: int, bf16: bool, channels_last: bool) -> Callable[[], None]:
    images, boxes, labels = make_data(batch)
    model = torchvision_ssd(weights=None, weights_backbone=None, num_classes=CLASSES).to(DEVICE)
    model.train()
    pixels = list((images.permute(0, 3, 1, 2).float() / 255).contiguous())
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    targets = [{"boxes": b * SIDE, "labels": label} for b, label in zip(boxes, labels, strict=True)]
    optimizer = optimizer_of(model)

    def step() -> None:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
            losses = model(pixels, targets)
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds(step: Callable[[], None]) -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", nargs="+", default=["32", "bf16"], choices=["32", "bf16"])
    options = parser.parse_args()
    for precision in options.precision:
        bf16 = precision == "bf16"
        sides = {
            "ours": ours(options.batch, bf16),
            "torchvision": torchvisions(options.batch, bf16, channels_last=False),
            "torchvision, channels_last": torchvisions(options.batch, bf16, channels_last=True),
        }
        for step in sides.values():
            step()  # warm up
        times = {name: [] for name in sides}
        for _ in range(options.rounds):
            for name, step in sides.items():
                times[name].append(seconds(step))
        for name, taken in times.items():
            rate = options.batch / statistics.median(taken)
            pairs = [theirs / our for our, theirs in zip(times["ours"], taken, strict=True)]
            ratio = f"ours is {statistics.median(pairs):.2f}x" if name != "ours" else ""
            print(f"{precision:>5}  {name:28}{rate:8.2f} images/s  {ratio}", flush=True)


if __name__ == "__main__":
    main()
