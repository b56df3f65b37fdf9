import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import make_network

from ssd.errors import ConfigError
from ssd.models import SSD
from ssd.models.heads import start_as_background
from ssd.models.layers import L2Norm, Normalize


@pytest.fixture(scope="module")
def vgg() -> SSD:
    return vgg300(21).eval()


def vgg300(num_classes: int = 3, **changes: Any) -> SSD:
    return make_network("ssd300_vgg16", num_classes, **changes)


def small(
    image_size: int | tuple[int, int] = 64, num_classes: int = 4, prior: float | None = 0.01
) -> SSD:
    return make_network("small", num_classes, image_size=image_size, width=0.5, object_prior=prior)


def images(*size: int) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)


def test_a_network_predicts_for_every_anchor() -> None:
    network = small()
    predictions = network(images(64, 64))
    assert predictions.logits.shape == (2, len(network.anchors), 4)
    assert predictions.offsets.shape == (2, len(network.anchors), 4)


@pytest.mark.parametrize("size", [(64, 96), (200, 120), (161, 97)])
def test_anchors_follow_other_input_sizes(size: tuple[int, int]) -> None:
    network = small(size)
    assert network(images(*size)).logits.shape[1] == len(network.anchors)
    centers = network.anchors[:, :2]  # those of a map that the stride fills partly reach over
    assert 0 < centers.min() < centers.max() < 1 + 32 / min(size)


def test_vgg_takes_a_rectangular_input() -> None:
    network = vgg300(image_size=(300, 420), anchor_sizes="coco").eval()
    with torch.no_grad():
        assert network(images(300, 420)).logits.shape[1] == len(network.anchors)


def test_an_input_too_small_for_the_network_is_an_error() -> None:
    with pytest.raises(ConfigError, match="does not suit"):
        vgg300(image_size=100)


def test_an_unknown_table_of_anchors_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"anchor_sizes=imagenet: give one of voc, coco"):
        vgg300(anchor_sizes="imagenet")


def test_predictions_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = small()(images(64, 64))
    assert {p.dtype for p in predictions} == {torch.float32}


def test_the_first_layer_normalises_each_channel() -> None:
    red = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    red[:, 0] = 255
    normal = Normalize(mean=(127.5, 100, 0), std=(127.5, 50, 1))(red)
    assert normal[0, :, 0, 0].tolist() == [1, -2, 0]


def test_l2_normalisation_starts_at_its_scale_also_in_half_precision() -> None:
    features = torch.rand(1, 512, 3, 3) * 1000
    with torch.autocast("cpu", dtype=torch.bfloat16):
        normal = L2Norm(512, scale=20.0)(features)
    torch.testing.assert_close(normal.norm(dim=1), torch.full((1, 3, 3), 20.0))


@pytest.mark.parametrize("scale", [1, 20])
def test_conv4_3_starts_at_the_scale_that_is_asked_for(scale: int) -> None:
    assert (vgg300(norm_scale=scale).features.norm.scale == scale).all()


def test_the_mean_is_taken_from_every_pixel() -> None:
    pixels = torch.tensor([124, 117, 103], dtype=torch.uint8).view(1, 3, 1, 1)
    normal = vgg300(mean=[123.5, 117, 104]).normalize(pixels)
    assert normal.flatten().tolist() == [0.5, 0, -1]


def test_dropout_thins_fc6_and_what_lies_above_fc7_but_not_the_head_on_fc7() -> None:
    features = vgg300(dropout=0.5).features.train()
    seen = {}
    features.backbone[33].register_forward_hook(lambda _, inputs, __: seen.update(fc6=inputs[0]))
    features.extras[0].register_forward_hook(lambda _, inputs, __: seen.update(fc7=inputs[0]))
    fc7 = features(torch.rand(1, 3, 300, 300) * 50)[1]
    kept = seen["fc7"] != 0
    assert 0.4 < (kept & (fc7 != 0)).sum() / (fc7 != 0).sum() < 0.6
    torch.testing.assert_close(seen["fc7"][kept], 2 * fc7[kept])
    assert (seen["fc6"] == 0).float().mean() > 0.6  # the ReLU's share and half of the rest


def test_dropout_changes_neither_the_weights_names_nor_a_detection(vgg: SSD) -> None:
    thinned = vgg300(21, dropout=0.5).eval()
    thinned.load_state_dict(vgg.state_dict())
    pixels = images(300, 300)
    with torch.no_grad():
        assert torch.equal(thinned(pixels).logits, vgg(pixels).logits)


def test_without_dropout_training_computes_what_evaluation_does(vgg: SSD) -> None:
    pixels = images(300, 300)
    with torch.no_grad():
        evaluated = vgg(pixels).logits
        trained = vgg.train()(pixels).logits
    vgg.eval()
    assert torch.equal(trained, evaluated)


@pytest.mark.parametrize("model", [small, vgg300], ids=["small", "vgg"])
def test_heads_with_a_prior_say_background_by_softmax_and_by_sigmoid(model: Any) -> None:
    network = model(num_classes=5)
    start_as_background(network.heads.values(), object_prior=0.01)
    for head in network.heads.values():
        bias = head.classify.bias.detach().view(-1, 5)
        assert bias.softmax(dim=1)[:, 1:].sum(dim=1).tolist() == pytest.approx([0.01] * len(bias))
        assert (bias[:, 1:].sigmoid().sum(dim=1) < 0.011).all()


def test_a_new_small_network_says_background() -> None:
    network = small().eval()
    with torch.no_grad():
        scores = network(images(64, 64)).logits.softmax(dim=-1)
    assert scores[..., 0].min() > 0.9


def test_a_network_without_a_prior_says_nothing_yet() -> None:
    for network in (small(prior=None), vgg300()):
        assert all(head.classify.bias.detach().abs().max() < 0.1 for head in network.heads.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"clip_anchors": "always"},
        {"dropout": 1},
        {"mean": [123]},
        {"object_prior": 0},
        {"object_prior": 1},
    ],
    ids=str,
)
def test_an_argument_that_cannot_work_is_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"model.{name}="):
        vgg300(**wrong)


def test_anchors_stay_out_of_checkpoints() -> None:
    assert not any("anchors" in name for name in small().state_dict())


def test_pretrained_weights_that_cannot_be_fetched_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies of its first use
    with pytest.raises(
        OSError, match=r"model\.pretrained=true needs http.*model\.pretrained=false"
    ):
        vgg300(pretrained=True)
