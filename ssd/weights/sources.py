"""Files that hold weights: checkpoints of this project, those of others, and plain state dicts."""

from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ssd.weights.checkpoints import FORMAT, network_weights
from ssd.weights.files import read_file
from ssd.weights.projects import (
    balancap,
    lufficc,
    mmdetection,
    nvidia,
    qfgaohao,
    reducedfc,
    ssd_pytorch,
    torchvision,
)
from ssd.weights.projects.classes import known_classes
from ssd.weights.projects.converted import Converted
from ssd.weights.tensorflow_files import is_tensorflow, read_variables

PROJECTS: tuple[ModuleType, ...] = (
    balancap,
    qfgaohao,
    torchvision,
    ssd_pytorch,
    lufficc,
    reducedfc,
    mmdetection,
    nvidia,
)

PLAIN_KEYS = ("state_dict", "model")  # under which training scripts keep the weights
WRAPPERS = ("module.", "1.", "_orig_mod.")  # before every name, of DataParallel and torch.compile
DESCRIBED = {"format", "classes", "normalisation"}  # of the "ssd" part, what is read here


class Source(NamedTuple):
    """Weights by the names in their file, or ours where their project is known, and what the file
    says about them."""

    path: Path
    weights: dict[str, Tensor]
    classes: list[str] | None  # without the background; None where the file does not name them
    normalisation: dict[str, list[float]] | None  # the arguments of `models.layers.Normalize`
    step: int | None
    model: dict[str, Any] | None  # the network's name in `ssd.models` and its arguments, if known
    converted: Converted | None  # where the file is another project's

    @property
    def guessed(self) -> bool:
        """Whether the class names are those that their number tells."""
        return self.converted is not None and self.converted.classes is None


def read_source(path: Path) -> Source:
    """The network's weights in a checkpoint of this project or another, or all of a plain state
    dict."""
    return make_source(path, read_content(path))


def read_content(path: Path) -> Any:
    """What a file of torch or of TensorFlow holds."""
    return read_variables(path) if is_tensorflow(path) else read_file(path)


def make_source(path: Path, content: Any) -> Source:
    described = content.get("ssd") if isinstance(content, dict) else None
    if isinstance(described, dict) and described.keys() >= DESCRIBED and "state_dict" in content:
        if not isinstance(described["format"], int) or described["format"] > FORMAT:
            raise ValueError(
                f"{path}: checkpoint of format {described['format']}, this is format {FORMAT}"
            )
        weights, step = network_weights(content), content.get("global_step")
        classes, pixels = described["classes"], described["normalisation"]
        return Source(path, weights, classes, pixels, step, described.get("model"), None)
    weights = state_dict(content)
    if weights is None:
        raise ValueError(
            f"{path}: neither a checkpoint of this project nor a state dict of tensors"
        )
    converted = convert(path, unwrapped(weights), content)
    if converted is None:
        return Source(path, weights, None, None, None, None, None)
    classes = converted.classes or known_classes(converted.num_classes)
    return Source(path, converted.weights, classes, None, None, converted.model, converted)


def unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for front in WRAPPERS:
        if all(name.startswith(front) for name in weights):
            weights = {name.removeprefix(front): value for name, value in weights.items()}
    return weights


def convert(path: Path, weights: dict[str, Tensor], content: Any) -> Converted | None:
    """What the weights are, where a project is recognised by their names."""
    for project in PROJECTS:
        if project.recognises(weights):
            try:
                return with_counters(project.convert(weights, content))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
    return None


def with_counters(converted: Converted) -> Converted:
    """With the batch counters of batch norms, which files from before torch 0.4.1 lack."""
    weights = dict(converted.weights)
    for name in converted.weights:
        if name.endswith(".running_mean"):
            counter = name.replace("running_mean", "num_batches_tracked")
            weights.setdefault(counter, torch.tensor(0))
    return converted._replace(weights=weights)


def state_dict(content: Any) -> dict[str, Tensor] | None:
    """The weights in what a file holds: all of it, or what is under the usual keys."""
    candidates = [content]
    if isinstance(content, dict):
        candidates += [content.get(key) for key in PLAIN_KEYS]
    return next((weights for weights in candidates if is_state_dict(weights)), None)


def is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and len(content) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    )
