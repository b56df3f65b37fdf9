"""The table of docs/zoo.md: every model's size, and the images per second it predicts here.

    python benchmarks/zoo.py [--rounds 5] [--models ssd300_vgg16 timm …]

Each model of conf/model with 80 classes and new weights, its heads starting as background, from a
uint8 batch to detections. GFLOPs are those of the network for one image (multiply and add count as
two). On a CPU one image at a time in float32 and in bf16, on a GPU also batches of 32 in bf16. The
models take turns, so that whatever else runs on the machine meets all of them.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ssd.models import SSD  # noqa: E402
from ssd.ops.detecting import detect  # noqa: E402

CLASSES = 80
MODELS = (
    "small",
    "ssd300_vgg16",
    "ssd512_vgg16",
    "ssd300_resnet depth=18",
    "ssd300_resnet depth=34",
    "ssd300_resnet depth=50",
    "ssdlite320_mobilenet_v2",
    "ssdlite320_mobilenet_v3",
    "ssdlite320_mobilenet_v3 reduced_tail=true",
    "ssd300_mobilenet_v1",
    "ssdlite300_mobilenet_v2",
    "timm backbone=convnext_atto",
)
SETTINGS = [("cpu", 1, False), ("cpu", 1, True)]
if torch.cuda.is_available():
    SETTINGS += [("cuda", 1, True), ("cuda", 32, True)]


def make(option: str) -> tuple[SSD, dict]:
    name, *changes = option.split()
    overrides = [f"model={name}", *(f"model.{change}" for change in changes)]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", overrides)
    if "pretrained" in cfg.model:
        cfg.model.pretrained = False
    cfg.model.object_prior = 0.01  # few candidates, as from a trained network
    network = instantiate(cfg.model, num_classes=CLASSES + 1, _convert_="all")
    return network.eval(), dict(cfg.detecting)


def gflops(network: SSD) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, *network.image_size, dtype=torch.uint8))
    return counter.get_total_flops() / 1e9


@torch.no_grad()
def seconds(network: SSD, rules: dict, device: str, batch: int, bf16: bool) -> float:
    """Of one batch, from pixels to detections."""
    images = torch.randint(0, 256, (batch, 3, *network.image_size), dtype=torch.uint8)
    network.to(device, memory_format=torch.channels_last)
    start = time.perf_counter()
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        predictions = network(images.to(device))
    detect(predictions, network.anchors, **rules).scores.cpu()
    return time.perf_counter() - start


def rates(runs: list[Callable[[], float]], rounds: int) -> list[float]:
    """Median calls per second of each, taking turns."""
    for run in runs:
        run()  # warm up
    times = [[run() for run in runs] for _ in range(rounds)]
    return [1 / statistics.median(column) for column in zip(*times, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=MODELS)
    options = parser.parse_args()
    made = {option: make(option) for option in options.models}
    columns = []
    for device, batch, bf16 in SETTINGS:
        runs = [
            partial(seconds, network, rules, device, batch, bf16)
            for network, rules in made.values()
        ]
        columns.append([batch * rate for rate in rates(runs, options.rounds)])
    names = [f"{d} {'bf16' if bf16 else 'fp32'} x{batch}" for d, batch, bf16 in SETTINGS]
    print("| model | input | parameters | GFLOPs | anchors |", " | ".join(names), "|")
    print("| --- " * (5 + len(names)) + "|")
    for (option, (network, _)), *speeds in zip(made.items(), *columns, strict=True):
        height, width = network.image_size
        parameters = sum(weight.numel() for weight in network.parameters())
        cells = [
            option, f"{height}x{width}", f"{parameters:,}", f"{gflops(network.cpu()):.2f}",
            f"{len(network.anchors):,}", *(f"{speed:.1f}" for speed in speeds),
        ]  # fmt: skip
        print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
