"""A checkpoint to use, whoever wrote it: this project's, or another's converted to it."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ssd import models
from ssd.optim.folding import folded, listed
from ssd.weights.checkpoints import PREFIX, check_description, checked, describe, is_checkpoint
from ssd.weights.projects.converted import Converted
from ssd.weights.sources import Source, make_source, read_content

log = logging.getLogger(__name__)


def load_checkpoint(
    path: Path,
    classes: Sequence[str] | None = None,
    anchor_sizes: str | Sequence[float] | None = None,
) -> dict[str, Any]:
    """A checkpoint of this project as it is, or one made of another project's weights.

    classes: names for the weights of another project, without the background; None for what the
    file says, or what their number tells
    anchor_sizes: the `ssd.models` argument for them; None for their project's own
    """
    content = read_content(path)
    if is_checkpoint(content):
        if classes or anchor_sizes:
            raise ValueError(f"{path}: a checkpoint of this project says its classes and anchors")
        check_description(path, checked(path, content)["ssd"])
        return content
    source = make_source(path, content)
    if source.converted is None:
        raise ValueError(
            f"{path}: a state dict of {len(source.weights)} tensors, but neither a checkpoint of "
            "this project nor of one that it knows; python -m ssd.weights --help lists them"
        )
    converted = source.converted
    if anchor_sizes and converted.model:
        converted = converted._replace(model={**converted.model, "anchor_sizes": anchor_sizes})
    return make_checkpoint(source, converted, classes)


def make_checkpoint(
    source: Source, converted: Converted, classes: Sequence[str] | None
) -> dict[str, Any]:
    """A checkpoint of ours that predicts and detects what the other project's network does."""
    path, project = source.path, converted.project
    if converted.model is None:
        raise ValueError(f"{path}: {project} is a backbone and no detector; init.checkpoint= it")
    names = list(classes or source.classes or [])
    if not names or len(names) != converted.num_classes - 1:
        raise ValueError(
            f"{path}: {project} with {converted.num_classes - 1} classes, but "
            f"{len(names) or 'no'} names; python -m ssd.weights IN OUT --classes a,b,… gives them"
        )
    arguments = dict(converted.model)
    network = getattr(models, arguments.pop("name"))(num_classes=converted.num_classes, **arguments)
    check_fit(network.state_dict(), converted, path)
    network.load_state_dict(converted.weights)
    log.info("%s: recognised as %s; its classes: %s", path, project, listed(names, most=20))
    if source.guessed and not classes:
        log.info("the file does not name them; python -m ssd.weights --classes a,b,… can")
    return {
        "ssd": describe(network, names, converted.model, converted.detecting),
        "state_dict": {f"{PREFIX}{name}": value for name, value in network.state_dict().items()},
        "global_step": None,
    }


def check_fit(ours: dict[str, Tensor], converted: Converted, path: Path) -> None:
    """Raise, in one line, where the weights are not those of the network that they look like."""
    theirs = converted.weights
    faults = {
        "missing": folded([name for name in ours if name not in theirs], ours),
        "not known": folded([name for name in theirs if name not in ours], theirs),
        "of another shape": [
            f"{name} {tuple(theirs[name].shape)} for {tuple(ours[name].shape)}"
            for name in ours
            if name in theirs and theirs[name].shape != ours[name].shape
        ],
    }
    lines = [f"{fault}: {listed(names)}" for fault, names in faults.items() if names]
    if lines:
        raise ValueError(f"{path}: looks like {converted.project}; {'; '.join(lines)}")
