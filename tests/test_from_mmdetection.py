"""mmdetection's SSD300 and SSD512 on VGG-16, to this project."""

from pathlib import Path
from typing import Any

import pytest
import torch
from equality import assert_equal, assert_same, differences, random_images, randomise, spread
from references.mmdetection import CELLS, SSD, anchors, detect, normalise, old_names
from torch import Tensor

from ssd.models.levels import chosen_sizes, make_levels
from ssd.models.vgg import RATIOS_300, RATIOS_512, SIZES_300, STRIDES_300, STRIDES_512
from ssd.ops.anchors import pyramid_anchors
from ssd.ops.detecting import detect as detect_here
from ssd.records import Predictions
from ssd.weights.loading import load_checkpoint
from ssd.weights.projects import mmdetection

COCO_NAMES = tuple(f"thing {i}" for i in range(80))
VOC_NAMES = tuple(f"thing {i}" for i in range(20))

NOTHING: dict[str, Any] = {}
V2 = {"mmdet_version": "2.14.0+c0d7e82", "CLASSES": COCO_NAMES, "epoch": 24}
V2_VOC = {
    "mmdet_version": "2.8.0",
    "CLASSES": VOC_NAMES,
    "config": "anchor_generator=dict(\n  scale_major=False,\n  basesize_ratio_range=(0.2, 0.9))",
}
V3 = {"dataset_meta": {"classes": COCO_NAMES, "palette": [(220, 20, 60)]}, "cfg": "size = 512\n"}


def empty(size: int, num_classes: int) -> dict[str, Tensor]:
    """Names and shapes of a file, without the memory."""
    with torch.device("meta"):
        return SSD(size, num_classes).state_dict()


@pytest.mark.parametrize(
    ("size", "data", "meta"),
    [
        (300, "coco", V2),
        pytest.param(300, "voc", V2_VOC, marks=pytest.mark.slow),
        pytest.param(512, "coco", V3, marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_a_file_of_mmdetection_predicts_and_detects_the_same(
    tmp_path: Path, size: int, data: str, meta: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    names = VOC_NAMES if data == "voc" else COCO_NAMES
    model, images = SSD(size, len(names) + 1).eval(), random_images(size, number=1)
    randomise(model)
    maps = model.double().maps(normalise(images.double()))
    branches = (model.bbox_head.cls_convs, model.bbox_head.reg_convs)
    classify, locate = ([head[0] for head in branch] for branch in branches)
    spread(classify, locate, lambda: model.predict(maps))
    weights = model.float().state_dict()
    if meta is V2_VOC:
        weights = old_names(weights)
    torch.save({"meta": meta, "state_dict": weights}, tmp_path / "epoch_24.pth")
    logits, offsets = model.double().predict(maps)
    checkpoint = load_checkpoint(tmp_path / "epoch_24.pth")
    theirs = anchors(size, data)
    found = detect(logits, offsets, theirs)
    background_first = logits.roll(1, dims=-1)
    apart = differences(checkpoint, images, background_first, offsets, theirs, found)
    print(size, data, apart, [len(labels) for _, _, labels in found])
    assert_equal(apart)
    assert checkpoint["ssd"]["classes"] == list(names)


def test_where_few_scores_pass_the_rules_give_the_same_detections() -> None:
    torch.manual_seed(0)
    logits, offsets = torch.randn(1, 8732, 4) * 3, torch.randn(1, 8732, 4)
    logits[..., -1] += 13
    logits[:, :5776, -1] += 10  # the finest level, where little overlaps, says nothing
    theirs = anchors(300, "coco")
    (found,) = detect(logits, offsets, theirs)
    rules = mmdetection.RULES
    ours = detect_here(Predictions(logits.roll(1, dims=-1), offsets), theirs, **rules)
    passing = int((logits.softmax(dim=-1)[..., :-1] > rules["score_threshold"]).sum())
    assert 20 < len(found[2]) < min(passing - 10, rules["detections_per_image"])
    assert_same(ours, found)


@pytest.mark.parametrize(
    ("size", "data", "num_classes", "config"),
    [
        (300, "voc", 21, ""),
        (300, "coco", 81, ""),
        (512, "voc", 21, ""),
        (512, "coco", 4, ""),
        (300, "voc", 4, "basesize_ratio_range=(0.2, 0.9)"),
        (300, "coco", 21, "basesize_ratio_range=(0.15, 0.9)"),
        (512, "voc", 81, "basesize_ratio_range=(0.15, 0.9)"),
        (512, "coco", 21, "basesize_ratio_range=(0.1, 0.9)"),
    ],
)
def test_anchors_are_those_of_the_config_or_of_the_data_set_with_as_many_classes(
    size: int, data: str, num_classes: int, config: str
) -> None:
    weights = empty(size, num_classes)
    converted = mmdetection.convert(weights, {"meta": {"config": config}, "state_dict": weights})
    sizes = chosen_sizes(converted.model["anchor_sizes"], SIZES_300)
    strides, ratios = (STRIDES_300, RATIOS_300) if size == 300 else (STRIDES_512, RATIOS_512)
    levels = make_levels(strides, sizes, ratios)
    cells = [(side, side) for side in CELLS[size]]
    clip = converted.model["clip_anchors"]
    ours = pyramid_anchors(levels, cells, (size, size), size, clip)
    torch.testing.assert_close(ours, anchors(size, data), rtol=0, atol=1e-6)


def test_the_reference_has_the_parameters_of_torchvisions_ssd300() -> None:
    assert sum(weight.numel() for weight in empty(300, 91).values()) == 35_641_826  # published


V1_CONFIG = "bbox_head=dict(type='SSDHead', num_classes=81, anchor_strides=(8, 16, 32))"


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"mmdet_version": "0.6.0+c3a2f4b"}, "of mmdetection 0.6.0.c3a2f4b, with the background"),
        ({"mmdet_version": "1.2.0", "config": V1_CONFIG}, "1.2.0, with the background first"),
        ({"mmdet_version": "2.1.0", "config": "min_sizes=[10, 20]"}, "anchors of its own"),
        ({"config": "basesize_ratio_range=(0.3, 0.9)"}, "anchors of its own"),
    ],
)
def test_a_file_of_another_version_or_of_other_anchors_is_refused_in_one_line(
    meta: dict[str, Any], said: str
) -> None:
    weights = old_names(empty(300, 81))
    with pytest.raises(ValueError, match=said) as error:
        mmdetection.convert(weights, {"meta": meta, "state_dict": weights})
    assert "\n" not in str(error.value)


def without(weights: dict[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if not name.startswith(prefixes)}


RETINANET = {
    "backbone.conv1.weight": torch.zeros(64, 3, 7, 7),
    "neck.fpn_convs.0.conv.weight": torch.zeros(256, 256, 3, 3),
    "bbox_head.cls_convs.0.conv.weight": torch.zeros(256, 256, 3, 3),
    "bbox_head.reg_convs.0.conv.weight": torch.zeros(256, 256, 3, 3),
}


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (RETINANET, "not its SSD on VGG-16"),
        (without(empty(300, 81), "bbox_head.cls_convs.0."), "cls_convs.0.0.bias is missing"),
        (without(empty(300, 81), "neck.l2_norm"), "missing: features.norm"),
        (
            empty(300, 81) | {"bbox_head.cls_convs.3.0.bias": torch.zeros(24)},
            r"heads.3.classify.bias \(24,\) for \(486,\)",
        ),
    ],
)
def test_a_file_of_another_detector_or_in_pieces_is_refused_in_one_line(
    tmp_path: Path, weights: dict[str, Tensor], said: str
) -> None:
    kept = {name: torch.zeros(value.shape, dtype=torch.int8) for name, value in weights.items()}
    torch.save({"meta": {}, "state_dict": kept}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=said) as error:
        load_checkpoint(tmp_path / "a.pth")
    assert "\n" not in str(error.value)
