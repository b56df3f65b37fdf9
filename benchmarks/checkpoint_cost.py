"""What checkpoints cost: seconds of a save of SSD300 on VGG-16, and its share of training.

python -m benchmarks.checkpoint_cost [FOLDER]     which says what disk is written to
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.optim import SGD

from benchmarks.configuring import compose, ssd300
from benchmarks.timing import DEVICE
from benchmarks.train_step import CLASSES, RULES, make_data, ours
from ssd.weights.files import read_file, write_file

ROUNDS, BATCH = 5, 32


def checkpoint(network: nn.Module) -> dict[str, object]:
    """All tensors of one: the weights, and the momentum of each."""
    optimizer = SGD(network.parameters(), **RULES)
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    return {"state_dict": network.state_dict(), "optimizer_states": [optimizer.state_dict()]}


def seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median of so many times."""
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def main(folder: Path) -> None:
    cfg = compose()
    minutes = cfg.callbacks.last.every_minutes
    content = checkpoint(ssd300(CLASSES).to(DEVICE))
    path = folder / "cost.ckpt"
    save = seconds(lambda: write_file(content, path))
    load = seconds(lambda: read_file(path))
    size = path.stat().st_size / 1e6
    path.unlink()
    batch = BATCH if DEVICE == "cuda" else 4
    step = seconds(ours(*make_data(batch)), rounds=3 if DEVICE == "cpu" else 50)
    print(
        f"{DEVICE}: a checkpoint of {size:.0f} MB is saved in {save:.2f} s, loaded in {load:.2f} s"
    )
    print(f"every {minutes} minutes that is {save / (60 * minutes):.3%} of training")
    print(f"a step of {batch} images takes {step:.3f} s; each 500 steps, {save / (500 * step):.3%}")


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]]
    with tempfile.TemporaryDirectory(dir=given[0] if given else None) as folder:
        main(Path(folder))
