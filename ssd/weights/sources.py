"""Files that hold weights to start from: checkpoints of this project, and plain state dicts."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ssd.weights.checkpoints import FORMAT, network_weights, read_file

PLAIN_KEYS = ("state_dict", "model")  # under which training scripts keep the weights
DESCRIBED = {"format", "classes", "normalisation"}  # of the "ssd" part, what is read here


class Source(NamedTuple):
    """Weights by the names in their file, and what the file says about them."""

    path: Path
    weights: dict[str, Tensor]
    classes: list[str] | None  # without the background; None where the file does not name them
    normalisation: dict[str, list[float]] | None  # the arguments of `models.layers.Normalize`
    step: int | None


def read_source(path: Path) -> Source:
    """The network's weights in a checkpoint of this project, or all of a plain state dict."""
    content = read_file(path)
    described = content.get("ssd") if isinstance(content, dict) else None
    if isinstance(described, dict) and described.keys() >= DESCRIBED and "state_dict" in content:
        if described["format"] > FORMAT:
            raise ValueError(
                f"{path}: checkpoint of format {described['format']}, this is format {FORMAT}"
            )
        weights, step = network_weights(content), content.get("global_step")
        return Source(path, weights, described["classes"], described["normalisation"], step)
    candidates = [content]
    if isinstance(content, dict):
        candidates += [content.get(key) for key in PLAIN_KEYS]
    for weights in candidates:
        if is_state_dict(weights):
            return Source(path, weights, classes=None, normalisation=None, step=None)
    raise ValueError(f"{path}: neither a checkpoint of this project nor a state dict of tensors")


def is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and len(content) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    )
