"""A small SSD that trains from scratch on a CPU: plain 3x3 convolutions with batch norm."""

from collections.abc import Sequence
from typing import Unpack

from torch import nn
from torchvision.ops import Conv2dNormActivation

from ssd.models.extras import Features
from ssd.models.layers import Tapped
from ssd.models.levels import check_choice, make_levels, with_finer
from ssd.models.ssd import SSD, Common
from ssd.ops.anchors import Level

MEAN = (127.5, 127.5, 127.5)
STD = (64.0, 64.0, 64.0)

REFERENCE = 160
LEVELS = (
    Level(stride=8, size=14, next_size=28, ratios=(2.0,)),
    Level(stride=16, size=32, next_size=64, ratios=(2.0,)),
    Level(stride=32, size=64, next_size=104, ratios=(2.0,)),
    Level(stride=64, size=104, next_size=150, ratios=(2.0,)),
)

# A row a stride: (channels, convolutions). Strides 2 and 4 only lead up to the first level.
STAGES = ((16, 1), (32, 2), (96, 3), (160, 3), (192, 2), (192, 2))
FIRST = 2  # of the stages that are levels
FINER = (0, 1)


def stages(width: float) -> list[nn.Module]:
    """Six stages that each halve the picture."""
    result = []
    channels = 3
    for base, depth in STAGES:
        out = max(8, round(base * width / 8) * 8)  # whole vectors of the processor
        blocks = [Conv2dNormActivation(channels, out, 3, stride=2)]
        blocks += [Conv2dNormActivation(out, out, 3) for _ in range(depth - 1)]
        result.append(nn.Sequential(*blocks))
        channels = out
    return result


def ssd_small(
    width: float,
    anchor_sizes: Sequence[float] | None,
    finer_levels: int,
    **common: Unpack[Common],
) -> SSD:
    """Four levels from stride 8.

    width: factor on every layer's channels
    anchor_sizes: five, in pixels of an input of 160; None for those of LEVELS
    finer_levels: 1 adds stride 4
    """
    check_choice("finer_levels", finer_levels, FINER)
    taps = range(FIRST - finer_levels, len(STAGES))
    features = Features(Tapped(stages(width), taps), extras=[])
    levels = LEVELS if anchor_sizes is None else levels_of(anchor_sizes)
    levels = with_finer(levels, finer_levels)
    return SSD(features, levels, finer_levels, REFERENCE, MEAN, STD, start=None, **common)


def levels_of(sizes: Sequence[float]) -> list[Level]:
    return make_levels(
        [level.stride for level in LEVELS], sizes, [level.ratios for level in LEVELS]
    )
