"""What lufficc/SSD's published code defines for SSD300 and SSD512 on VGG-16, for VOC and COCO.

Sources, at its last revisions: configs/vgg_ssd{300,512}_{voc0712,coco_trainval35k}.yaml,
ssd/config/defaults.py, ssd/modeling/backbone/vgg.py, ssd/modeling/anchors/prior_box.py,
ssd/modeling/box_head/{box_head,box_predictor,inference}.py, ssd/layers/__init__.py,
ssd/utils/{box_utils,nms,checkpoint}.py, ssd/data/transforms/__init__.py, ssd/data/datasets.

- Background is class 0; heads keep the channels of an anchor together, anchors before classes. The
  80 classes of COCO are numbered on by the order of their ids.
- Images are PIL's, so RGB goes in, less (123, 117, 104).
- All four numbers of an anchor are kept within 0 and 1, boxes are not.
- Every box above the threshold is a candidate; the 100 best of an image stay.
- The largest size of VOC's SSD512 is 537.65, where the rule of the paper's code would give 537.6.
- Files hold the state dict under "model", beside optimizer, scheduler and iteration. The anchors
  are no part of it. Files of release 1.0 hold it bare, by other names: `OLD_NAMES`.

Suppression is in one call for all classes, whose boxes are moved apart by their class; here it is
class by class. The two differ where a box lies mostly beyond the upper left corner, or by rounding.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from references.detecting import Found, best, class_by_class, decode
from references.ssd_pytorch import L2Norm, heads, reduced_vgg16, rows_of, vgg_maps
from torch import Tensor, nn
from torchvision.ops import nms

OLD_NAMES = {  # beginning of a name: that of release 1.0
    "backbone.vgg.": "vgg.",
    "backbone.extras.": "extras.",
    "backbone.l2_norm.": "l2_norm.",
    "box_head.predictor.cls_headers.": "classification_headers.",
    "box_head.predictor.reg_headers.": "regression_headers.",
}


class Pyramid(NamedTuple):
    """One configuration. sizes: each level's, in pixels, and the next one's after the last"""

    image_size: int
    cells: tuple[int, ...]
    steps: tuple[int, ...]
    ratios: tuple[tuple[int, ...], ...]
    sizes: tuple[float, ...]


CELLS_300, STEPS_300 = (38, 19, 10, 5, 3, 1), (8, 16, 32, 64, 100, 300)
CELLS_512, STEPS_512 = (64, 32, 16, 8, 4, 2, 1), (8, 16, 32, 64, 128, 256, 512)
RATIOS_300 = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
RATIOS_512 = ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,))
VOC_300 = Pyramid(300, CELLS_300, STEPS_300, RATIOS_300, (30, 60, 111, 162, 213, 264, 315))
COCO_300 = Pyramid(300, CELLS_300, STEPS_300, RATIOS_300, (21, 45, 99, 153, 207, 261, 315))
VOC_512 = Pyramid(
    512, CELLS_512, STEPS_512, RATIOS_512, (35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.65)
)
COCO_512 = Pyramid(
    512,
    CELLS_512,
    STEPS_512,
    RATIOS_512,
    (20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72),
)
EXTRAS = {  # channels in and out, kernel, stride, padding
    300: [
        *[(1024, 256, 1, 1, 0), (256, 512, 3, 2, 1)],
        *[(512, 128, 1, 1, 0), (128, 256, 3, 2, 1)],
        *2 * [(256, 128, 1, 1, 0), (128, 256, 3, 1, 0)],
    ],
    512: [
        *[(1024, 256, 1, 1, 0), (256, 512, 3, 2, 1)],
        *[(512, 128, 1, 1, 0), (128, 256, 3, 2, 1)],
        *2 * [(256, 128, 1, 1, 0), (128, 256, 3, 2, 1)],
        *[(256, 128, 1, 1, 0), (128, 256, 4, 1, 1)],
    ],
}


class SSD(nn.Module):
    """Levels: the normed conv4_3, fc7, and every second of the extra layers."""

    def __init__(self, num_classes: int, pyramid: Pyramid) -> None:
        super().__init__()
        self.num_classes = num_classes
        extras = EXTRAS[pyramid.image_size]
        widths = [512, 1024, *(out for _, out, *_ in extras[1::2])]
        counts = [2 + 2 * len(ratios) for ratios in pyramid.ratios]
        self.backbone = nn.ModuleDict(
            {
                "vgg": reduced_vgg16(),
                "extras": nn.ModuleList(nn.Conv2d(*row) for row in extras),
                "l2_norm": L2Norm(512),
            }
        )
        predictor = {
            "cls_headers": heads(widths, [count * num_classes for count in counts]),
            "reg_headers": heads(widths, [count * 4 for count in counts]),
        }
        self.box_head = nn.ModuleDict({"predictor": nn.ModuleDict(predictor)})

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) to logits (B, A, C) and offsets (B, A, 4), anchors as in `anchors`."""
        return self.predict(self.maps(pixels))

    def maps(self, pixels: Tensor) -> list[Tensor]:
        backbone = self.backbone
        return vgg_maps(pixels, backbone["vgg"], backbone["l2_norm"], backbone["extras"])

    def predict(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        classify, locate = self.box_head["predictor"].values()
        return rows_of(classify, maps, self.num_classes), rows_of(locate, maps, 4)


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 RGB, stretched to size before by cv2, to what the network takes."""
    return images.float() - torch.tensor([123.0, 117.0, 104.0]).view(3, 1, 1)


def anchors(pyramid: Pyramid) -> Tensor:
    """(A, 4) cxcywh, level by level and row by row; a cell's: both squares, then r and 1/r."""
    rows = []
    side, levels = pyramid.image_size, zip(*pyramid[1:4], strict=True)
    for level, (cells, step, ratios) in enumerate(levels):
        size, next_size = pyramid.sizes[level : level + 2]
        shapes = [(size, size), 2 * (math.sqrt(size * next_size),)]
        for root in map(math.sqrt, ratios):
            shapes += [(size * root, size / root), (size / root, size * root)]
        centers = [(i + 0.5) * step for i in range(cells)]
        rows += [(x, y, *shape) for y in centers for x in centers for shape in shapes]
    return (torch.tensor(rows, dtype=torch.float64) / side).float().clamp(0, 1)


def detect(logits: Tensor, offsets: Tensor, anchors: Tensor, image_size: int) -> list[Found]:
    """A box goes that overlaps a better one of its class by more than the threshold. The boxes are
    in pixels of the input there, in fractions here.
    """

    def keep(boxes: Tensor, scores: Tensor) -> Tensor:
        above = (scores > 0.01).nonzero().flatten()
        return above[nms(boxes[above] * image_size, scores[above], 0.45)]

    found = class_by_class(decode(offsets, anchors), logits.softmax(2)[..., 1:], keep)
    return best(found, 100)
