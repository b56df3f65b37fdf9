"""What qfgaohao/pytorch-ssd's published code defines for vgg16-ssd, mb1-ssd and mb2-ssd-lite.

Sources, at their last revisions: vision/ssd/{ssd,vgg_ssd,mobilenetv1_ssd,mobilenet_v2_ssd_lite,
predictor,data_preprocessing}.py, vision/ssd/config/{vgg,mobilenetv1}_ssd_config.py,
vision/nn/{vgg,mobilenet,mobilenet_v2}.py, vision/utils/box_utils.py.

- Background is class 0; heads keep the channels of an anchor together, anchors before classes.
- Pictures are RGB; all four numbers of an anchor are kept within 0 and 1, boxes are not.
- The VGG model normalises conv4_3 by a batch norm; early revisions did by an L2 norm.
- Batch norms are torch's defaults; old files, mb1-ssd's among them, lack `num_batches_tracked`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from references.detecting import Found, class_by_class, decode
from torch import Tensor, nn

IMAGE_SIZE = 300
EPSILON = 1e-5


class Level(NamedTuple):
    """cells: along a side; step: pixels between them; sizes: of the squares; ratios of the rest."""

    cells: int
    step: int
    sizes: tuple[int, int]
    ratios: tuple[int, ...]


VGG_LEVELS = (
    Level(38, 8, (30, 60), (2,)),
    Level(19, 16, (60, 111), (2, 3)),
    Level(10, 32, (111, 162), (2, 3)),
    Level(5, 64, (162, 213), (2, 3)),
    Level(3, 100, (213, 264), (2,)),
    Level(1, 300, (264, 315), (2,)),
)
MOBILENET_LEVELS = (
    Level(19, 16, (60, 105), (2, 3)),
    Level(10, 32, (105, 150), (2, 3)),
    Level(5, 64, (150, 195), (2, 3)),
    Level(3, 100, (195, 240), (2, 3)),
    Level(2, 150, (240, 285), (2, 3)),
    Level(1, 300, (285, 330), (2, 3)),
)


class SSD(nn.Module):
    """Levels in the trunk, then one after each extra block; `levels`, `mean`, `std` are a model's.

    trunk_levels: where each of the trunk's levels ends, (layers, of the next block's `conv`)
    heads: module lists by the sort of their output
    """

    levels: tuple[Level, ...]
    mean: tuple[float, float, float]
    std: float

    def __init__(
        self,
        num_classes: int,
        trunk: Sequence[nn.Module],
        trunk_levels: Sequence[tuple[int, int]],
        extras: Sequence[nn.Module],
        heads: dict[str, list[nn.Module]],
        first_norm: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.trunk_levels = trunk_levels
        self.base_net = nn.ModuleList(trunk)
        self.extras = nn.ModuleList(extras)
        self.classification_headers = nn.ModuleList(heads["classes"])
        self.regression_headers = nn.ModuleList(heads["boxes"])
        self.source_layer_add_ons = nn.ModuleList(first_norm)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 300, 300) to logits (B, A, C) and offsets (B, A, 4), anchors as in `anchors`."""
        features, maps, start = pixels, [], 0
        for end, inner in self.trunk_levels:
            for layer in self.base_net[start:end]:
                features = layer(features)
            if inner:  # the level lies within a block that has no shortcut
                features = self.base_net[end].conv[:inner](features)
                maps.append(features)
                features = self.base_net[end].conv[inner:](features)
                end += 1
            else:
                maps.append(features)
            start = end
        for block in self.extras:
            features = block(features)
            maps.append(features)
        for norm in self.source_layer_add_ons:
            maps[0] = norm(maps[0])
        return (
            self.rows(self.classification_headers, maps, self.num_classes),
            self.rows(self.regression_headers, maps, 4),
        )

    @staticmethod
    def rows(heads: nn.ModuleList, maps: list[Tensor], columns: int) -> Tensor:
        outputs = [head(level) for head, level in zip(heads, maps, strict=True)]
        return torch.cat(
            [out.permute(0, 2, 3, 1).reshape(len(out), -1, columns) for out in outputs], 1
        )


def plain_heads(num_classes: int, widths: Sequence[int], counts: Sequence[int]) -> dict:
    """One 3x3 convolution a level, the last level's too, whose map is a single cell."""
    return {
        sort: [nn.Conv2d(w, n * columns, 3, padding=1) for w, n in zip(widths, counts, strict=True)]
        for sort, columns in (("classes", num_classes), ("boxes", 4))
    }


def plain_extra(width: int, narrow: int, out: int, stride: int) -> nn.Sequential:
    """1x1 and 3x3 with biases and ReLU, no batch norm; stride 1 takes no padding."""
    last = nn.Conv2d(narrow, out, 3, stride, padding=stride - 1)
    return nn.Sequential(nn.Conv2d(width, narrow, 1), nn.ReLU(), last, nn.ReLU())


class VGG16SSD(SSD):
    """vgg16-ssd. Its 8732 anchors are those of the Caffe code."""

    levels, mean, std = VGG_LEVELS, (123, 117, 104), 1.0

    def __init__(self, num_classes: int, l2_norm: bool = False) -> None:
        """l2_norm: as in early revisions"""
        trunk: list[nn.Module] = []
        width = 3
        for stage, (out, depth) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]):
            for i in range(depth):
                trunk += [nn.Conv2d(out if i else width, out, 3, padding=1), nn.ReLU()]
            width = out
            trunk.append(nn.MaxPool2d(2, ceil_mode=stage == 2))
        trunk[-1] = nn.MaxPool2d(3, stride=1, padding=1)
        trunk += [nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU()]
        trunk += [nn.Conv2d(1024, 1024, 1), nn.ReLU()]
        extras = [(1024, 256, 512, 2), (512, 128, 256, 2), (256, 128, 256, 1), (256, 128, 256, 1)]
        super().__init__(
            num_classes,
            trunk,
            [(23, 0), (len(trunk), 0)],
            [plain_extra(*extra) for extra in extras],
            plain_heads(num_classes, (512, 1024, 512, 256, 256, 256), (4, 6, 6, 6, 4, 4)),
            [L2Norm(512) if l2_norm else nn.BatchNorm2d(512)],
        )


class L2Norm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), 20.0))

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.normalize(features, dim=1) * self.scale.view(-1, 1, 1)


class MobileNetV1SSD(SSD):
    """mb1-ssd. ReLU throughout, where others have ReLU6; six anchors a cell, 3000 in all."""

    levels, mean, std = MOBILENET_LEVELS, (127, 127, 127), 128.0

    def __init__(self, num_classes: int) -> None:
        widths = [32, 64, 128, 128, 256, 256, *6 * [512], 1024, 1024]
        strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
        trunk = [conv_norm(3, 32, 3, 2, activation=nn.ReLU)]
        for width, out, stride in zip(widths[:-1], widths[1:], strides, strict=True):
            depthwise = conv_norm(width, width, 3, stride, groups=width, activation=nn.ReLU)
            trunk.append(nn.Sequential(*depthwise, *conv_norm(width, out, 1, activation=nn.ReLU)))
        extras = [(1024, 256, 512, 2), (512, 128, 256, 2), (256, 128, 256, 2), (256, 128, 256, 2)]
        super().__init__(
            num_classes,
            trunk,
            [(12, 0), (14, 0)],
            [plain_extra(*extra) for extra in extras],
            plain_heads(num_classes, (512, 1024, 512, 256, 256, 256), 6 * (6,)),
        )


class MobileNetV2SSDLite(SSD):
    """mb2-ssd-lite. Levels: the widened map within block 14, the last 1x1, inverted residuals."""

    levels, mean, std = MOBILENET_LEVELS, (127, 127, 127), 128.0

    def __init__(self, num_classes: int) -> None:
        trunk: list[nn.Module] = [conv_norm(3, 32, 3, 2)]
        width = 32
        rows = [  # factor of the widening, channels, blocks, stride of the first
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ]
        for factor, out, depth, stride in rows:
            for i in range(depth):
                trunk.append(InvertedResidual(width, width * factor, out, 1 if i else stride))
                width = out
        trunk.append(conv_norm(320, 1280, 1))
        extras = [(1280, 256, 512, 2), (512, 128, 256, 2), (256, 128, 256, 2), (256, 64, 64, 2)]
        super().__init__(
            num_classes,
            trunk,
            [(14, 3), (19, 0)],
            [InvertedResidual(*extra) for extra in extras],
            {"classes": self.heads(num_classes), "boxes": self.heads(4)},
        )

    @staticmethod
    def heads(columns: int) -> list[nn.Module]:
        """Separable, the depthwise convolution with bias, norm and ReLU6; the last a plain 1x1."""
        separable = [
            nn.Sequential(
                *conv_norm(width, width, 3, groups=width, bias=True),
                nn.Conv2d(width, 6 * columns, 1),
            )
            for width in (576, 1280, 512, 256, 256)
        ]
        return [*separable, nn.Conv2d(64, 6 * columns, 1)]


class InvertedResidual(nn.Module):
    """Widening (left out where it would not widen), depthwise, and a linear 1x1; no biases."""

    def __init__(self, width: int, hidden: int, out: int, stride: int) -> None:
        super().__init__()
        self.shortcut = stride == 1 and width == out
        widen = () if hidden == width else conv_norm(width, hidden, 1)
        depthwise = conv_norm(hidden, hidden, 3, stride, groups=hidden)
        narrow = conv_norm(hidden, out, 1)[:2]
        self.conv = nn.Sequential(*widen, *depthwise, *narrow)

    def forward(self, features: Tensor) -> Tensor:
        out = self.conv(features)
        return features + out if self.shortcut else out


def conv_norm(
    width: int,
    out: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
    activation: type[nn.Module] = nn.ReLU6,
) -> nn.Sequential:
    conv = nn.Conv2d(width, out, kernel, stride, kernel // 2, groups=groups, bias=bias)
    return nn.Sequential(conv, nn.BatchNorm2d(out), activation())


def normalise(images: Tensor, model: type[SSD] | SSD) -> Tensor:
    """(B, 3, 300, 300) uint8 RGB, stretched to size before, to what the model takes."""
    return (images.float() - torch.tensor(model.mean).view(3, 1, 1)) / model.std


def anchors(levels: Sequence[Level]) -> Tensor:
    """(A, 4) cxcywh, level by level and row by row; a cell's: both squares, then r and 1/r."""
    rows = []
    for cells, step, (small, next_size), ratios in levels:
        shapes = [(small, small), 2 * (math.sqrt(small * next_size),)]
        for root in map(math.sqrt, ratios):
            shapes += [(small * root, small / root), (small / root, small * root)]
        centers = [(i + 0.5) * step for i in range(cells)]
        rows += [(x, y, *shape) for y in centers for x in centers for shape in shapes]
    return (torch.tensor(rows, dtype=torch.float64) / IMAGE_SIZE).float().clamp(0, 1)


def detect(logits: Tensor, offsets: Tensor, anchors: Tensor) -> list[Found]:
    """The best 200 of a class that score more than the threshold are looked at. Boxes may reach
    beyond the image; neither a class nor an image has a limit of its own."""

    def keep(boxes: Tensor, scores: Tensor) -> Tensor:
        order = scores.sort(descending=True, stable=True).indices[:200]
        order = order[scores[order] > 0.01]
        return order[suppress(boxes[order], 0.45)]

    return class_by_class(decode(offsets, anchors), logits.softmax(2)[..., 1:], keep)


def suppress(boxes: Tensor, iou_threshold: float) -> list[int]:
    """Indices of what stays of boxes (N, 4), best first: what overlaps by more goes. EPSILON, a
    share of the image, is added to every union, so that small boxes overlap by less."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    kept: list[int] = []
    for i, box in enumerate(boxes):
        others = boxes[kept]
        low, high = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        if not (shared / (area[i] + area[kept] - shared + EPSILON) > iou_threshold).any():
            kept.append(i)
    return kept
