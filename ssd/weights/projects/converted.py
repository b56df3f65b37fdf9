"""What a file of another project becomes, and the steps that their conversions share."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor


class Converted(NamedTuple):
    """Another project's weights in the terms of this one.

    project: whose they are, as messages name it
    model: the network's name in `ssd.models` and its arguments; None where the file holds a
        backbone alone
    weights: by the network's own names, in its shapes and orders
    num_classes: with the background; 0 for a backbone
    classes: names, without the background; None where the file does not say them
    detecting: the project's own rules, arguments of `ops.detecting.detect`
    """

    project: str
    model: dict[str, Any] | None
    weights: dict[str, Tensor]
    num_classes: int
    classes: list[str] | None
    detecting: dict[str, Any]


def has(weights: Mapping[str, Tensor], *prefixes: str) -> bool:
    """Whether there are names below every one of the dotted prefixes."""
    return all(any(name.startswith(f"{prefix}.") for name in weights) for prefix in prefixes)


def renamed(weights: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights by the names that their prefixes become: of several that fit, the longest.

    A name that none fits is left as it is, and is an error where the network takes the weights.
    """
    result = {}
    for name, value in weights.items():
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            prefix = ".".join(parts[:length])
            if prefix in prefixes:
                name = ".".join([prefixes[prefix], *parts[length:]])
                break
        result[name] = value
    return result


def count_classes(weights: Mapping[str, Tensor], head: str, anchors: int) -> int:
    """Classes with the background, from the bias of a head that has so many anchors a cell."""
    if head not in weights:
        raise ValueError(f"{head} is missing")
    channels = weights[head].numel()
    if channels % anchors or channels // anchors < 2:
        raise ValueError(f"{head} has {channels} channels; {anchors} for each class were expected")
    return channels // anchors
