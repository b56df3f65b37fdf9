from pathlib import Path

import pytest
import torch
from torchvision.models.detection import ssd300_vgg16 as torchvision_ssd

from ssd.errors import ConfigError
from ssd.models import SSD, ssd300_vgg16, ssd_small
from ssd.models.layers import L2Norm, Normalize


@pytest.fixture(scope="module")
def vgg() -> SSD:
    return ssd300_vgg16(21, 300, "voc", clip_anchors=False, pretrained=False).eval()


def small(image_size: int | tuple[int, int] = 64, num_classes: int = 4) -> SSD:
    return ssd_small(num_classes, image_size, width=0.5, clip_anchors=False)


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
    network = ssd300_vgg16(3, (300, 420), "coco", clip_anchors=True, pretrained=False).eval()
    with torch.no_grad():
        assert network(images(300, 420)).logits.shape[1] == len(network.anchors)


def test_an_input_too_small_for_the_network_is_an_error() -> None:
    with pytest.raises(ConfigError, match="image_size=100x100 is too small"):
        ssd300_vgg16(3, 100, "voc", clip_anchors=False, pretrained=False)


def test_an_unknown_table_of_anchors_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"anchor_sizes=imagenet: give one of voc, coco"):
        ssd300_vgg16(3, 300, "imagenet", clip_anchors=False, pretrained=False)


def torchvision_names(vgg: SSD) -> dict[str, str]:
    """Our weights' names beside torchvision's, in order: both list the same layers from below."""
    model = torchvision_ssd(weights=None, weights_backbone=None, num_classes=21)
    classify = [f"heads.{i}.classify" for i in range(6)]
    locate = [f"heads.{i}.locate" for i in range(6)]
    ours = [name for name, _ in vgg.named_parameters() if not name.startswith("heads")]
    ours += [f"{name}.{part}" for name in classify + locate for part in ("weight", "bias")]
    theirs = list(dict(model.named_parameters()))
    scale = theirs.index("backbone.scale_weight")
    theirs.insert(ours.index("features.norm.scale"), theirs.pop(scale))
    return dict(zip(ours, theirs, strict=True))


def test_ssd300_computes_what_torchvisions_computes_with_the_same_weights(vgg: SSD) -> None:
    theirs = torchvision_ssd(weights=None, weights_backbone=None, num_classes=21).eval()
    weights = theirs.state_dict()
    vgg.load_state_dict({ours: weights[name] for ours, name in torchvision_names(vgg).items()})
    pixels = images(300, 300)
    with torch.no_grad():
        ours = vgg(pixels)
        maps = theirs.backbone(vgg.normalize(pixels))
        expected = theirs.head(list(maps.values()))
    torch.testing.assert_close(ours.logits, expected["cls_logits"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.offsets, expected["bbox_regression"], atol=1e-4, rtol=1e-4)


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


def test_a_new_small_network_says_background() -> None:
    network = small().eval()
    with torch.no_grad():
        scores = network(images(64, 64)).logits.softmax(dim=-1)
    assert scores[..., 0].min() > 0.9


def test_anchors_stay_out_of_checkpoints() -> None:
    assert not any("anchors" in name for name in small().state_dict())


def test_pretrained_weights_that_cannot_be_fetched_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(
        OSError, match=r"model\.pretrained=true needs http.*model\.pretrained=false"
    ):
        ssd300_vgg16(3, 300, "voc", clip_anchors=False, pretrained=True)
