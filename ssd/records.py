"""The records that data, models and metrics exchange, and the letters of every shape in this
project.

B images, A anchors, C classes with the background at 0, G ground-truth boxes, N detections, I
images of a split.
Boxes are float32 xyxy in fractions of the image, unless a docstring says otherwise.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

from torch import Tensor

BACKGROUND = 0  # a label; users never see it


class Annotations(NamedTuple):
    """The images of a split and what they contain, in columns: no Python object per box, nor,
    with `texts.Texts`, per image.

    Boxes are in pixels of the original image, 0-based and half-open, in double precision: what the
    files say.
    The boxes of image i are the rows starts[i]:starts[i + 1].
    """

    ids: Sequence[str]  # I names, unique, as the image set has them
    files: Sequence[str]  # I paths of image files
    sizes: Tensor  # (I, 2) int64 width and height, pixels
    starts: Tensor  # (I + 1,) int64
    boxes: Tensor  # (rows, 4) float64 xyxy, pixels
    labels: Tensor  # (rows,) int64 in [1, C)
    difficult: Tensor  # (rows,) bool: neither right nor wrong when detected
    crowd: Tensor  # (rows,) bool: a region of many objects, never trained on; difficult too


class Sample(TypedDict):
    """One image on its way to a batch."""

    image: Tensor  # (3, H, W) uint8 RGB
    boxes: Tensor  # (G, 4)
    labels: Tensor  # (G,) int64 in [1, C)
    difficult: Tensor  # (G,) bool
    index: int  # row of the split's Annotations, -1 for a repeat that must not count


class Batch(TypedDict):
    """Samples of one step, padded to the most boxes of any."""

    images: Tensor  # (B, 3, H, W) uint8 RGB, channels_last
    boxes: Tensor  # (B, G, 4), zeros where there is no box
    labels: Tensor  # (B, G) int64, 0 where there is no box
    difficult: Tensor  # (B, G) bool
    indices: Tensor  # (B,) int64: `Sample.index`


class Predictions(NamedTuple):
    """What the network says of every anchor, always float32."""

    logits: Tensor  # (B, A, C)
    offsets: Tensor  # (B, A, 4): see ops.boxes.encode


class Detections(NamedTuple):
    """Objects found, best first, padded to the most of any image of the batch."""

    boxes: Tensor  # (B, N, 4), clipped to the image
    scores: Tensor  # (B, N), 0 where there is no detection
    labels: Tensor  # (B, N) int64, 0 where there is no detection
