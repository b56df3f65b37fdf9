"""Copying the layers that predict classes between networks of different class lists."""

from typing import NamedTuple

from torch import Tensor

from ssd.models import SSD
from ssd.models.ssd import Head


class SharedClasses(NamedTuple):
    """Where the classes that two lists share have their logits; the background is one of them."""

    names: list[str]
    rows: list[int]  # of the network's `num_classes`
    file_rows: list[int]
    num_classes: int
    file_num_classes: int


def class_layers(network: SSD) -> set[str]:
    """The names of the weights that have a share for each class."""
    return {
        f"{name}.classify.{part}"
        for name, module in network.named_modules()
        if isinstance(module, Head)
        for part in module.classify.state_dict()
    }


def shared_classes(ours: list[str], theirs: list[str] | None) -> SharedClasses | None:
    """None where the lists are equal or one is unknown: class layers are copied as they are."""
    if theirs is None or theirs == ours:
        return None
    names = [name for name in ours if name in theirs]
    return SharedClasses(
        names=names,
        rows=[0, *(ours.index(name) + 1 for name in names)],
        file_rows=[0, *(theirs.index(name) + 1 for name in names)],
        num_classes=len(ours) + 1,
        file_num_classes=len(theirs) + 1,
    )


def file_shape(ours: Tensor, shared: SharedClasses) -> tuple[int, ...]:
    """The shape that a class layer (anchors * C, ...) has in a file of other classes."""
    return (len(ours) // shared.num_classes * shared.file_num_classes, *ours.shape[1:])


def copy_classes(ours: Tensor, theirs: Tensor, shared: SharedClasses) -> int:
    """Copy what a class layer has for the shared classes, of every anchor.

    ours, theirs: (anchors * C, ...) with each one's C, the classes of an anchor side by side, as
        `models.ssd.Head` reads them
    returns: how many weights
    """
    ours = ours.unflatten(0, (-1, shared.num_classes))
    theirs = theirs.unflatten(0, (-1, shared.file_num_classes))[:, shared.file_rows]
    ours[:, shared.rows] = theirs.to(ours)
    return theirs.numel()
