"""Networks, the files that hold their weights, and starts from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from networks import arguments, make_network
from torch import Tensor

from ssd.models import SSD
from ssd.weights.checkpoints import describe
from ssd.weights.warm_start import warm_start

MODEL = arguments("small", image_size=64, width=0.25)
ANCHORS = 4  # of a cell, on every level of ssd_small
CLASSES = ["cat", "dog"]
DETECTING = {
    "score_threshold": 0.01,
    "candidates_per_class": 400,
    "iou_threshold": 0.45,
    "detections_per_image": 200,
    "clip_boxes": True,
}


def make(classes: Sequence[str] = CLASSES, **changes: Any) -> SSD:
    """A network none of whose tensors has the values of another's."""
    network = make_network("small", len(classes) + 1, image_size=64, **{"width": 0.25, **changes})
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) / 10 + 0.05)
        else:
            tensor.random_(1, 1000)
    return network.eval()


def checkpoint(network: SSD, classes: list[str] = CLASSES, **changes: Any) -> dict[str, Any]:
    """What Lightning and SSDModule write, but for the optimizer."""
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    return {
        "ssd": {**describe(network, classes, MODEL, detecting=DETECTING), **changes},
        "state_dict": weights,
        "global_step": 70,
    }


def save(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def start(
    network: SSD, path: str | Path, classes: list[str] = CLASSES, **changes: Any
) -> list[str]:
    options = {"exclude": [], "rename": [], "missing": "error", **changes}
    return warm_start(network, classes, options.pop("model", MODEL), path, **options)


def copies(network: SSD) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(network: SSD, weights: dict[str, Tensor], below: str = "") -> bool:
    own = network.state_dict()
    names = [name for name in weights if name.startswith(below)]
    assert names
    return all(torch.equal(own[name], weights[name]) for name in names)
