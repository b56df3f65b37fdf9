"""Starting a network from the weights of another run or of another training script."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ssd.errors import ConfigError
from ssd.models import SSD
from ssd.models.layers import Normalize
from ssd.optim.folding import folded, listed
from ssd.optim.parameters import selected
from ssd.weights.checkpoints import find_checkpoint
from ssd.weights.class_layers import (
    SharedClasses,
    class_layers,
    copy_classes,
    file_shape,
    shared_classes,
)
from ssd.weights.renaming import file_names
from ssd.weights.sources import Source, read_source

MISSING = ("error", "ignore")
TOLD = (
    "image_size",
    "anchor_sizes",
    "anchor_ratios",
    "clip_anchors",
    "mean",
)  # what weights have learned with


class Fates(NamedTuple):
    """What becomes of every tensor: the network's names, and in `left_over` the file's."""

    excluded: list[str]
    missing: list[str]
    misshapen: list[str]
    fitting: list[str]
    left_over: list[str]


@torch.no_grad()
def warm_start(
    network: SSD,
    classes: list[str],
    model: dict[str, Any],
    checkpoint: str | Path,
    exclude: Sequence[str],
    rename: Sequence[str],
    missing: str,
) -> list[str]:
    """Load weights into `network`, in place; where that is an error, nothing is loaded.

    A file of other classes than `classes`, or in another order, gives its class layers class by
    class, by name; without class names a class layer is copied where its shape is the same.

    classes: the network's, without the background
    model: its name in `ssd.models` and its arguments
    checkpoint: a run folder, a checkpoint of this project, or a file with a state dict
    exclude: prefixes or patterns of the network's names: weights that start new
    rename: "old:new" prefixes, from the file's names to the network's; see `renaming.file_names`
    missing: "error" or "ignore", for weights that the file lacks or has in another shape
    returns: the report, a line each
    """
    if missing not in MISSING:
        raise ConfigError(f"init.missing={missing}: give one of {', '.join(MISSING)}")
    try:
        source = read_source(find_checkpoint(Path(checkpoint).expanduser()))
    except ValueError as error:
        raise ConfigError(f"init.checkpoint: {error}") from error
    ours = network.state_dict()  # shares its memory with the network
    if source.converted and source.converted.model is None:
        missing = "ignore"  # a backbone has nothing else
    if missing == "error" and not exclude and source.model:
        check_model(source, model)
    names = file_names(source.weights, ours, rename)
    theirs = {new: source.weights[old] for new, old in names.items()}
    shared = shared_classes(classes, source.classes)
    by_class = class_layers(network) if shared else set()

    def fits(name: str) -> bool:
        shape = file_shape(ours[name], shared) if name in by_class else ours[name].shape
        return theirs[name].shape == shape

    found = sort_out(ours, names, selected(ours, exclude, "init.exclude"), fits)
    reasons = not_loaded(found, ours, theirs, source)
    if not_known(found, network, source):
        reasons.append("class names of the file are unknown: class layers count by shape alone")
    check(found, network, reasons, missing, source.path)
    copied = 0
    for name in found.fitting:
        if name in by_class:
            copied += copy_classes(ours[name], theirs[name], shared)
        else:
            copied += ours[name].copy_(theirs[name]).numel()
    report = [*recognised(source), loaded(found, copied, ours, source), *others(source, model)]
    if not by_class.isdisjoint(found.fitting):
        report.append(loaded_classes(classes, source.classes, shared))
    return report + reasons + normalisation(network, source)


def sort_out(
    ours: Collection[str],
    names: dict[str, str],
    excluded: set[str],
    fits: Callable[[str], bool],
) -> Fates:
    wanted = [name for name in ours if name not in excluded]
    present = [name for name in wanted if name in names]
    return Fates(
        excluded=[name for name in ours if name in excluded],
        missing=[name for name in wanted if name not in names],
        misshapen=[name for name in present if not fits(name)],
        fitting=[name for name in present if fits(name)],
        left_over=[old for new, old in names.items() if new not in ours],
    )


def not_known(found: Fates, network: SSD, source: Source) -> bool:
    """Whether class layers are to be loaded from a file that does not name its classes."""
    layers = class_layers(network)
    return source.classes is None and not layers.isdisjoint(found.fitting + found.misshapen)


def check(found: Fates, network: SSD, reasons: list[str], missing: str, path: Path) -> None:
    """Raise where the file does not give what it is asked for, or nothing at all."""
    start_new = [*found.missing, *found.misshapen]
    parameters = {name for name, _ in network.named_parameters()}
    if found.missing and found.left_over:
        cure = (
            "init.rename=[old:new] takes prefixes of the file to prefixes of the network, and "
            "init.rename=[module:] takes one off"
        )
        reasons = [*reasons, cure]
    if parameters.isdisjoint(found.fitting):
        raise ConfigError(f"init.checkpoint={path} gives nothing; {'; '.join(reasons)}")
    if start_new and missing == "error":
        left_out = folded([*found.excluded, *start_new], network.state_dict())
        raise ConfigError(
            f"init.checkpoint={path} does not fit; {'; '.join(reasons)}; "
            f"init.exclude=[{','.join(left_out)}] or init.missing=ignore starts the rest new"
        )


def check_model(source: Source, model: dict[str, Any]) -> None:
    """Raise where a file's weights are of another architecture, before their names are compared."""
    theirs, ours = (one.get("name") for one in (source.model, model))
    if theirs != ours:
        whose = f" of {source.converted.project}" if source.converted else ""
        raise ConfigError(
            f"init.checkpoint={source.path} holds weights{whose} for {theirs}, but this run's "
            f"model is {ours}; give the model= of that name, or init.missing=ignore takes what fits"
        )


def recognised(source: Source) -> list[str]:
    """Whose weights they are, where that is known."""
    if source.converted is None:
        return []
    lines = [f"recognised as {source.converted.project}"]
    if source.guessed and source.classes:
        lines.append(
            f"its {len(source.classes)} classes are taken for those of VOC or COCO, as the file "
            "names none; python -m ssd.weights --classes can"
        )
    return lines


def others(source: Source, model: dict[str, Any]) -> list[str]:
    """A line where the weights have learned with other anchors or pixels than this network has."""
    theirs = source.model or {}
    other = [
        f"model.{key}={theirs[key]}, here {model[key]}".replace("'", "")
        for key in TOLD
        if key in theirs and key in model and theirs[key] != model[key]
    ]
    return [f"these weights have learned with {'; '.join(other)}"] if other else []


def loaded(found: Fates, copied: int, ours: dict[str, Tensor], source: Source) -> str:
    total = sum(tensor.numel() for tensor in ours.values())
    step = "" if source.step is None else f" (step {source.step})"
    return (
        f"loaded {len(found.fitting)} of {len(ours)} tensors ({copied:,} of {total:,} weights) "
        f"from {source.path}{step}"
    )


def loaded_classes(ours: list[str], theirs: list[str], shared: SharedClasses) -> str:
    new = [name for name in ours if name not in shared.names]
    beyond = [name for name in theirs if name not in shared.names]
    line = (
        f"class layers copied by class name: {listed(['the background', *shared.names], most=21)}"
    )
    line += f"; starting new: {listed(new)}" if new else ""
    return line + (f"; only in the file: {listed(beyond)}" if beyond else "")


def not_loaded(
    found: Fates, ours: dict[str, Tensor], theirs: dict[str, Tensor], source: Source
) -> list[str]:
    """What starts new or stays in the file, a line a reason."""
    reasons = {
        "left out by init.exclude": listed(folded(found.excluded, ours)),
        "missing in the file": listed(folded(found.missing, ours)),
        "of another shape in the file": other_shapes(found.misshapen, ours, theirs),
        "left over in the file": listed(folded(found.left_over, source.weights)),
    }
    return [f"{reason}: {names}" for reason, names in reasons.items() if names]


def other_shapes(names: list[str], ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> str:
    """Prefixes of the names, then two of the names with the file's shape and the network's."""
    shapes = [f"{name} {tuple(theirs[name].shape)} for {tuple(ours[name].shape)}" for name in names]
    return f"{listed(folded(names, ours))} ({listed(shapes, most=2)})" if names else ""


def normalisation(network: SSD, source: Source) -> list[str]:
    """A line where the weights have learned from pixels in other units."""
    if source.normalisation is None:
        return []
    theirs, ours = constants(Normalize(**source.normalisation)), constants(network.normalize)
    if theirs == ours:
        return []
    return [f"normalisation stays {ours}; the file's weights have learned with {theirs}"]


def constants(normalize: Normalize) -> str:
    mean, std = (
        ", ".join(f"{value:g}" for value in part.flatten().tolist())
        for part in (normalize.mean, normalize.std)
    )
    return f"mean ({mean}) std ({std})"
