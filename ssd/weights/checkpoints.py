"""Checkpoint files: finding the one that is meant, reading it safely, building its network."""

import logging
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssd import models
from ssd.models import SSD
from ssd.models.layers import Normalize
from ssd.weights.faults import fault

log = logging.getLogger(__name__)

FORMAT = 3  # of the "ssd" part of a checkpoint
PREFIX = "network."  # of the network's weights in a checkpoint
FOLDER = "checkpoints"
BEST, LAST = "best.ckpt", "last.ckpt"
LATEST = "latest"
NETWORKS = [name for name in models.__all__ if name != "SSD"]


def read_file(path: Path) -> Any:
    """What torch.save wrote. Nothing but tensors and plain data is ever unpickled."""
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint")
    try:
        with torch.serialization.safe_globals([Namespace]):  # in torchvision's training files
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a torn file can make the unpickler stumble over anything
        raise ValueError(fault(path, error)) from error


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


def find_resume(resume: str | None, run_dir: Path) -> Path | None:
    """The checkpoint that a run goes on from: a given file, or the newest valid one of its
    folder."""
    folder = run_dir / FOLDER
    existing = sorted(folder.glob("*.ckpt"))
    if resume is None:
        if existing:
            raise ValueError(
                f"{folder} holds checkpoints of an earlier run; go on from them with "
                "resume=latest, or give another hydra.run.dir"
            )
        return None
    if resume != LATEST:
        return Path(resume).expanduser()
    if not existing:
        log.warning("resume=latest: no checkpoint in %s, starting at step 0", folder)
        return None
    last = folder / LAST  # the newest by itself; of higher steps are those of a branch left behind
    if last in existing and step_of(last) is not None:
        return last
    steps = {
        path: step for path in existing if path != last and (step := step_of(path)) is not None
    }
    if not steps:
        raise ValueError(f"resume=latest: every checkpoint in {folder} is damaged; move them away")
    return max(steps, key=lambda path: steps[path])


def step_of(path: Path) -> int | None:
    """The optimizer step of a checkpoint; None, and a warning, where it is damaged."""
    try:
        return read_checkpoint(path)["global_step"]
    except ValueError as error:
        log.warning("passed over: %s", error)
        return None


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
    return network.eval()


def network_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The network's part of a checkpoint's weights, by the network's own names."""
    weights = checkpoint["state_dict"].items()
    return {k.removeprefix(PREFIX): v for k, v in weights if k.startswith(PREFIX)}
