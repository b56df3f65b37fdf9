"""What balancap/SSD-Tensorflow's published code defines: ssd_300_vgg and ssd_512_vgg.

Sources, at its last revisions: nets/{ssd_vgg_300,ssd_vgg_512,ssd_common,custom_layers}.py,
nets/np_methods.py, preprocessing/ssd_vgg_preprocessing.py, tf_extended/bboxes.py and
eval_ssd_network.py; of TensorFlow core/kernels/non_max_suppression_op.cc.

- A network is its variables, here a dict of tensors by TensorFlow's names. Kernels are (height,
  width, in, out), where torch has (out, in, height, width); vectors are as in torch.
- Background is class 0, then VOC's 20; heads keep the channels of an anchor together, anchors
  before classes. Offsets are x, y, width, height, over variances of 0.1 and 0.2.
- RGB goes in, less (123, 117, 104), also where the weights came from Caffe: conv1_1 was turned.
- "SAME" pads the end where it cannot pad both sides alike, so pooling rounds up: 75 cells to 38.
- Anchors are not clipped. Both networks have the sizes that Caffe's code has for COCO, and a file
  does not say its own: those of Caffe's VOC models stand beside them, commented out.
- `detect` is the rule of eval_ssd_network.py, which gives the published scores and clips no box.
  The notebook's is another (np_methods): above 0.5, clipped, the best 400 of all classes, and what
  overlaps by 0.45 or more goes.
- An image is stretched by TensorFlow 1's bilinear resize, whose pixels have their centers at whole
  numbers.
- The scalars and slots of an optimizer stand beside the variables, as NAME/Adam or NAME/RMSProp.
"""

import math
from collections.abc import Mapping

import torch
from references.detecting import Found, class_by_class, decode
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, pad, relu
from torchvision.ops import nms

STEPS = {300: (8, 16, 32, 64, 100, 300), 512: (8, 16, 32, 64, 128, 256, 512)}
CELLS = {300: (38, 19, 10, 5, 3, 1), 512: (64, 32, 16, 8, 4, 2, 1)}
SIZES = {  # each level's in pixels, and the next one's after the last
    300: (21, 45, 99, 153, 207, 261, 315),
    512: (20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72),
}
FEW, MANY = (2, 1 / 2), (2, 1 / 2, 3, 1 / 3)
RATIOS = {300: (FEW, MANY, MANY, MANY, FEW, FEW), 512: (FEW, MANY, MANY, MANY, MANY, FEW, FEW)}
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
# Blocks 8 and on: channels of both convolutions; kernel, stride and padding of the second
HALVE, SHRINK = (3, 2, 1), (3, 1, 0)
BLOCKS = {
    300: ((256, 512, *HALVE), (128, 256, *HALVE), *2 * ((128, 256, *SHRINK),)),
    512: ((256, 512, *HALVE), *3 * ((128, 256, *HALVE),), (128, 256, 4, 1, 1)),
}
WIDTHS = {300: (512, 1024, 512, 256, 256, 256), 512: (512, 1024, 512, 256, 256, 256, 256)}


def shapes(size: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all variables of the network, for inputs of 300 or 512."""
    rows, width = [], 3  # name, channels in and out, kernel
    for stage, (out, depth) in enumerate(STAGES, 1):
        for layer in range(1, depth + 1):
            rows.append((f"conv{stage}/conv{stage}_{layer}", width, out, 3))
            width = out
    rows += [("conv6", 512, 1024, 3), ("conv7", 1024, 1024, 1)]
    width = 1024
    for block, (squeeze, out, kernel, _, _) in enumerate(BLOCKS[size], 8):
        rows.append((f"block{block}/conv1x1", width, squeeze, 1))
        rows.append((f"block{block}/conv{kernel}x{kernel}", squeeze, out, kernel))
        width = out
    for block, width, ratios in zip(levels(size), WIDTHS[size], RATIOS[size], strict=True):
        for head, columns in (("loc", 4), ("cls", num_classes)):
            rows.append((f"{block}_box/conv_{head}", width, (2 + len(ratios)) * columns, 3))
    scope = f"ssd_{size}_vgg"
    result: dict[str, tuple[int, ...]] = {f"{scope}/block4_box/L2Normalization/gamma": (512,)}
    for name, width, out, kernel in rows:
        result[f"{scope}/{name}/weights"] = (kernel, kernel, width, out)
        result[f"{scope}/{name}/biases"] = (out,)
    return result


def levels(size: int) -> list[str]:
    return ["block4", "block7", *(f"block{8 + i}" for i in range(len(BLOCKS[size])))]


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 RGB, stretched to size before, to what the network takes."""
    return images.float() - torch.tensor([123.0, 117.0, 104.0]).view(3, 1, 1)


def forward(variables: Mapping[str, Tensor], pixels: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3, 300, 300) or (B, 3, 512, 512) to logits (B, A, C) and offsets (B, A, 4)."""
    size = pixels.shape[-1]
    scope = f"ssd_{size}_vgg"

    def convolve(name: str, x: Tensor, **options: int) -> Tensor:
        weights = variables[f"{scope}/{name}/weights"].permute(3, 2, 0, 1)
        return conv2d(x, weights, variables[f"{scope}/{name}/biases"], **options)

    features, maps = pixels, []
    for stage, (_, depth) in enumerate(STAGES, 1):
        for layer in range(1, depth + 1):
            features = relu(convolve(f"conv{stage}/conv{stage}_{layer}", features, padding=1))
        if stage == 4:
            maps.append(l2_norm(features, variables[f"{scope}/block4_box/L2Normalization/gamma"]))
        if stage < 5:
            features = max_pool2d(features, 2, ceil_mode=True)
    features = max_pool2d(features, 3, stride=1, padding=1)
    features = relu(convolve("conv6", features, padding=6, dilation=6))
    features = relu(convolve("conv7", features))
    maps.append(features)
    for block, (_, _, kernel, stride, padding) in enumerate(BLOCKS[size], 8):
        features = pad(relu(convolve(f"block{block}/conv1x1", features)), 4 * (padding,))
        name = f"block{block}/conv{kernel}x{kernel}"
        features = relu(convolve(name, features, stride=stride))
        maps.append(features)
    outputs = [
        [
            convolve(f"{block}_box/conv_{head}", level, padding=1).permute(0, 2, 3, 1)
            for block, level in zip(levels(size), maps, strict=True)
        ]
        for head in ("cls", "loc")
    ]
    columns = (outputs[0][0].shape[3] // (2 + len(FEW)), 4)
    logits, offsets = (
        torch.cat([out.reshape(len(out), -1, width) for out in outs], dim=1)
        for outs, width in zip(outputs, columns, strict=True)
    )
    return logits, offsets


def l2_norm(features: Tensor, gamma: Tensor) -> Tensor:
    squares = features.square().sum(dim=1, keepdim=True)
    return features * squares.clamp(min=1e-12).rsqrt() * gamma.view(-1, 1, 1)


def anchors(size: int) -> Tensor:
    """(A, 4) cxcywh, level by level and row by row; a cell's: both squares, then the ratios."""
    rows = []
    table = zip(CELLS[size], STEPS[size], RATIOS[size], strict=True)
    for level, (cells, step, ratios) in enumerate(table):
        small, next_small = SIZES[size][level], SIZES[size][level + 1]
        sides = [(small, small), 2 * (math.sqrt(small * next_small),)]
        sides += [(small * math.sqrt(ratio), small / math.sqrt(ratio)) for ratio in ratios]
        centers = [(i + 0.5) * step / size for i in range(cells)]
        rows += [(x, y, w / size, h / size) for y in centers for x in centers for w, h in sides]
    return torch.tensor(rows)


def detect(logits: Tensor, offsets: Tensor, anchors: Tensor) -> list[Found]:
    """The best 400 of a class that score the threshold or more are looked at; one goes that
    overlaps a better one by more than the threshold; 200 of a class stay, and an image has no
    limit.
    """

    def keep(boxes: Tensor, scores: Tensor) -> Tensor:
        order = scores.sort(descending=True, stable=True).indices[:400]
        order = order[scores[order] >= 0.01]
        return order[nms(boxes[order], scores[order], 0.45)][:200]

    return class_by_class(decode(offsets, anchors), logits.softmax(2)[..., 1:], keep)
