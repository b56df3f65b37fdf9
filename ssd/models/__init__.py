"""The networks that `model=` and checkpoints can name."""

from ssd.models.mobilenet_ports import ssd300_mobilenet_v1, ssdlite300_mobilenet_v2
from ssd.models.resnet import ssd300_resnet
from ssd.models.small import ssd_small
from ssd.models.ssd import SSD
from ssd.models.ssdlite import ssdlite320_mobilenet_v2, ssdlite320_mobilenet_v3
from ssd.models.timm_backbones import ssd_timm
from ssd.models.vgg import ssd300_vgg16, ssd512_vgg16

__all__ = [
    "SSD",
    "ssd300_mobilenet_v1",
    "ssd300_resnet",
    "ssd300_vgg16",
    "ssd512_vgg16",
    "ssd_small",
    "ssd_timm",
    "ssdlite300_mobilenet_v2",
    "ssdlite320_mobilenet_v2",
    "ssdlite320_mobilenet_v3",
]
