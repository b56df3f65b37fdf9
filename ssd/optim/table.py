"""A table of what trains, at which rate, with which decay."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from ssd.optim.folding import folded

SHOWN = 4  # names in a row


def training_table(network: nn.Module, optimizer: Optimizer) -> str:
    """What trains, as aligned plain text: a line for each group, then one for what is frozen.

    The rate is the group's own, before any schedule.
    """
    names = {weight: name for name, weight in network.named_parameters()}
    lines = [["trains", "weights", "rate", "weight decay"]]
    frozen = dict(names)
    for group in optimizer.param_groups:
        for weight in group["params"]:
            del frozen[weight]
        rate = f"{group.get('initial_lr', group['lr']):g}"
        lines.append([*part(group["params"], names), rate, decay_of(group)])
    if frozen:
        lines.append([*part(frozen, names), "frozen", "none"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(aligned(line, widths) for line in lines)


def part(weights: Iterable[nn.Parameter], names: Mapping[nn.Parameter, str]) -> list[str]:
    """The cells that say which and how many weights they are."""
    weights = list(weights)
    folds = folded({names[weight] for weight in weights}, names.values())
    more = f", {len(folds) - SHOWN} more" if len(folds) > SHOWN else ""
    count = sum(math.prod(weight.shape) for weight in weights)
    return [", ".join(folds[:SHOWN]) + more, f"{count:,}"]


def decay_of(group: Mapping[str, Any]) -> str:
    if not group["weight_decay"]:
        return "none"
    # torch's key and timm's
    decoupled = group.get("decoupled_weight_decay") or group.get("decoupled_decay")
    return f"{group['weight_decay']:g} " + ("decoupled" if decoupled else "L2 in the loss")


def aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    """Numbers to the right, words to the left."""
    which, count, rate, decay = line
    return f"{which:{widths[0]}}  {count:>{widths[1]}}  {rate:>{widths[2]}}  {decay}"
