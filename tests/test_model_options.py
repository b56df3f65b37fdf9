"""What every option of conf/model gives, and what its knobs change."""

import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import MODEL, arguments, make_network, publish
from torch import nn
from torchvision.models import (
    MobileNet_V2_Weights,
    MobileNet_V3_Large_Weights,
    ResNet18_Weights,
    mobilenet_v2,
    mobilenet_v3_large,
    resnet18,
)
from torchvision.ops import FeaturePyramidNetwork

from ssd.errors import ConfigError
from ssd.models import SSD

OPTIONS = sorted(path.stem for path in MODEL.glob("*.yaml") if path.stem != "timm")
LEVELS = {  # cells along a side of each level, at the option's own image size
    "small": [20, 10, 5, 3],
    "ssd300_mobilenet_v1": [19, 10, 5, 3, 2, 1],
    "ssd300_resnet": [38, 19, 10, 5, 3, 1],
    "ssd300_vgg16": [38, 19, 10, 5, 3, 1],
    "ssd512_vgg16": [64, 32, 16, 8, 4, 2, 1],
    "ssdlite300_mobilenet_v2": [19, 10, 5, 3, 2, 1],
    "ssdlite320_mobilenet_v2": [20, 10, 5, 3, 2, 1],
    "ssdlite320_mobilenet_v3": [20, 10, 5, 3, 2, 1],
}
FINEST_SIDE = {"ssd300_vgg16": 75, "ssd300_resnet": 75, "small": 40}

TWO_FINER = {
    "ssd300_mobilenet_v1": (75, 38),
    "ssdlite300_mobilenet_v2": (75, 38),
    "ssdlite320_mobilenet_v2": (80, 40),
    "ssdlite320_mobilenet_v3": (80, 40),
}
PRETRAINED = {  # without VGG, whose file is half a gigabyte
    "ssd300_resnet": (resnet18, ResNet18_Weights, {"depth": 18}),
    "ssdlite320_mobilenet_v2": (mobilenet_v2, MobileNet_V2_Weights, {}),
    "ssdlite300_mobilenet_v2": (mobilenet_v2, MobileNet_V2_Weights, {}),
    "ssdlite320_mobilenet_v3": (mobilenet_v3_large, MobileNet_V3_Large_Weights, {}),
}


@torch.no_grad()
def cells(network: SSD) -> list[int]:
    maps = network.eval().features(torch.zeros(1, 3, *network.image_size))
    return [m.shape[2] for m in maps]


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_has_its_levels_and_predicts_for_every_anchor(option: str) -> None:
    network = make_network(option, num_classes=4).eval()
    assert cells(network) == LEVELS[option]
    images = torch.zeros(1, 3, *network.image_size, dtype=torch.uint8)
    with torch.no_grad():
        predictions = network(images)
    assert predictions.logits.shape == (1, len(network.anchors), 4)
    assert predictions.offsets.shape == (1, len(network.anchors), 4)


@pytest.mark.parametrize("option", FINEST_SIDE)
def test_a_finer_level_halves_the_stride_and_the_smallest_anchor(option: str) -> None:
    network = make_network(option, finer_levels=1)
    assert cells(network) == [FINEST_SIDE[option], *LEVELS[option]]
    coarser = make_network(option)
    assert network.anchors[0, 2] == pytest.approx(coarser.anchors[0, 2].item() / 2)
    torch.testing.assert_close(network.anchors[-len(coarser.anchors) :], coarser.anchors)


@pytest.mark.parametrize("option", TWO_FINER)
def test_mobilenets_have_two_finer_levels(option: str) -> None:
    finest, fine = TWO_FINER[option]
    assert cells(make_network(option, finer_levels=1)) == [fine, *LEVELS[option]]
    assert cells(make_network(option, finer_levels=2)) == [finest, fine, *LEVELS[option]]


def test_the_top_down_path_is_torchvisions_pyramid_network() -> None:
    network = make_network("small", image_size=96, width=0.5, top_down=32).eval()
    maps = network.features(torch.rand(1, 3, 96, 96))
    pyramid = FeaturePyramidNetwork([m.shape[1] for m in maps], 32)
    pyramid.load_state_dict(network.top_down.pyramid.state_dict())
    expected = pyramid({str(i): m for i, m in enumerate(maps)})
    for ours, theirs in zip(network.top_down(maps), expected.values(), strict=True):
        assert torch.equal(ours, theirs)
    assert {head.classify.in_channels for head in network.heads.values()} == {32}


def test_a_finer_level_learns_from_the_coarser_ones_through_the_top_down_path() -> None:
    network = make_network("small", image_size=96, width=0.5, top_down=16)
    anchors_of_first_level = 12 * 12 * 4
    logits = network(torch.zeros(2, 3, 96, 96, dtype=torch.uint8)).logits
    logits[:, :anchors_of_first_level].square().sum().backward()
    coarsest = network.features.backbone[-1][0][0].weight
    assert coarsest.grad is not None
    assert coarsest.grad.abs().max() > 0


def test_separable_heads_have_a_depthwise_convolution_before_each_prediction() -> None:
    plain, separable = (make_network("ssd300_vgg16", separable_heads=s) for s in (False, True))
    head = separable.heads["1"]
    assert head.classify.kernel_size == (1, 1)
    assert head.before_classify[0].groups == head.before_classify[0].in_channels == 1024
    assert count(separable.heads) < count(plain.heads) / 5


@pytest.mark.parametrize("separable", [False, True])
def test_a_head_can_have_a_layer_of_its_own(separable: bool) -> None:
    network = make_network("small", head_width=24, separable_heads=separable)
    assert {head.classify.in_channels for head in network.heads.values()} == {24}
    assert network.heads["0"].tower is not network.heads["1"].tower


def test_extra_layers_have_the_widths_and_the_norms_that_are_asked_for() -> None:
    network = make_network("ssd300_vgg16", extra_channels=[64, 32, 16, 8], extra_norm=True)
    convolutions = [m for m in network.features.extras.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [32, 64, 16, 32, 8, 16, 4, 8]
    assert all(c.bias is None for c in convolutions)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == len(convolutions)


def test_the_ratios_of_anchors_can_be_given() -> None:
    network = make_network("small", anchor_ratios=[1.5, 4])
    assert [head.locate.out_channels for head in network.heads.values()] == [6 * 4] * 4
    shapes = network.anchors[:6, 2] / network.anchors[:6, 3]
    assert shapes.tolist() == pytest.approx([1, 1, 1.5, 1 / 1.5, 4, 1 / 4])


def test_the_sizes_of_anchors_can_be_given() -> None:
    network = make_network("ssd300_vgg16", anchor_sizes=[20, 40, 80, 120, 160, 200, 240])
    assert network.anchors[0, 2].item() * 300 == pytest.approx(20)
    assert network.anchors[1, 2].item() * 300 == pytest.approx((20 * 40) ** 0.5)
    assert network.anchors[-4, 2].item() * 300 == pytest.approx(200)


@pytest.mark.parametrize("option", PRETRAINED)
def test_a_backbone_starts_from_weights_that_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    make, weights, changes = PRETRAINED[option]
    theirs = make().state_dict()
    publish(theirs, weights.IMAGENET1K_V1, tmp_path, monkeypatch)
    backbone = make_network(option, pretrained=True, **changes).features.backbone
    for ours, value in zip(backbone.state_dict().values(), theirs.values(), strict=False):
        assert torch.equal(ours, value)


def test_resnet_keeps_the_stride_of_8() -> None:
    conv4 = make_network("ssd300_resnet", depth=18).features.backbone[6]
    assert {m.stride for m in conv4.modules() if isinstance(m, nn.Conv2d)} == {(1, 1)}


@pytest.mark.parametrize(
    ("option", "theirs"),
    [("ssdlite320_mobilenet_v2", mobilenet_v2), ("ssdlite320_mobilenet_v3", mobilenet_v3_large)],
)
def test_mobilenets_taken_apart_compute_what_the_whole_does(option: str, theirs: Any) -> None:
    whole = theirs(weights=None).features.eval()
    network = make_network(option, finer_levels=2).eval()
    values = list(whole.state_dict().values())
    backbone = network.features.backbone
    backbone.load_state_dict(dict(zip(backbone.state_dict(), values, strict=True)))
    for layer in backbone.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = next(m.eps for m in whole.modules() if isinstance(m, nn.BatchNorm2d))
    images = torch.rand(1, 3, 320, 320)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images)[-1], whole(images))


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("ssd300_vgg16", {"anchor_sizes": [30, 60]}),
        ("ssd300_vgg16", {"anchor_sizes": [0, 60, 111, 162, 213, 264, 315]}),
        ("ssd300_vgg16", {"extra_channels": [512, 256]}),
        ("ssd300_vgg16", {"extra_channels": [512, 256, 256, 0]}),
        ("ssd300_vgg16", {"conv4_3_norm": "layer"}),
        ("ssd300_vgg16", {"finer_levels": 2}),
        ("ssd300_resnet", {"depth": 101}),
        ("ssd300_resnet", {"anchor_sizes": "imagenet"}),
        ("ssdlite320_mobilenet_v3", {"finer_levels": 3}),
        ("ssdlite320_mobilenet_v2", {"extra_channels": [1]}),
        ("ssdlite300_mobilenet_v2", {"extra_channels": [1]}),
        ("small", {"top_down": 0}),
        ("small", {"anchor_ratios": [1]}),
        ("small", {"anchor_ratios": [2, 2]}),
        ("small", {"head_width": 0}),
    ],
    ids=str,
)
def test_a_value_that_cannot_work_is_named(option: str, wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"model.{name}="):
        make_network(option, **wrong)


def test_a_port_has_no_anchors_for_a_finer_level() -> None:
    with pytest.raises(ConfigError, match=r"model\.finer_levels: the anchors of the ports"):
        make_network("ssd300_vgg16", anchor_sizes="hellcat_tf", finer_levels=1)


def test_the_reduced_tail_has_no_imagenet_weights() -> None:
    with pytest.raises(ConfigError, match=r"need model\.reduced_tail=false"):
        make_network("ssdlite320_mobilenet_v3", reduced_tail=True, pretrained=True)


FETCHED = [option for option in OPTIONS if "pretrained" in arguments(option)]


@pytest.mark.parametrize("option", FETCHED)
def test_weights_that_cannot_be_fetched_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies of its first use
    changes = {"reduced_tail": False} if option == "ssdlite320_mobilenet_v3" else {}
    with pytest.raises(
        OSError, match=r"model\.pretrained=true needs http.*model\.pretrained=false"
    ):
        make_network(option, pretrained=True, **changes)


class Bomb:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("exploded"),)


def test_a_file_in_the_cache_is_checked_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub/checkpoints" / Path(MobileNet_V2_Weights.IMAGENET1K_V1.url).name
    file.parent.mkdir(parents=True)
    torch.save(Bomb(), file)
    with pytest.raises(OSError, match=r"has not the checksum b0353104 of its name.*remove it"):
        make_network("ssdlite320_mobilenet_v2", pretrained=True)
    assert not Path("exploded").exists()
