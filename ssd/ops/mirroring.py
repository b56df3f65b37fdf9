"""Two looks at an image, one in the mirror, as the predictions of one."""

import torch
from torch import Tensor

from ssd.records import Predictions

LEFT_TO_RIGHT = (-1, 1, 1, 1)  # what a mirror makes of an offset


def with_mirrored(
    predictions: Predictions, mirrored: Predictions, anchors: Tensor
) -> tuple[Predictions, Tensor]:
    """Predictions of images and of their mirror images, for `detect` to make one set of objects of.

    mirrored: what the network says of the same images, mirrored left to right
    anchors: (A, 4) cxcywh, fractions of the image
    returns: predictions (B, 2A, …) and their anchors (2A, 4), all of the images as they are
    """
    sign = mirrored.offsets.new_tensor(LEFT_TO_RIGHT)
    both = Predictions(
        torch.cat([predictions.logits, mirrored.logits], dim=1),
        torch.cat([predictions.offsets, mirrored.offsets * sign], dim=1),
    )
    center_x, rest = anchors.split([1, 3], dim=1)
    return both, torch.cat([anchors, torch.cat([1 - center_x, rest], dim=1)])
