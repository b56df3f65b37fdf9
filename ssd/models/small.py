"""A small SSD that trains from scratch on a CPU: plain 3x3 convolutions with batch norm."""

from collections.abc import Sequence

from torch import Tensor, nn

from ssd.models.ssd import SSD, side_pair, start_as_background
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


class ConvNorm(nn.Sequential):
    """A 3x3 convolution, batch norm and ReLU."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        )


class SmallFeatures(nn.Module):
    """Six stages that each halve the picture; the last four, from stride 8 on, are levels."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        channels = 3
        for base, depth in STAGES:
            out = max(8, round(base * width / 8) * 8)  # whole vectors of the processor
            blocks = [ConvNorm(channels, out, stride=2)]
            blocks += [ConvNorm(out, out, stride=1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
            channels = out

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [images]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[3:]


def ssd_small(
    num_classes: int,
    image_size: int | Sequence[int],
    width: float,
    clip_anchors: str,
    object_prior: float | None,
) -> SSD:
    """Four levels from stride 8. num_classes: with the background; width: factor on every layer's
    channels; object_prior: see `start_as_background`, None for torch's own start."""
    network = SSD(
        features=SmallFeatures(width),
        levels=LEVELS,
        reference=REFERENCE,
        num_classes=num_classes,
        image_size=side_pair(image_size),
        mean=MEAN,
        std=STD,
        clip_anchors=clip_anchors,
    )
    if object_prior is not None:
        start_as_background(network, object_prior)
    return network
