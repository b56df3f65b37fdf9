"""Checkpoint files: finding the one that is meant, reading it safely, building its network."""

import logging
from inspect import signature
from pathlib import Path
from typing import Any

from torch import Tensor

from ssd import models
from ssd.models import SSD
from ssd.models.layers import Normalize
from ssd.ops.detecting import detect
from ssd.weights.files import read_file

log = logging.getLogger(__name__)

FORMAT = 3  # of the "ssd" part of a checkpoint
PREFIX = "network."  # of the network's weights in a checkpoint
FOLDER = "checkpoints"
BEST, LAST = "best.ckpt", "last.ckpt"
NETWORKS = [name for name in models.__all__ if name != "SSD"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of this project."""
    content = read_file(path)
    if not is_checkpoint(content):
        raise ValueError(f"{path}: not a checkpoint of this project; it has no 'ssd' part")
    return checked(path, content)


def is_checkpoint(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("ssd"), dict)


def checked(path: Path, checkpoint: dict[str, Any]) -> dict[str, Any]:
    found = checkpoint["ssd"].get("format")
    if found != FORMAT:
        raise ValueError(f"{path}: checkpoint of format {found}, this is format {FORMAT}")
    return checkpoint


def check_description(path: Path, described: dict[str, Any]) -> None:
    """Raise, in one line, where what a checkpoint says of its use cannot be.

    The model is `build_network`'s business.
    """
    classes = described.get("classes")
    named = isinstance(classes, list) and classes and all(isinstance(n, str) for n in classes)
    if not named or len(set(classes)) < len(classes):
        raise ValueError(f"{path}: a checkpoint without names of classes, each once")
    size = described.get("image_size")
    sides = size if isinstance(size, list) and len(size) == 2 else [None]
    if not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"{path}: a checkpoint whose image_size is {size!r}, not height and width")
    parameters = list(signature(detect).parameters.values())[2:]  # after predictions and anchors
    detecting = described.get("detecting")
    try:
        signature(detect).bind(None, None, **detecting)
    except TypeError as error:
        raise ValueError(f"{path}: a checkpoint whose 'detecting' part has {error}") from error
    for one in parameters:
        value = detecting.get(one.name, one.default)
        kinds = (int, float) if one.annotation is float else one.annotation
        if not isinstance(value, kinds) or isinstance(value, bool) != (one.annotation is bool):
            raise ValueError(f"{path}: a checkpoint whose detecting.{one.name} is {value!r}")


def find_checkpoint(path: Path) -> Path:
    """A checkpoint file itself, or the best of a run folder, or its last where nothing was
    scored."""
    if not path.is_dir():
        return path
    for name in (BEST, LAST):
        for folder in (path / FOLDER, path):
            if (folder / name).is_file():
                log.info("%s: taking %s", path, (folder / name).relative_to(path))
                return folder / name
    raise ValueError(f"{path}: holds neither {FOLDER}/{BEST} nor {FOLDER}/{LAST}")


def describe(
    network: SSD, classes: list[str], model: dict[str, Any], detecting: dict[str, Any]
) -> dict[str, Any]:
    """The "ssd" part of a checkpoint: what `build_network` and detection need, as plain data.

    classes: names, without the background; model: the network's name in `ssd.models` and its
    arguments; detecting: the arguments of `ops.detecting.detect`
    """
    normalize = network.normalize
    return {
        "format": FORMAT,
        "classes": classes,
        "model": model,
        "image_size": list(network.image_size),
        "normalisation": {
            "mean": normalize.mean.flatten().tolist(),
            "std": normalize.std.flatten().tolist(),
        },
        "detecting": detecting,
    }


def build_network(checkpoint: dict[str, Any]) -> SSD:
    """The network of a checkpoint, with its weights, in evaluation mode.

    The architecture is one of `ssd.models`, by name; nothing else that a file says is called.
    """
    description = checkpoint["ssd"]
    try:
        arguments = dict(description["model"])
        name = arguments.pop("name")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("a checkpoint whose 'model' part names no network") from error
    if name not in NETWORKS:
        raise ValueError(f"checkpoint of an unknown model {name!r}; known are {NETWORKS}")
    if "pretrained" in arguments:
        arguments["pretrained"] = False  # the weights are in the file
    try:
        network = getattr(models, name)(num_classes=len(description["classes"]) + 1, **arguments)
        network.normalize = Normalize(**description["normalisation"])
        network.load_state_dict(network_weights(checkpoint))
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        fault = " ".join(str(error).split())[:200]
        raise ValueError(f"a checkpoint that does not fit its own {name}: {fault}") from error
    for part, weights in network.state_dict().items():
        if not weights.isfinite().all():
            raise ValueError(f"a checkpoint of a run that diverged: its {part} is no number")
    return network.eval()


def network_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The network's part of a checkpoint's weights, by the network's own names."""
    weights = checkpoint["state_dict"].items()
    return {k.removeprefix(PREFIX): v for k, v in weights if k.startswith(PREFIX)}
