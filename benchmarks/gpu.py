"""Training of SSD300 on a GPU, from JPEG files to new weights: a table for batch sizes and forms.

    python benchmarks/gpu.py [--data FOLDER] [--batches 32 64 128 256 512] [--steps 60]
    python benchmarks/gpu.py --device cpu --batches 2 --steps 1 --rounds 0

The forms: eager; compiled; graphs, compiled and replayed as CUDA graphs; and torchvision's SSD300
on the same batches. Columns: images a second, the share of the H200's arithmetic that they take,
the most memory, and the milliseconds of each stage of a step by the GPU's clock, where "wait" is
for the loader: what the host does while the GPU is busy costs nothing. torchvision's loss is in its
forward. Then predictions to detections, see benchmarks/detecting.py. Shapes are drawn where no
folder is given, of any format that train.py knows.
"""

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import ssd300_vgg16

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import detecting
from benchmarks.configuring import compose, ssd300
from benchmarks.timing import lines, wait
from ssd.data.dataset import DetectionDataset, collate
from ssd.data.samplers import TrainSampler
from ssd.optim.parameters import make_optimizer
from ssd.records import Batch

FORMS = {"eager": None, "compiled": {}, "graphs": {"mode": "reduce-overhead"}}  # of torch.compile
TORCHVISION = "torchvision"
STAGES = ("wait", "copy", "forward", "loss", "backward", "optimizer")
SIDE = 300
H200 = 790.0  # TFLOP/s that it reaches in bf16
WARM_UP = 10  # steps
Step = Callable[[Batch, "Clock"], None]  # of a batch as the loader gives it, on the host


class Clock:
    """Milliseconds by stage: a GPU's own, by events between its kernels, or the host's."""

    def __init__(self, device: str) -> None:
        self.on_gpu = device == "cuda"
        self.marks: list[tuple[str, float | torch.cuda.Event]] = []

    def __call__(self, stage: str) -> None:
        """The stage ends here."""
        moment: float | torch.cuda.Event = time.perf_counter()
        if self.on_gpu:
            moment = torch.cuda.Event(enable_timing=True)
            moment.record()
        self.marks.append((stage, moment))

    def totals(self) -> Counter[str]:
        spent: Counter[str] = Counter()
        for (_, before), (stage, after) in itertools.pairwise(self.marks):
            spent[stage] += before.elapsed_time(after) if self.on_gpu else 1e3 * (after - before)
        return spent


def batches(dataset: DetectionDataset, size: int, options: argparse.Namespace) -> Iterator[Batch]:
    """Without an end."""
    if len(dataset) < size:
        raise SystemExit(f"{len(dataset)} training images make no batch of {size}")
    sampler = TrainSampler(len(dataset), size, seed=0, rank=0, world_size=1)
    kept = {"num_workers": options.workers, "persistent_workers": options.workers > 0}
    pinned = {"pin_memory": options.device == "cuda"}
    loader = DataLoader(dataset, size, sampler=sampler, collate_fn=collate, **kept, **pinned)
    while True:
        yield from loader


def ours(classes: int, form: str, device: str) -> Step:
    network = ssd300(classes).to(device, memory_format=torch.channels_last)
    optimizer = sgd(network)
    loss = instantiate(compose("experiment=ssd_torchvision").loss, _convert_="all")
    if FORMS[form] is not None:
        network.compile(**FORMS[form])

    def step(batch: Batch, clock: Clock) -> None:
        batch = {name: column.to(device, non_blocking=True) for name, column in batch.items()}
        clock("copy")
        with torch.autocast(device, torch.bfloat16):
            predictions = network(batch["images"])
            clock("forward")
            sums = loss(predictions, batch, network.anchors)
        finish((sums["class"] + sums["box"]) / sums["divisor"].clamp(min=1), optimizer, clock)

    return step


def torchvisions(classes: int, device: str) -> Step:
    model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=classes)
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizer = sgd(model)

    def step(batch: Batch, clock: Clock) -> None:
        # chosen on the host, as its users' loaders do: a mask on the GPU would wait for it
        targets = [
            {
                "boxes": (boxes[labels > 0] * SIDE).to(device),
                "labels": labels[labels > 0].to(device),
            }
            for boxes, labels in zip(batch["boxes"], batch["labels"], strict=True)
        ]
        pixels = list(batch["images"].to(device, non_blocking=True).float() / 255)
        clock("copy")
        with torch.autocast(device, torch.bfloat16):
            losses = model(pixels, targets)
        clock("forward")
        finish(sum(losses.values()), optimizer, clock)

    return step


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    rules = {"lr": 1e-5, "momentum": 0.9, "weight_decay": 5e-4}
    return make_optimizer(network, partial(SGD, **rules), {}, [], may_fuse=True)


def finish(loss: Tensor, optimizer: torch.optim.Optimizer, clock: Clock) -> None:
    clock("loss")
    loss.backward()
    clock("backward")
    optimizer.step()
    optimizer.zero_grad()
    clock("optimizer")


def row(step: Step, source: Iterator[Batch], device: str, work: float, steps: int) -> list[str]:
    """The cells of a form and a batch size. work: TFLOPs of an image"""
    for number in range(-min(WARM_UP, steps), steps):
        if number <= 0:  # what came before was to warm up
            wait()
            start, clock = time.perf_counter(), Clock(device)
            clock("start")
        batch = next(source)
        clock("wait")
        step(batch, clock)
    wait()
    size = len(batch["images"])
    rate = steps * size / (time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
    spent = clock.totals()
    cells = [str(size), f"{rate:.1f}", f"{rate * work / H200:.1%}", f"{memory:.1f}"]
    return cells + [f"{spent[stage] / steps:.2f}" for stage in STAGES]


def flops(device: str, classes: int) -> float:
    """Of a training step, for one image."""
    network = ssd300(classes).to(device)
    image = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8, device=device)
    with FlopCounterMode(display=False) as counter:
        sum(column.sum() for column in network(image)).backward()
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a folder of a data set")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128, 256, 512])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=7, help="of detections; 0 for none")
    parser.add_argument("--forms", nargs="+", default=[*FORMS, TORCHVISION])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--workers", type=int, default=14)
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    chosen = ["data=auto", f"data.root={options.data}"] if options.data else ["data=shapes"]
    cfg = compose("augmentation=ssd", *chosen)
    augmentation = instantiate(cfg.augmentation, _convert_="all")
    rest = {"augmentation": augmentation, "image_size": (SIDE, SIDE), "seed": 0}
    data = instantiate(cfg.data, **rest, _convert_="all")
    data.prepare_data()
    classes, device = len(data.classes) + 1, options.device
    work = flops(device, classes) / 1e12
    print(
        f"{work * 1000:.1f} GFLOPs an image, torch {torch.__version__}, {options.workers} workers"
    )
    print("| form | batch | images/s | of the peak | GiB |", " | ".join(STAGES), "|")
    print("| --- " * (5 + len(STAGES)) + "|")
    for form, size in itertools.product(options.forms, options.batches):
        torch.compiler.reset()  # every form for its own batch size
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        theirs = form == TORCHVISION
        step = torchvisions(classes, device) if theirs else ours(classes, form, device)
        source = batches(data.dataset("train", training=True), size, options)
        cells = row(step, source, device, work, options.steps)
        print("|", " | ".join([form, *cells]), "|", flush=True)
        del step, source
    if options.rounds:
        print("\n".join(lines(detecting.measure(options.rounds))))


if __name__ == "__main__":
    main()
