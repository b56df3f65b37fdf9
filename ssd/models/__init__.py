"""The networks that `model=` and checkpoints can name."""

from ssd.models.small import ssd_small
from ssd.models.ssd import SSD
from ssd.models.vgg import ssd300_vgg16, ssd512_vgg16

__all__ = ["SSD", "ssd300_vgg16", "ssd512_vgg16", "ssd_small"]
