"""What one process trains, scores and counts, and what two and three of them do together.

python tests/ranks.py DATA OUT trains and scores on the data sets that test_distributed.py wrote
below DATA, in 1, 2 and 3 gloo processes, and leaves OUT/<processes>_<rank>.pt. All of them are
forks of this process, which has imported everything, so the seconds of that are spent once.
"""

import hashlib
import multiprocessing
import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from test_datamodule import DEFAULTS
from test_metric import (
    CLASSES,
    annotated,
    detected,
    in_batches,
    random_annotations,
    random_detections,
)
from test_module import freeze_statistics, make_module, sgd, trainer
from test_transforms import SETTINGS
from torch import Tensor, distributed

from ssd.data.transforms import Augmentation
from ssd.datamodule import DetectionDataModule
from ssd.metric import DetectionMetric

WORLDS = (1, 2, 3)
BATCH = 12  # divides by each number of processes and of accumulated parts
POSITIVES = {  # of the ranks of 2 and of 3 processes, in the one step on that data set
    "3 and 20": {2: [3, 20], 3: [3, 0, 20]},
    "0 and 20": {2: [0, 20], 3: [0, 20, 0]},
    "none": {2: [0, 0], 3: [0, 0, 0]},
}
SCORED = (1, 2, 3, 5, 7)  # images of the splits that are scored


class Steps(pl.Callback):
    """The images of every batch of this rank, what was made of them, and the steps' gradients."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, str]]] = []
        self.gradients: list[Tensor] = []

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, _: int) -> None:
        rows = zip(batch["indices"].tolist(), batch["images"], batch["boxes"], strict=True)
        self.batches.append([(index, content(image, boxes)) for index, image, boxes in rows])

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        if not trainer.fit_loop._should_accumulate():  # then they are what the step was by
            grads = [parameter.grad for parameter in module.network.parameters()]
            self.gradients.append(torch.cat([grad.flatten() for grad in grads]))  # none is None


def content(image: Tensor, boxes: Tensor) -> str:
    """Of an augmented image, without the padding of its boxes, which depends on the batch."""
    real = boxes[boxes.any(dim=1)]
    return hashlib.sha256(image.contiguous().numpy().tobytes() + real.numpy().tobytes()).hexdigest()


def run(world: int, folder: Path, **changes: Any) -> pl.Trainer:
    strategy = "ddp" if world > 1 else "auto"
    return trainer(folder, devices=world, strategy=strategy, **changes)


def data_module(root: Path, **changes: Any) -> DetectionDataModule:
    settings = {**DEFAULTS, "val_split": None, "batch_size": BATCH, "image_size": (64, 64)}
    settings |= {"augmentation": None, "classes": ["cat", "dog"], **changes}
    return DetectionDataModule(str(root), **settings)


def train(world: int, data: Path, steps: int, parts: int, **changes: Any) -> dict[str, Any]:
    module = make_module(optimizer=sgd(lr=1e-2, momentum=0.9))
    freeze_statistics(module.network)  # a norm over a batch would see another batch in each process
    callback = Steps()
    counted = []
    module.loss.register_forward_hook(lambda *call: counted.append(int(call[-1]["positives"])))
    trainer = run(world, data, max_steps=steps, callbacks=[callback], accumulate_grad_batches=parts)
    trainer.fit(module.double(), data_module(data, test_split=None, **changes))
    weights = torch.cat([p.detach().flatten() for p in module.network.parameters()])
    return {
        "batches": callback.batches,
        "gradients": callback.gradients,
        "positives": counted,
        "weights": weights,
    }


def score(world: int, data: Path) -> dict[str, Any]:
    """Of a network that knows nothing, whose every detection counts."""
    module = make_module()
    module.detect = partial(module.detect, score_threshold=0.0, detections_per_image=20)
    run(world, data).test(module.double(), data_module(data), verbose=False)
    found = module.metric.result.detections
    return {"scores": module.scores, "images": found.images, "boxes": found.boxes}


def score_in_shares(world: int, rank: int) -> dict[str, float]:
    """Of random detections with ties, a share a rank, which brings its images in an order and
    batches of its own."""
    annotations = random_annotations()
    share = torch.arange(40)[rank::world].flip(0).split(2 + world)
    metric = DetectionMetric(annotations, CLASSES)
    return in_batches(metric, random_detections(annotations), share).compute()


def score_unlike_shares(world: int, rank: int) -> float:
    """VOC 2012's score of two images a rank: rank 0's hold an object each, which is found, and the
    others' hold five each, none of which is."""
    box = (20, 20, 60, 60)
    first = torch.arange(2 * world) % world == 0
    annotations = annotated(*([(1, box, False)] * (1 if own else 5) for own in first))
    found = detected(*([(1, 0.9, box)] if own else [] for own in first))
    metric = DetectionMetric(annotations, CLASSES)
    return in_batches(metric, found, [torch.arange(2 * world)[rank::world]]).compute()["map_voc12"]


def work(world: int, rank: int, port: int, data: Path, out: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"WORLD_SIZE": str(world), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    if world > 1:
        distributed.init_process_group("gloo", rank=rank, world_size=world)
    results: dict[str, Any] = {
        "gradients": {
            (name, shares): train(world, data / name / str(shares), 1, 1)
            for name in POSITIVES
            for shares in (2, 3)
            if world in (1, shares)
        },
        "long": train(world, data / "long", 20, 1, augmentation=Augmentation(**SETTINGS)),
        "accumulated": train(world, data / "long", 2, 2, augmentation=Augmentation(**SETTINGS)),
        "scored": {images: score(world, data / f"scored{images}") for images in SCORED},
        "shares": score_in_shares(world, rank),
        "unlike shares": score_unlike_shares(world, rank),
    }
    torch.save(results, out / f"{world}_{rank}.pt")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


if __name__ == "__main__":
    data, out = map(Path, sys.argv[1:])
    fork = multiprocessing.get_context("fork")
    for world in WORLDS:
        port = free_port()
        ranks = [fork.Process(target=work, args=(world, r, port, data, out)) for r in range(world)]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(120)
        for rank in ranks:
            rank.kill()  # one that hangs
        if any(rank.exitcode for rank in ranks):
            sys.exit(1)
