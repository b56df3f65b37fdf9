"""Files to boxes, beside torchvision's own path: one network with random weights, in bf16."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.io import decode_image
from torchvision.models.detection import ssd300_vgg16

from benchmarks.timing import DEVICE, OURS, Timed, in_turn_apart
from ssd.data.dataset import DetectionDataset, collate
from ssd.datamodule import DetectionDataModule
from ssd.models import SSD
from ssd.ops.detecting import detect
from ssd.weights.checkpoints import build_network
from ssd.weights.loading import load_checkpoint

CLASSES, BATCH, BATCHES = 21, 8, 9
WORKERS = 2
BACKGROUND = 8.0  # on its logit, so that there are as few candidates as a trained network has


def measure(rounds: int, data: DetectionDataModule) -> Iterator[Timed]:
    dataset = data.dataset("train", training=False)
    chosen = [index % len(dataset) for index in range(BATCH * BATCHES)]
    makers = {
        OURS: partial(ours, dataset, chosen),
        "torchvision, bf16, channels_last": partial(torchvisions, dataset, chosen),
    }
    case = f"batches of {BATCH}, bf16"
    yield in_turn_apart("inference", case, "images", len(chosen), makers, rounds)


def torchvisions_model() -> nn.Module:
    """The same random weights in every process."""
    torch.manual_seed(0)
    model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=CLASSES)
    with torch.no_grad():
        for layer in model.head.classification_head.module_list:
            layer.bias.view(-1, CLASSES)[:, 0] += BACKGROUND
    return model


def converted(model: nn.Module) -> SSD:
    """Our network with torchvision's weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "torchvision.pth"
        torch.save(model.state_dict(), path)
        return build_network(
            load_checkpoint(path, classes=[f"class {n}" for n in range(1, CLASSES)])
        )


def ours(dataset: DetectionDataset, chosen: list[int]) -> Callable[[], list]:
    network = converted(torchvisions_model()).to(DEVICE, memory_format=torch.channels_last).eval()
    find = partial(
        detect,
        anchors=network.anchors,
        score_threshold=0.01,
        candidates_per_class=400,
        iou_threshold=0.45,
        detections_per_image=200,
        clip_boxes=True,
    )
    loader = DataLoader(
        dataset,
        BATCH,
        sampler=chosen,
        collate_fn=collate,
        num_workers=WORKERS,
        persistent_workers=True,
        pin_memory=DEVICE == "cuda",
    )

    @torch.inference_mode()
    def run() -> list:
        found = []
        for batch in loader:
            with torch.autocast(DEVICE, torch.bfloat16):
                predictions = network(batch["images"].to(DEVICE, non_blocking=True))
            found.append(find(predictions))
        return found

    return run


def torchvisions(dataset: DetectionDataset, chosen: list[int]) -> Callable[[], list]:
    model = torchvisions_model().to(DEVICE, memory_format=torch.channels_last).eval()
    files = [Path(dataset.annotations.files[index]) for index in chosen]

    @torch.inference_mode()
    def run() -> list:
        found = []
        for start in range(0, len(files), BATCH):
            images = [
                decode_image(str(file), "RGB").to(DEVICE) / 255
                for file in files[start : start + BATCH]
            ]
            with torch.autocast(DEVICE, torch.bfloat16):
                found += model(images)
        return found

    return run
