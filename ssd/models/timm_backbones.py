"""SSD on any backbone of timm that gives feature maps."""

import os
from collections.abc import Sequence
from difflib import get_close_matches
from socket import getaddrinfo
from typing import Any, Unpack
from urllib.parse import urlsplit
from urllib.request import getproxies

from torch import Tensor, nn

from ssd.errors import ConfigError
from ssd.models.extras import HALVE, Features, extra_layers
from ssd.models.layers import xavier
from ssd.models.levels import FEW, MANY, check_choice, make_levels, spread_sizes, with_finer
from ssd.models.pretrained import fetching
from ssd.models.ssd import SSD, Common, side_pair
from ssd.ops.anchors import Level

REFERENCE = 300
FINEST = 8  # stride of the first level
FINER = (0, 1)
HUB = "https://huggingface.co"  # where timm keeps weights


class TimmMaps(nn.Module):
    """Those maps of a backbone that `taps` counts, finest first."""

    def __init__(self, backbone: nn.Module, taps: Sequence[int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.taps = taps
        self.channels_last = str(getattr(backbone, "output_fmt", "")).endswith("NHWC")

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.backbone(images)
        maps = [maps[tap] for tap in self.taps]
        return [m.permute(0, 3, 1, 2) for m in maps] if self.channels_last else maps


def ssd_timm(
    backbone: str,
    anchor_sizes: Sequence[float] | None,
    finer_levels: int,
    extra_channels: Sequence[int],
    extra_norm: bool,
    pretrained: bool,
    **common: Unpack[Common],
) -> SSD:
    """A level for each stride of the backbone from 8 on, then one for each extra layer.

    backbone: a name of timm.list_models()
    anchor_sizes: one more than there are levels, in pixels of an input of 300; None: a tenth of the
        side, then from a fifth to nine tenths, and half of the first on a finer level
    finer_levels: 1 adds stride 4
    extra_channels: a level of half the side for each; extra_norm: see `extra_layers`
    pretrained: timm's weights for the backbone
    """
    check_choice("finer_levels", finer_levels, FINER)
    body = make_backbone(backbone, pretrained, side_pair(common["image_size"]))
    taps, strides = last_of_each_stride(body.feature_info.reduction(), FINEST >> finer_levels)
    channels = body.feature_info.channels()[taps[-1]]
    extras = extra_layers(channels, extra_channels, [HALVE] * len(extra_channels), extra_norm)
    for extra in extras:
        xavier(extra)
        strides = [*strides, strides[-1] * 2]
    if finer_levels and strides[0] >= FINEST:
        raise ConfigError(f"model.finer_levels=1: {backbone} has no map of stride 4; give 0")
    levels = paper_levels(strides[finer_levels:], anchor_sizes)
    cfg = body.default_cfg
    mean, std = ([255 * value for value in cfg[name]] for name in ("mean", "std"))
    features = Features(TimmMaps(body, taps), extras)
    levels = with_finer(levels, finer_levels)
    return SSD(features, levels, finer_levels, REFERENCE, mean, std, start=xavier, **common)


def paper_levels(strides: Sequence[int], sizes: Sequence[float] | None) -> list[Level]:
    if sizes is None:
        sizes = spread_sizes(REFERENCE, 10, 20, 90, len(strides))
    ratios = [FEW, *[MANY] * (len(strides) - 1)]  # few on the level with the most cells
    return make_levels(strides, sizes, ratios)


def make_backbone(name: str, pretrained: bool, image_size: tuple[int, int]) -> nn.Module:
    """timm's network as a giver of feature maps."""
    if pretrained and not hub_reachable():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # or it tries for a minute; read at its import
    import timm  # an extra

    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=3, cutoff=0)
        raise ConfigError(f"model.backbone={name}: timm has no such model; near {', '.join(near)}")
    settings: dict[str, Any] = {"features_only": True}
    try:
        cfg = timm.get_pretrained_cfg(name)
        if cfg is not None and cfg.fixed_input_size:
            settings["img_size"] = image_size
        network = timm.create_model(name, pretrained=False, **settings)
    except (RuntimeError, AssertionError, AttributeError, TypeError) as error:
        cause = str(error).splitlines()[0]
        raise ConfigError(f"model.backbone={name} cannot be a backbone: {cause}") from error
    if pretrained:
        with fetching(
            f"timm's weights of {name}", "fetch them into the cache of HF_HOME elsewhere"
        ):
            network = timm.create_model(name, pretrained=True, **settings)
    return network


def hub_reachable() -> bool:
    """Whether timm's weights can be fetched, as far as names of machines tell it at once."""
    if getproxies():
        return True
    try:
        getaddrinfo(urlsplit(os.environ.get("HF_ENDPOINT", HUB)).hostname, None)
    except OSError:
        return False
    return True


def last_of_each_stride(strides: Sequence[int], finest: int) -> tuple[list[int], list[int]]:
    """Indices and strides of the maps that are levels."""
    last = {stride: index for index, stride in enumerate(strides) if stride >= finest}
    return list(last.values()), list(last)
