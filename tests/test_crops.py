"""The crops alone; what becomes of the picture and its boxes is in test_transforms.py."""

from collections.abc import Callable
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from ssd.data.crops import CoveringCrop, OverlapCrop, WholeImage, held_shares
from ssd.data.transforms import Augmentation
from ssd.errors import ConfigError

BOXES = np.array([[20.0, 20, 80, 60], [100, 30, 140, 90]])
WHOLE = (0, 0, 160, 120)
SIZES = [(160, 120), (120, 160), (500, 375), (300, 100), (40, 300), (17, 23)]
OVERLAP = {"overlaps": (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1), "scale": 0.3, "aspect": 2, "trials": 40}
COVERING = {"covered": 0.25, "kept": 0.5, "aspect": (0.6, 1.67), "area": (0.1, 1), "trials": 200}
REFUSED_BY_OVERLAP = {
    "overlaps": [(0.5,), (0.5, 1, 2), (-0.1, 1)],
    "scale": [0, 1.1],
    "aspect": [0.5, [0.5, 2]],
    "trials": [0],
}
REFUSED_BY_COVERING = {
    "covered": [0, 1.1],
    "kept": [-0.1, 1],
    "aspect": [[0, 1], [1.67, 0.6], 2, [1, 2, 3]],
    "area": [[0, 1], [0.1, 1.1], [0.9, 0.1]],
    "trials": [0],
}
CONF = Path(__file__).parent.parent / "conf"
OPTIONS = sorted(path.stem for path in CONF.glob("augmentation/crop/*.yaml"))


def overlap_crop(**changes: object) -> OverlapCrop:
    return OverlapCrop(**{**OVERLAP, **changes})


def covering_crop(**changes: object) -> CoveringCrop:
    return CoveringCrop(**{**COVERING, **changes})


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def random_boxes(size: tuple[int, int], draws: np.random.Generator) -> np.ndarray:
    corners = np.sort(draws.random((draws.integers(1, 4), 2, 2)), axis=1).reshape(-1, 4)
    return (corners * (*size, *size)).astype(np.float32)


def shared(window: tuple, box: np.ndarray) -> float:
    low, high = np.maximum(window[:2], box[:2]), np.minimum(window[2:], box[2:])
    return float(np.prod((high - low).clip(0)))


def area(box: tuple | np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def iou(window: tuple, box: np.ndarray) -> float:
    return shared(window, box) / (area(window) + area(box) - shared(window, box))


def tensorflow_crop(
    crop: CoveringCrop, boxes: np.ndarray, size: tuple[int, int], uniform: Callable
) -> tuple:
    """The algorithm of sample_distorted_bounding_box_op.cc, an attempt after another."""
    width, height = size
    least, most = (share * width * height for share in crop.area)
    for _ in range(200):
        ratio, tall, across, down = uniform(), uniform(), uniform(), uniform()
        ratio = crop.aspect[0] + (crop.aspect[1] - crop.aspect[0]) * ratio
        highest = min(round(sqrt(most / ratio)), height)
        while round(highest * ratio) > width:
            highest -= 1
        lowest = min(round(sqrt(least / ratio)), highest)
        tall = lowest + int(tall * (highest - lowest + 1))
        if tall * round(tall * ratio) < least:
            tall += 1
        if tall * round(tall * ratio) > most:
            tall -= 1
        wide = round(tall * ratio)
        if wide > width or tall > height or not least <= wide * tall <= most:
            continue
        left, top = int(across * (width - wide)), int(down * (height - tall))
        window = (left, top, left + wide, top + tall)
        if any(shared(window, box) / area(box) >= crop.covered for box in boxes):
            return window
    return (0, 0, width, height)


@pytest.mark.parametrize("overlap", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_crop_overlaps_an_object_whose_center_it_holds_as_much_as_drawn(overlap: float) -> None:
    crop = overlap_crop(overlaps=(overlap, 1))
    windows = {crop.draw(BOXES, WHOLE, rng(seed)) for seed in range(200)} - {WHOLE}
    assert windows or overlap == 0.9
    for window in windows:
        centers = (BOXES[:, :2] + BOXES[:, 2:]) / 2
        held = [((window[:2] < c) & (c < window[2:])).all() for c in centers]
        assert max(iou(window, box) for box in BOXES[held]) >= overlap


def test_an_overlap_crop_keeps_the_boxes_whose_center_it_holds() -> None:
    assert overlap_crop().keeps(BOXES, (0, 0, 100, 120)).tolist() == [True, False]


@pytest.mark.parametrize("area", [(0.1, 1), (0.1, 0.3), (0.2, 0.2)], ids=str)
@pytest.mark.parametrize("aspect", [(0.6, 1.67), (0.1, 0.4)], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_same_draws_give_tensorflows_crop(size: tuple, aspect: tuple, area: tuple) -> None:
    crop = covering_crop(aspect=aspect, area=area)
    for seed in range(60):
        boxes = random_boxes(size, rng(1, seed))
        expected = tensorflow_crop(crop, boxes, size, iter(rng(seed).random(800)).__next__)
        assert crop.draw(boxes, (0, 0, *size), rng(seed)) == expected


def test_covering_crops_are_distributed_as_tensorflows() -> None:
    """Means of area, sides and place, and of their squares, within four standard errors."""
    crop, draws, count = covering_crop(), rng(0), 4000
    ours = [crop.draw(BOXES, WHOLE, draws) for _ in range(count)]
    theirs = [tensorflow_crop(crop, BOXES, WHOLE[2:], rng(1, i).random) for i in range(count)]
    ours, theirs = (
        np.array([(area(c), c[2] - c[0], c[3] - c[1], *c) for c in crops], float)
        for crops in (ours, theirs)
    )
    for power in (1, 2):
        a, b = ours**power, theirs**power
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / count)
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 4 * error).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_covering_crop_is_within_its_limits(size: tuple[int, int]) -> None:
    whole = (0, 0, *size)
    for seed in range(300):
        boxes = random_boxes(size, rng(1, seed))
        crop = covering_crop().draw(boxes, whole, rng(seed))
        if crop != whole:
            width, height = crop[2] - crop[0], crop[3] - crop[1]
            assert shared(crop, np.array(whole)) == area(crop)
            assert 0.1 * area(whole) <= area(crop) <= area(whole)
            assert 0.6 * height - 0.5 <= width <= 1.67 * height + 0.5
            assert max(shared(crop, box) / area(box) for box in boxes) >= 0.25 - 1e-6


def test_a_covering_crop_of_a_zoomed_out_image_lies_on_its_canvas() -> None:
    canvas = (-50, -200, 300, 180)
    crops = np.array([covering_crop().draw(BOXES, canvas, rng(seed)) for seed in range(300)])
    assert (crops[:, :2] >= canvas[:2]).all()
    assert (crops[:, 2:] <= canvas[2:]).all()
    assert (crops.min(axis=0)[:2] < 0).all()  # fill is seen, too


def test_the_whole_is_seen_where_no_crop_can_cover_enough() -> None:
    crop = covering_crop(covered=1, area=(0.1, 0.3))
    whole_box = np.array([WHOLE], float)
    assert {crop.draw(whole_box, WHOLE, rng(seed)) for seed in range(20)} == {WHOLE}


def test_a_covering_crop_keeps_boxes_of_which_it_holds_more_than_half() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [6, 0, 16, 10], [30, 0, 40, 10]], np.float32)
    assert covering_crop().keeps(boxes, (0, 0, 10, 10)).tolist() == [True, True, False, False]
    assert covering_crop().keeps(boxes, (0, 0, 9, 10)).tolist() == [True, False, False, False]
    assert covering_crop(kept=0.95).keeps(boxes, (0, 0, 9, 10)).tolist() == [False] * 4


def test_a_box_within_the_crop_is_held_to_the_last_digit() -> None:
    boxes = np.concatenate([random_boxes(WHOLE[2:], rng(seed)) for seed in range(100)])
    assert (held_shares(boxes, np.array([WHOLE])) == 1).all()


def test_a_whole_image_keeps_every_box() -> None:
    assert WholeImage().draw(BOXES, WHOLE, rng(0)) == WHOLE
    assert WholeImage().keeps(BOXES, (0, 0, 10, 10)).all()


@pytest.mark.parametrize("key", REFUSED_BY_OVERLAP)
def test_an_overlap_crop_refuses_what_cannot_work(key: str) -> None:
    for value in REFUSED_BY_OVERLAP[key]:
        with pytest.raises(ConfigError, match=rf"^augmentation\.crop\.{key}=.*(give|needs a 1)"):
            overlap_crop(**{key: value})


@pytest.mark.parametrize("key", REFUSED_BY_COVERING)
def test_a_covering_crop_refuses_what_cannot_work(key: str) -> None:
    for value in REFUSED_BY_COVERING[key]:
        with pytest.raises(ConfigError, match=rf"^augmentation\.crop\.{key}=.*give"):
            covering_crop(**{key: value})


def composed(*overrides: str) -> Augmentation:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", list(overrides))
    return instantiate(cfg.augmentation, _convert_="all")


@pytest.mark.parametrize("augmentation", ["mild", "flip", "balancap"])
@pytest.mark.parametrize("crop", OPTIONS)
def test_any_crop_goes_with_any_augmentation(augmentation: str, crop: str) -> None:
    made = composed(f"augmentation={augmentation}", f"augmentation/crop={crop}")
    left, top, right, bottom = made.window(BOXES, WHOLE[2:], rng(0))
    assert left < right
    assert top < bottom


def test_a_key_of_the_crop_is_changed_on_the_command_line() -> None:
    assert composed("augmentation=ssd", "augmentation.crop.scale=0.5").crop.scale == 0.5


def test_balancaps_augmentation_crops_with_his_numbers() -> None:
    made = composed("augmentation=balancap")
    assert vars(made.crop) == COVERING
    assert (made.zoom_out, made.flip, made.colour, made.hue) == (0, 0.5, 1, 0.2)
