"""Anchors of two published ports of SSD300 whose code does not do what the paper says: for running
their recipes as they were, and for nothing else.

Both write Caffe's COCO sizes, in pixels of an input of 300, and list the ratios of a level as 2 and
1/2, then 3 and 1/3.
"""

import math

from ssd.ops.anchors import ShapedLevel

SIZES = ((21, 45), (45, 99), (99, 153), (153, 207), (207, 261), (261, 315))
FEW, MANY = (2, 1 / 2), (2, 1 / 2, 3, 1 / 3)
RATIOS = (FEW, MANY, MANY, MANY, FEW, FEW)  # width to height


def shape(size: float, ratio: float) -> tuple[float, float]:
    """Width and height of the area size²."""
    return size * math.sqrt(ratio), size / math.sqrt(ratio)


def tensorflow_shapes(
    sizes: tuple[float, float], ratios: tuple[float, ...]
) -> tuple[tuple[float, float], ...]:
    """Hellcatzm/SSD_Realization_TensorFlow (ssd_vgg300_tf.py, _ssd_anchors_all_layers).

    Its fault: the size of an anchor that is not square is looked up by the index of the ratio and
    not by that of the level, so every level has those of levels 0 to 3.
    """
    squares = shape(sizes[0], 1), shape(math.sqrt(sizes[0] * sizes[1]), 1)
    return *squares, *(shape(SIZES[i][0], ratio) for i, ratio in enumerate(ratios))


def mxnet_shapes(
    sizes: tuple[float, float], ratios: tuple[float, ...]
) -> tuple[tuple[float, float], ...]:
    """Hellcatzm/SSD_Realization_MXNet (ssd_vgg300_mx.py) through MXNet's MultiBoxPrior.

    Its faults: that operator takes the first ratio for 1, where the port has 2, so no anchor is
    twice as wide as high; and it makes the second square of the second size itself.
    """
    return *(shape(size, 1) for size in sizes), *(shape(sizes[0], ratio) for ratio in ratios[1:])


STRIDES = (8, 16, 32, 64, 100, 300)
TENSORFLOW = tuple(
    ShapedLevel(stride, tensorflow_shapes(sizes, ratios))
    for stride, sizes, ratios in zip(STRIDES, SIZES, RATIOS, strict=True)
)

MXNET_SIZES = (*SIZES[:-1], (261, 290))
MXNET = tuple(  # MultiBoxPrior spreads the cells over the image
    ShapedLevel(None, mxnet_shapes(sizes, ratios))
    for sizes, ratios in zip(MXNET_SIZES, RATIOS, strict=True)
)
