import json
from typing import Any

import numpy as np
import pytest
import torch
from networks import make_network
from test_statistics import CLASSES, annotated, square
from torchvision import ops

from ssd.doctor.fitting import MOST_BOXES, Fit, fit, nearest_overlaps, sample
from ssd.doctor.reach import Truths, reach
from ssd.errors import ConfigError
from ssd.models import SSD
from ssd.ops.anchors import ShapedLevel, pyramid_anchors
from ssd.ops.boxes import to_xyxy
from ssd.records import Annotations

SIDE = 160  # of the input of model=small


def small(**changes: Any) -> SSD:
    return make_network("small", width=0.25, **changes)


def squares(*sides: float) -> Annotations:
    """Images of one square each, all over the input."""
    rng = np.random.default_rng(0)
    places = rng.uniform(40, SIDE - 40, (40, 2)).tolist()
    images = [[(1, square(x, y, sides[i % len(sides)]))] for i, (x, y) in enumerate(places)]
    return annotated(images, size=(SIDE, SIDE))


def fitted(annotations: Annotations, network: SSD, iou_threshold: float, finer: int = 0) -> Fit:
    return fit(annotations, CLASSES, network, finer, iou_threshold, True, True)


@pytest.mark.parametrize("clip", ["never", "sides", "center_and_sides"])
@pytest.mark.parametrize("image_size", [160, [128, 224]])
def test_the_nearest_anchor_of_each_shape_is_the_best_of_all(clip: str, image_size: Any) -> None:
    pyramid = small(clip_anchors=clip, image_size=image_size).pyramid
    torch.manual_seed(0)
    boxes = torch.rand(100, 2, 2).sort(dim=1).values.flatten(1)
    best = nearest_overlaps(boxes.numpy(), pyramid)
    for index, level in enumerate(pyramid.levels):
        alone = pyramid._replace(levels=[level], cells=[pyramid.cells[index]])
        iou = ops.box_iou(boxes, to_xyxy(pyramid_anchors(*alone))).amax(dim=1)
        np.testing.assert_allclose(best(index, level), iou.numpy(), atol=1e-5)


def test_sizes_become_those_of_the_objects() -> None:
    found = fitted(squares(24, 50), small(), iou_threshold=0.7)
    assert found.after["recall"] > found.before["recall"] + 0.3
    halfway = [(a * b) ** 0.5 for a, b in zip(found.sizes, found.sizes[1:], strict=False)]
    for side in (24, 50):
        assert min(abs(anchor / side - 1) for anchor in (*found.sizes, *halfway)) < 0.06


def test_sizes_that_matter_to_no_object_stay() -> None:
    own = [14, 32, 64, 104, 150]
    found = fitted(squares(22), small(anchor_sizes=own), iou_threshold=0.7)
    assert found.override
    assert found.sizes[3:] == own[3:]


def test_nothing_is_to_be_typed_where_the_anchors_fit() -> None:
    network = small()
    corners = to_xyxy(network.anchors) * SIDE
    inside = corners[((corners >= 0) & (corners <= SIDE)).all(dim=1)][::10]
    exact = annotated([[(1, box)] for box in inside.tolist()], size=(SIDE, SIDE))
    found = fitted(exact, network, iou_threshold=0.5)
    assert (found.override, found.after) == ("", found.before)
    assert found.before["recall"] == 1


@pytest.mark.parametrize("finer", [0, 1])
def test_the_override_gives_the_anchors_that_were_measured(finer: int) -> None:
    annotations = squares(8, 11, 40)
    found = fitted(annotations, small(finer_levels=finer), 0.7, finer)
    name, _, value = found.override.partition("=")
    assert name == "model.anchor_sizes"
    network = small(finer_levels=finer, anchor_sizes=json.loads(value))
    after = reach(annotations, CLASSES, network.anchors, (SIDE, SIDE), 0.7, True, True)
    assert after == found.after
    assert json.loads(value) == found.sizes


def many_squares(sides: np.ndarray) -> Annotations:
    """Ten squares an image, anywhere in it, in the order of their sides."""
    places = np.random.default_rng(0).uniform(60, SIDE - 60, (len(sides), 2)).tolist()
    boxes = [(1, square(x, y, side)) for (x, y), side in zip(places, sides.tolist(), strict=True)]
    return annotated([boxes[i : i + 10] for i in range(0, len(boxes), 10)], size=(SIDE, SIDE))


def test_a_sample_of_many_objects_finds_sizes_as_good_as_all_of_them_would() -> None:
    sides = np.sort(np.exp(np.random.default_rng(1).normal(np.log(36), 0.5, 6000))).clip(6, 120)
    every, half = many_squares(sides), many_squares(sides[::2])
    assert len(half.labels) < MOST_BOXES < len(every.labels)
    sampled, whole = fitted(every, small(), 0.75), fitted(half, small(), 0.75)
    network = small(anchor_sizes=whole.sizes)
    expected = reach(every, CLASSES, network.anchors, (SIDE, SIDE), 0.75, True, True)
    assert sampled.after["recall"] == pytest.approx(expected["recall"], abs=0.01)
    assert sampled.after["recall"] > sampled.before["recall"] + 0.1


def test_a_sample_is_the_same_on_each_call_and_from_everywhere() -> None:
    number = 10_000
    rows = np.arange(number)
    boxes = np.stack(4 * [rows], axis=1)
    truths = Truths(rows, boxes.astype(np.float64), boxes.astype(np.float32), rows)
    found, again = sample(truths), sample(truths)
    for column, same in zip(found, again, strict=True):
        assert np.array_equal(column, same)
        assert np.array_equal(column.reshape(MOST_BOXES, -1)[:, 0], found.image)
    assert len(np.unique(found.image)) == MOST_BOXES
    tenths = np.bincount(found.image // 1000)  # of a share p without putting back, so binomial
    deviation = (MOST_BOXES * 0.1 * 0.9 * (1 - MOST_BOXES / number)) ** 0.5
    assert np.abs(tenths - MOST_BOXES / 10).max() < 4 * deviation


def test_the_same_data_give_the_same_sizes() -> None:
    annotations = squares(9, 23, 60)
    assert fitted(annotations, small(), 0.6) == fitted(annotations, small(), 0.6)


def test_a_rare_class_of_its_own_size_is_fitted_too() -> None:
    common = [[(1, square(80, 80, 50))] for _ in range(95)]
    rare = [[(2, square(40 + 8 * i, 60, 9))] for i in range(5)]
    found = fitted(annotated(common + rare, size=(SIDE, SIDE)), small(), iou_threshold=0.5)
    assert found.before["by_class"]["dog"]["recall"] == 0
    assert found.after["by_class"]["dog"]["recall"] == 1


def test_long_objects_ask_for_other_ratios() -> None:
    rng = np.random.default_rng(0)
    long = [[(1, [x, y, x + 63, y + 21])] for x, y in rng.uniform(0, 90, (40, 2)).tolist()]
    assert fitted(squares(24), small(), iou_threshold=0.5).ratios is None
    found = fitted(annotated(long, size=(SIDE, SIDE)), small(), iou_threshold=0.7)
    assert found.ratios == [3]
    assert found.override.endswith("model.anchor_ratios=[3]")
    network = small(anchor_sizes=found.sizes, anchor_ratios=found.ratios)
    assert found.after["anchors"] == len(network.anchors)
    assert found.after["recall"] > found.before["recall"]


def test_small_takes_sizes_and_without_them_keeps_its_own() -> None:
    network = small(anchor_sizes=[20, 40, 60, 90, 120])
    assert network.anchors[0, 2].item() * SIDE == pytest.approx(20)
    assert network.anchors[-4, 2].item() * SIDE == pytest.approx(90)
    assert small().anchors[0, 2].item() * SIDE == pytest.approx(14)
    assert small().anchors[1, 2].item() * SIDE == pytest.approx((14 * 28) ** 0.5)
    with pytest.raises(ConfigError, match=r"model\.anchor_sizes=\[20\]: give 5 sizes"):
        small(anchor_sizes=[20])


def test_the_anchors_of_the_ports_cannot_be_fitted() -> None:
    port = small()
    port.pyramid = port.pyramid._replace(levels=[ShapedLevel(8, ((21, 21),))] * 4)
    with pytest.raises(ConfigError, match=r"type model\.anchor_sizes=voc"):
        fitted(squares(24), port, iou_threshold=0.5)


def test_without_a_box_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="no box to fit anchors to"):
        fitted(annotated([[]]), small(), iou_threshold=0.5)
