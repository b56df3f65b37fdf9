"""mmdetection's SSD300 and SSD512 on VGG-16, written anew from its published code.

Files: configs/ssd, configs/pascal_voc; in mmdet/models backbones/ssd_vgg.py, necks/ssd_neck.py,
dense_heads/ssd_head.py and base_dense_head.py; SSDAnchorGenerator, DeltaXYWHBBoxCoder; mmcv's VGG
and nms. Background is the last class (since 2.0; 1.x had it first, and other anchors, and is not
described here). Anchor sizes are whole pixels, rounded down; anchors are not clipped, decoded boxes
are. Pixels are RGB, less the ImageNet means. Before 2.14 the same layers had other names:
`old_names`.
"""

import math

import torch
from references.detecting import Found, best, class_by_class
from torch import Tensor, nn
from torchvision.ops import nms

MEAN = (123.675, 116.28, 103.53)
MOST_CHANGE = -math.log(16 / 1000)  # of the log of a side, in decoding

# The pairs of convolutions after fc7: channels, stride and padding of the second
NECKS = {
    300: ((512, 2, 1), (256, 2, 1), (256, 1, 0), (256, 1, 0)),
    512: ((512, 2, 1), (256, 2, 1), (256, 2, 1), (256, 2, 1), (256, 1, 1)),
}
LAST_KERNEL = {300: 3, 512: 4}
ANCHORS_PER_CELL = {300: (4, 6, 6, 6, 4, 4), 512: (4, 6, 6, 6, 6, 4, 4)}
CELLS = {300: (38, 19, 10, 5, 3, 1), 512: (64, 32, 16, 8, 4, 2, 1)}
STRIDES = {300: (8, 16, 32, 64, 100, 300), 512: (8, 16, 32, 64, 128, 256, 512)}
PERCENT = {  # of the input's side: the first level's size, then the range of the others
    (300, "voc"): (10, 20, 90),
    (300, "coco"): (7, 15, 90),
    (512, "voc"): (7, 15, 90),
    (512, "coco"): (4, 10, 90),
}


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 RGB to float RGB. The project reads BGR and turns it round first."""
    return images - torch.tensor(MEAN).view(3, 1, 1)


class Convolution(nn.Module):
    """What mmcv's ConvModule is without a norm."""

    def __init__(self, *arguments: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(*arguments)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


class L2Norm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 20.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight.view(-1, 1, 1) * x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10)


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for count, width in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
        layers[-1] = nn.MaxPool2d(3, 1, 1)
        layers += [nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU()]
        layers += [nn.Conv2d(1024, 1024, 1), nn.ReLU()]
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        conv4_3 = self.features[:23](x)
        return [conv4_3, self.features[23:](conv4_3)]


class Neck(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.l2_norm = L2Norm(512)
        self.extra_layers = nn.ModuleList()
        channels = 1024
        for i, (out, stride, padding) in enumerate(NECKS[size], start=1):
            kernel = LAST_KERNEL[size] if i == len(NECKS[size]) else 3
            first = Convolution(channels, out // 2, 1)
            second = Convolution(out // 2, out, kernel, stride, padding)
            self.extra_layers.append(nn.Sequential(first, second))
            channels = out

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [self.l2_norm(maps[0]), maps[1]]
        for layer in self.extra_layers:
            maps.append(layer(maps[-1]))
        return maps


class Heads(nn.Module):
    def __init__(self, size: int, num_classes: int) -> None:
        super().__init__()
        widths = (512, 1024, *(out for out, _, _ in NECKS[size]))
        pairs = list(zip(widths, ANCHORS_PER_CELL[size], strict=True))
        self.cls_convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, count * num_classes, 3, padding=1))
            for width, count in pairs
        )
        self.reg_convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, count * 4, 3, padding=1)) for width, count in pairs
        )
        self.num_classes = num_classes

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits and offsets, a channel for each class (coordinate) of each anchor in turn."""
        logits, offsets = [], []
        for features, classify, locate in zip(maps, self.cls_convs, self.reg_convs, strict=True):
            scores = classify(features).permute(0, 2, 3, 1)
            logits.append(scores.reshape(len(features), -1, self.num_classes))
            offsets.append(locate(features).permute(0, 2, 3, 1).reshape(len(features), -1, 4))
        return torch.cat(logits, dim=1), torch.cat(offsets, dim=1)


class SSD(nn.Module):
    """size: 300 or 512; num_classes: with the background, which is the last."""

    def __init__(self, size: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.neck = Neck(size)
        self.bbox_head = Heads(size, num_classes)

    def maps(self, pixels: Tensor) -> list[Tensor]:
        return self.neck(self.backbone(pixels))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return self.predict(self.maps(pixels))

    def predict(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.bbox_head(maps)


def old_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as 2.0 to 2.13 named them."""
    result = {}
    for name, weight in weights.items():
        parts = name.split(".")
        if parts[:2] == ["neck", "l2_norm"]:
            parts = ["backbone", *parts[1:]]
        elif parts[0] == "neck":  # neck.extra_layers.LEVEL.0|1.conv.weight
            parts = ["backbone", "extra", str(2 * int(parts[2]) + int(parts[3])), parts[-1]]
        elif parts[0] == "bbox_head":  # bbox_head.cls_convs.LEVEL.0.weight
            del parts[3]
        result[".".join(parts)] = weight
    return result


def sizes(size: int, data: str) -> list[tuple[int, int]]:
    """(smaller, larger) side of each level's squares, in pixels, before the root of their product.

    The generator takes whole percents in a step rounded down, and rounds each side down.
    """
    first, low, high = PERCENT[size, data]
    step = (high - low) // (len(STRIDES[size]) - 2)
    percents = [(first, low)] + [(p, p + step) for p in range(low, high + 1, step)]
    return [(size * small // 100, size * large // 100) for small, large in percents]


def anchors(size: int, data: str) -> Tensor:
    """(A, 4) cxcywh, level by level, cells row by row, all of a cell together; not clipped.

    Per cell: the small square, the larger one, then each ratio wide and tall.
    size: 300 or 512; data: "voc" or "coco"
    """
    rows = []
    for level, (small, large) in enumerate(sizes(size, data)):
        middle = small * math.sqrt(large / small)
        shapes = [(small, small), (middle, middle)]
        for ratio in (2, 3)[: ANCHORS_PER_CELL[size][level] // 2 - 1]:
            root = math.sqrt(ratio)
            shapes += [(small * root, small / root), (small / root, small * root)]
        stride, cells = STRIDES[size][level], range(CELLS[size][level])
        centers = [((x + 0.5) * stride, (y + 0.5) * stride) for y in cells for x in cells]
        rows += [(*center, *shape) for center in centers for shape in shapes]
    return torch.tensor(rows) / size


def detect(logits: Tensor, offsets: Tensor, anchors: Tensor) -> list[Found]:
    """test_cfg of the configs, by the rules since pull request 6268: of each level stay the
    1000 best pairs of anchor and class, all classes together. (Before it: the anchors whose
    best class is best, with all their classes.)
    """
    size, cells = (300, CELLS[300]) if len(anchors) == 8732 else (512, CELLS[512])
    per_level = [c * c * n for c, n in zip(cells, ANCHORS_PER_CELL[size], strict=True)]
    change = (offsets[..., 2:] * 0.2).clamp(-MOST_CHANGE, MOST_CHANGE)
    centers = offsets[..., :2] * 0.1 * anchors[:, 2:] + anchors[:, :2]
    sides = anchors[:, 2:] * change.exp()
    boxes = torch.cat([centers - sides / 2, centers + sides / 2], dim=-1).clamp(0, 1)
    # what is no candidate scores nothing
    levels = []
    for part in logits.softmax(dim=-1)[..., :-1].split(per_level, dim=1):
        pairs = part.flatten(1)
        order = pairs.argsort(dim=1, descending=True, stable=True)[:, :1000]
        chosen = torch.zeros_like(pairs).scatter(1, order, pairs.gather(1, order))
        levels.append(chosen.view_as(part))

    def keep(boxes: Tensor, scores: Tensor) -> Tensor:
        real = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)  # min_bbox_size=0
        own = (real & (scores > 0.02)).nonzero().flatten()
        # an IoU of just the threshold stays
        return own[nms(boxes[own] * size, scores[own], 0.45)]

    return best(class_by_class(boxes, torch.cat(levels, dim=1), keep), 200)
