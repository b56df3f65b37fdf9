"""SSD on backbones of timm."""

import pytest
import torch
from networks import make_network

from ssd.errors import ConfigError
from ssd.models import SSD

timm = pytest.importorskip("timm")


def timm_ssd(backbone: str, **changes: object) -> SSD:
    return make_network("timm", backbone=backbone, **changes).eval()


@pytest.mark.parametrize(
    ("backbone", "side", "cells"),
    [
        ("test_resnet", 96, [12, 6, 3, 2, 1]),
        ("test_convnext", 96, [12, 6, 3, 2, 1]),
        ("test_vit", 160, [10, 5, 3]),  # all of its maps have stride 16
        ("swin_tiny_patch4_window7_224", 128, [16, 8, 4, 2, 1]),  # channels last
    ],
)
def test_levels_follow_the_strides_of_the_backbone(
    backbone: str, side: int, cells: list[int]
) -> None:
    network = timm_ssd(backbone, image_size=side)
    with torch.no_grad():
        maps = network.features(torch.zeros(1, 3, side, side))
        predictions = network(torch.zeros(1, 3, side, side, dtype=torch.uint8))
    assert [m.shape[2] for m in maps] == cells
    assert predictions.logits.shape[1] == len(network.anchors)


def test_the_maps_are_those_that_timm_gives() -> None:
    network = timm_ssd("test_resnet", image_size=96)
    backbone = timm.create_model("test_resnet", features_only=True).eval()
    backbone.load_state_dict(network.features.backbone.backbone.state_dict())
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        for ours, theirs in zip(network.features(images), backbone(images)[-3:], strict=False):
            assert torch.equal(ours, theirs)


def test_pixels_are_normalised_as_the_backbone_has_learned() -> None:
    cfg = timm.get_pretrained_cfg("resnet18")
    normalize = timm_ssd("resnet18").normalize
    assert normalize.mean.flatten().tolist() == pytest.approx([255 * m for m in cfg.mean])
    assert normalize.std.flatten().tolist() == pytest.approx([255 * s for s in cfg.std])


def test_extra_levels_go_on_halving() -> None:
    network = timm_ssd("test_resnet", image_size=96, extra_channels=[64])
    assert len(network.heads) == 4
    assert [*network.heads.values()][-1].classify.in_channels == 64


def test_an_unknown_backbone_names_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"model\.backbone=resnet19: .* near resnet18"):
        timm_ssd("resnet19")


def test_a_size_that_a_backbone_cannot_take_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model\.image_size=\[300,300\] does not suit"):
        timm_ssd("dla34", image_size=300)
