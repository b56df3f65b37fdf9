"""What amdegroot/ssd.pytorch's published code defines: SSD300 on VGG-16, and its VGG16-reducedfc.

Sources, at its last revisions: ssd.py, layers/modules/l2norm.py, layers/functions/prior_box.py,
layers/functions/detection.py, layers/box_utils.py, data/{config,__init__,voc0712,coco}.py, and for
the order of the channels eval.py.

- Background is class 0; heads keep the channels of an anchor together, anchors before classes.
- cv2 reads BGR, the mean (104, 117, 123) is taken off, then the channels are turned: RGB goes in.
- All four numbers of an anchor are kept within 0 and 1, boxes are not.
- The sizes of the anchors are VOC's where there are 21 classes and COCO's for any other number. The
  COCO configuration has 201 classes, of which 1 to 80 are COCO's in order and the rest never occur.
- The line of `Detect` that would limit an image's detections fills a copy: there is no such limit.
- Files hold the bare state dict. The anchors are no part of it. vgg16_reducedfc.pth is that of
  `reduced_vgg16`.
"""

import math
from collections.abc import Sequence

import torch
from references.detecting import Found, class_by_class, decode
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import nms

IMAGE_SIZE = 300
CELLS = (38, 19, 10, 5, 3, 1)
STEPS = (8, 16, 32, 64, 100, 300)
RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
VOC_SIZES = (30, 60, 111, 162, 213, 264, 315)  # each level's, and the next one's after the last
COCO_SIZES = (21, 45, 99, 153, 207, 261, 315)


class SSD300(nn.Module):
    """Levels: the normed conv4_3, fc7, and every second of the extra layers."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.vgg = reduced_vgg16()
        self.L2Norm = L2Norm(512)
        rows = [(1024, 256, 1, 1, 0), (256, 512, 3, 2, 1), (512, 128, 1, 1, 0)]
        rows += [(128, 256, 3, 2, 1), *2 * [(256, 128, 1, 1, 0), (128, 256, 3, 1, 0)]]
        self.extras = nn.ModuleList(nn.Conv2d(*row) for row in rows)
        widths = (512, 1024, 512, 256, 256, 256)
        counts = [2 + 2 * len(ratios) for ratios in RATIOS]
        self.loc = heads(widths, [count * 4 for count in counts])
        self.conf = heads(widths, [count * num_classes for count in counts])

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 300, 300) to logits (B, A, C) and offsets (B, A, 4), anchors as in `anchors`."""
        return self.predict(self.maps(pixels))

    def maps(self, pixels: Tensor) -> list[Tensor]:
        return vgg_maps(pixels, self.vgg, self.L2Norm, self.extras)

    def predict(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return rows_of(self.conf, maps, self.num_classes), rows_of(self.loc, maps, 4)


def reduced_vgg16() -> nn.ModuleList:
    """VGG-16 to conv5_3 with pool3 rounding up, pool5 of stride 1, and fc6 and fc7 as convolutions.

    The numbers of the 15 convolutions: 0 2 5 7 10 12 14 17 19 21 24 26 28 31 33.
    """
    layers: list[nn.Module] = []
    width = 3
    for stage, (out, depth) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]):
        for _ in range(depth):
            layers += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU()]
            width = out
        layers.append(nn.MaxPool2d(2, ceil_mode=stage == 2))
    layers[-1] = nn.MaxPool2d(3, stride=1, padding=1)
    layers += [nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU()]
    return nn.ModuleList([*layers, nn.Conv2d(1024, 1024, 1), nn.ReLU()])


class L2Norm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 20.0))

    def forward(self, features: Tensor) -> Tensor:
        norm = features.square().sum(dim=1, keepdim=True).sqrt() + 1e-10
        return features / norm * self.weight.view(-1, 1, 1)


def heads(widths: Sequence[int], outputs: Sequence[int]) -> nn.ModuleList:
    rows = zip(widths, outputs, strict=True)
    return nn.ModuleList(nn.Conv2d(width, out, 3, padding=1) for width, out in rows)


def vgg_maps(
    pixels: Tensor, vgg: nn.ModuleList, norm: nn.Module, extras: nn.ModuleList
) -> list[Tensor]:
    features, maps = pixels, []
    for index, layer in enumerate(vgg):
        features = layer(features)
        if index == 22:  # the ReLU of conv4_3; what goes on is not normed
            maps.append(norm(features))
    maps.append(features)
    for index, layer in enumerate(extras):
        features = functional.relu(layer(features))
        if index % 2:
            maps.append(features)
    return maps


def rows_of(heads: nn.ModuleList, maps: Sequence[Tensor], columns: int) -> Tensor:
    outputs = [head(level) for head, level in zip(heads, maps, strict=True)]
    return torch.cat([out.permute(0, 2, 3, 1).reshape(len(out), -1, columns) for out in outputs], 1)


def normalise(images: Tensor) -> Tensor:
    """(B, 3, 300, 300) uint8 RGB, stretched to size before by cv2, to what the network takes."""
    return images.float() - torch.tensor([123.0, 117.0, 104.0]).view(3, 1, 1)


def anchors(sizes: Sequence[float]) -> Tensor:
    """(A, 4) cxcywh, level by level and row by row; a cell's: both squares, then r and 1/r.

    sizes: VOC_SIZES or COCO_SIZES
    """
    rows = []
    for level, (cells, step, ratios) in enumerate(zip(CELLS, STEPS, RATIOS, strict=True)):
        size, next_size = sizes[level] / IMAGE_SIZE, sizes[level + 1] / IMAGE_SIZE
        shapes = [(size, size), 2 * (math.sqrt(size * next_size),)]
        for root in map(math.sqrt, ratios):
            shapes += [(size * root, size / root), (size / root, size * root)]
        centers = [(i + 0.5) * step / IMAGE_SIZE for i in range(cells)]
        rows += [(x, y, *shape) for y in centers for x in centers for shape in shapes]
    return torch.tensor(rows).clamp(0, 1)


def detect(logits: Tensor, offsets: Tensor, anchors: Tensor) -> list[Found]:
    """What scores more than the threshold is a candidate, the best 200 of a class are looked at,
    and one goes that overlaps a better one by more than the threshold.
    """

    def keep(boxes: Tensor, scores: Tensor) -> Tensor:
        order = scores.sort(descending=True, stable=True).indices[:200]
        order = order[scores[order] > 0.01]
        return order[nms(boxes[order], scores[order], 0.45)]

    return class_by_class(decode(offsets, anchors), logits.softmax(2)[..., 1:], keep)
