"""NVIDIA DeepLearningExamples, PyTorch/Detection/SSD, written anew from its published code.

Files: ssd/model.py (src/model.py before 2023: the same names and shapes), ssd/utils.py
(dboxes300_coco, Encoder), ssd/evaluate.py. Background is class 0, then COCO's 80 in the order of
its annotation file. A head's channels are viewed as (4 or classes, anchors of a cell), and the
anchors of a level lie shape by shape, each over all cells. Anchors: all four of cxcywh clamped to
[0, 1]; decoded boxes are not clipped. Pixels are RGB, scaled as torchvision's ImageNet models want.
"""

import itertools
import math

import torch
from references.detecting import Found, best, class_by_class, decode
from torch import Tensor, nn
from torchvision.ops import box_iou

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

BLOCKS = {"resnet18": (2, 2, 2), "resnet34": (3, 4, 6), "resnet50": (3, 4, 6)}
WIDTHS = {  # channels of the six maps
    "resnet18": (256, 512, 512, 256, 256, 128),
    "resnet34": (256, 512, 512, 256, 256, 256),
    "resnet50": (1024, 512, 512, 256, 256, 256),
}
SQUEEZED = (256, 256, 128, 128, 128)  # channels between the two convolutions of an added block
ANCHORS_PER_CELL = (4, 6, 6, 6, 4, 4)

CELLS = (38, 19, 10, 5, 3, 1)
STRIDES = (8, 16, 32, 64, 100, 300)
SIZES = (21, 45, 99, 153, 207, 261, 315)
RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 RGB to float RGB."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (images / 255 - mean) / std


class Block(nn.Module):
    """torchvision's BasicBlock, or its Bottleneck with the stride in the 3x3."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = width * 4 if bottleneck else width
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        widths = (channels, width, width, out) if bottleneck else (channels, width, out)
        strides = (1, stride, 1) if bottleneck else (stride, 1)
        self.depth = len(kernels)
        for i, kernel in enumerate(kernels):
            convolution = nn.Conv2d(
                widths[i], widths[i + 1], kernel, strides[i], kernel // 2, bias=False
            )
            self.add_module(f"conv{i + 1}", convolution)
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.depth + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            x = x + shortcut if i == self.depth else x
            x = x.relu()
        return x


class Backbone(nn.Module):
    """A ResNet to its fourth stage, whose first block here has stride 1: 300 pixels to 38."""

    def __init__(self, name: str) -> None:
        super().__init__()
        bottleneck = name == "resnet50"
        layers = [
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        ]
        channels = 64
        for count, width, stride in zip(BLOCKS[name], (64, 128, 256), (1, 2, 1), strict=True):
            blocks = []
            for i in range(count):
                blocks.append(Block(channels, width, stride if i == 0 else 1, bottleneck))
                channels = width * 4 if bottleneck else width
            layers.append(nn.Sequential(*blocks))
        self.feature_extractor = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.feature_extractor(x)


class SSD300(nn.Module):
    """backbone: a key of BLOCKS; num_classes: with the background; the project has 81."""

    def __init__(self, backbone: str, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.feature_extractor = Backbone(backbone)
        widths = WIDTHS[backbone]
        self.additional_blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[i], SQUEEZED[i], 1, bias=False),
                nn.BatchNorm2d(SQUEEZED[i]),
                nn.ReLU(),
                # the last two have neither stride nor padding: 5 cells to 3, 3 to 1
                nn.Conv2d(SQUEEZED[i], widths[i + 1], 3, 2 if i < 3 else 1, int(i < 3), bias=False),
                nn.BatchNorm2d(widths[i + 1]),
                nn.ReLU(),
            )
            for i in range(5)
        )
        pairs = list(zip(widths, ANCHORS_PER_CELL, strict=True))
        self.loc = nn.ModuleList(nn.Conv2d(w, n * 4, 3, padding=1) for w, n in pairs)
        self.conf = nn.ModuleList(nn.Conv2d(w, n * num_classes, 3, padding=1) for w, n in pairs)

    def maps(self, pixels: Tensor) -> list[Tensor]:
        maps = [self.feature_extractor(pixels)]
        for block in self.additional_blocks:
            maps.append(block(maps[-1]))
        return maps

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return self.predict(self.maps(pixels))

    def predict(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        offsets = [head(m).reshape(len(m), 4, -1) for head, m in zip(self.loc, maps, strict=True)]
        logits = [
            head(m).reshape(len(m), self.num_classes, -1)
            for head, m in zip(self.conf, maps, strict=True)
        ]
        # the project leaves the anchors last
        return torch.cat(logits, dim=2).mT, torch.cat(offsets, dim=2).mT


def anchors() -> Tensor:
    """(8732, 4) cxcywh, level by level, shape by shape, cells row by row."""
    rows = []
    for level, cells in enumerate(CELLS):
        size, middle = SIZES[level], math.sqrt(SIZES[level] * SIZES[level + 1])
        shapes = [(size, size), (middle, middle)]
        for ratio in RATIOS[level]:
            shapes.append((size * math.sqrt(ratio), size / math.sqrt(ratio)))
            shapes.append((size / math.sqrt(ratio), size * math.sqrt(ratio)))
        for (width, height), i, j in itertools.product(shapes, range(cells), range(cells)):
            center = (j + 0.5) * STRIDES[level], (i + 0.5) * STRIDES[level]
            rows.append([side / 300 for side in (*center, width, height)])
    return torch.tensor(rows).clamp(0, 1)


def detect(logits: Tensor, offsets: Tensor, anchors: Tensor) -> list[Found]:
    """Encoder.decode_batch. A box stays while its IoU with every better one is below the
    threshold; equal goes. The threshold is that of evaluate.py and the hub; the method's own
    default is 0.45. Best first, which the project has last.
    """

    def keep(boxes: Tensor, scores: Tensor) -> Tensor:
        order = scores.argsort(descending=True, stable=True)
        order = order[scores[order] > 0.05][:200]
        kept = order[:0]
        while len(order):
            kept = torch.cat([kept, order[:1]])
            order = order[box_iou(boxes[order[:1]], boxes[order])[0] < 0.5]
        return kept

    found = class_by_class(decode(offsets, anchors), logits.softmax(2)[..., 1:], keep)
    return best(found, 200)
