from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import resize as torchvision_resize

from benchmarks.torchvision_recipe import recipe
from ssd.data.crops import CoveringCrop, Crop, OverlapCrop, WholeImage
from ssd.data.transforms import Augmentation, make_view, place_boxes, render, resize

OVERLAP = OverlapCrop((0, 0.1, 0.3, 0.5, 0.7, 0.9, 1), scale=0.3, aspect=2, trials=40)
COVERING = CoveringCrop(0.25, 0.5, aspect=(0.6, 1.67), area=(0.1, 1), trials=200)
CROPS = {"overlap": OVERLAP, "covering": COVERING, "none": WholeImage()}

SETTINGS = {
    "flip": 0.5,
    "zoom_out": 0.5,
    "zoom_out_side": 4,
    "crop": OVERLAP,
    "colour": 0.5,
    "brightness": 0.125,
    "contrast": 0.5,
    "saturation": 0.5,
    "hue": 0.05,
    "swap_channels": 0,
    "fill": (1, 2, 3),
}
BOXES = np.array([[20.0, 20, 80, 60], [100, 30, 140, 90]])
SIZE = (160, 120)
OUTPUT = (60, 80)


def augmentation(**changes: object) -> Augmentation:
    return Augmentation(**{**SETTINGS, **changes})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.slow
def test_windows_are_drawn_as_torchvisions_transforms_draw_them() -> None:
    make = augmentation()
    ours = [make.window(BOXES, SIZE, rng(seed)) for seed in range(3000)]
    torch.manual_seed(0)
    theirs = v2.Compose([v2.RandomZoomOut(side_range=(1, 4), p=0.5), v2.RandomIoUCrop()])
    image = tv_tensors.Image(torch.zeros(1, SIZE[1], SIZE[0], dtype=torch.uint8))
    sides = []
    for _ in range(1500):
        boxes = tv_tensors.BoundingBoxes(BOXES, format="XYXY", canvas_size=SIZE[::-1])
        sides.append(theirs({"image": image, "boxes": boxes})["image"].shape[-2:])
    shares = (0.1, 0.25, 0.5, 0.75, 0.9)
    for axis, theirs_axis in ((0, 1), (1, 0)):
        ours_sides = [window[axis + 2] - window[axis] for window in ours]
        expected = np.quantile([side[theirs_axis] for side in sides], shares)
        assert np.quantile(ours_sides, shares) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_an_image_without_objects_is_not_cropped(crop: Crop) -> None:
    make = augmentation(zoom_out=0, crop=crop)
    assert {make.window(np.zeros((0, 4)), SIZE, rng(s)) for s in range(20)} == {(0, 0, *SIZE)}


def test_a_whole_view_resizes_boxes_with_the_image() -> None:
    view = make_view((0, 0, *SIZE), SIZE, OUTPUT, mirrored=False)
    placed = place_boxes(BOXES, view, OUTPUT)
    np.testing.assert_allclose(placed, BOXES / (160, 120, 160, 120), rtol=1e-6)


def test_a_mirror_image_mirrors_boxes() -> None:
    view = make_view((0, 0, *SIZE), SIZE, OUTPUT, mirrored=True)
    placed = place_boxes(BOXES, view, OUTPUT)
    assert placed[0].tolist() == pytest.approx([0.5, 20 / 120, 0.875, 0.5])


def test_boxes_are_cut_where_the_view_ends() -> None:
    view = make_view((40, 0, 120, 120), SIZE, OUTPUT, mirrored=False)
    placed = place_boxes(BOXES, view, OUTPUT)
    expected = [[0, 20 / 120, 0.5, 0.5], [0.75, 0.25, 1, 0.75]]
    np.testing.assert_allclose(placed, expected, rtol=1e-6)


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
@pytest.mark.parametrize("seed", range(30))
def test_boxes_stay_on_their_objects(seed: int, crop: Crop) -> None:
    """Objects are painted; after any view, the paint must fill its box and nothing beside it."""
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for channel, (x1, y1, x2, y2) in enumerate(BOXES.astype(int)):
        image[y1:y2, x1:x2, channel] = 255
    make, draws, output = augmentation(fill=(0, 0, 0), crop=crop), rng(seed), (240, 320)
    window = make.window(BOXES, SIZE, draws)
    view = make_view(window, SIZE, output, make.mirrored(draws))
    picture = render(image, view, output, make.fill)
    kept = crop.keeps(BOXES, window)
    boxes = place_boxes(BOXES[kept], view, output)
    for channel, box in zip(kept.nonzero()[0], boxes, strict=True):
        rows, columns = np.nonzero(picture[..., channel] > 127)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box * (320, 240, 320, 240), found, atol=1.01)


def test_a_zoomed_out_image_is_surrounded_by_the_fill() -> None:
    window = (-160, -120, 160, 120)
    view = make_view(window, SIZE, OUTPUT, mirrored=False)
    picture = render(np.full((120, 160, 3), 9, np.uint8), view, OUTPUT, (1, 2, 3))
    assert picture[0, 0].tolist() == [1, 2, 3]
    assert (picture[30:, 40:] == 9).all()


def test_colours_change_as_torchvisions_functions_change_them() -> None:
    image = rng().integers(0, 255, (40, 50, 3), np.uint8)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    make = augmentation(colour=1, contrast=0, saturation=0, hue=0)
    changes = [draw_changes(seed) for seed in range(8)]
    for seed, change in enumerate(changes):
        expected = v2.functional.adjust_brightness(tensor, 1 + 0.125 * change[0])
        ours = torch.from_numpy(make.recolour(image, rng(seed))).permute(2, 0, 1)
        assert (ours.int() - expected.int()).abs().float().mean() < 2  # a turn through HSV rounds
    make = augmentation(colour=1, brightness=0, contrast=0, hue=0)
    for seed, change in enumerate(changes):
        expected = v2.functional.adjust_saturation(tensor, 1 + 0.5 * change[2])
        ours = torch.from_numpy(make.recolour(image, rng(seed))).permute(2, 0, 1)
        assert (ours.int() - expected.int()).abs().float().mean() < 2


def draw_changes(seed: int) -> np.ndarray:
    draws = rng(seed)
    draws.random(5)
    return draws.uniform(-1, 1, 4)


def test_no_colour_change_leaves_the_image_alone() -> None:
    image = rng().integers(0, 255, (4, 5, 3), np.uint8)
    np.testing.assert_array_equal(augmentation(colour=0).recolour(image, rng()), image)


@pytest.mark.parametrize("size", [(300, 200), (17, 90), (640, 31), (1, 1)])
def test_a_resize_is_torchvisions(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (123, 77, 3), np.uint8)
    for part in (image, image[10:90, 5:50]):
        pixels = torch.from_numpy(part.copy()).permute(2, 0, 1)
        expected = torchvision_resize(pixels, list(size[::-1]), antialias=True)
        assert np.array_equal(resize(part, size), expected.permute(1, 2, 0).numpy())


def test_other_orders_of_the_channels_are_drawn_evenly() -> None:
    image = np.array([[[1, 2, 3]]], np.uint8)
    make = augmentation(colour=0, swap_channels=0.5)
    found = Counter(tuple(make.recolour(image, rng(seed))[0, 0].tolist()) for seed in range(3000))
    assert len(found) == 6
    for order, count in found.items():  # half of all stay, and a sixth of the others
        expected = 250 + 1500 * (order == (1, 2, 3))
        assert abs(count - expected) < 4 * expected**0.5


def test_samples_are_distributed_as_torchvisions() -> None:
    """The whole recipe: what is measured on samples of one picture, by Kolmogorov-Smirnov distances
    that one in a thousand pairs of equal distributions would exceed."""
    picture = smooth_picture()
    torch.manual_seed(0)
    ours = [measures(*our_sample(picture, seed)) for seed in range(DRAWS)]
    theirs = [measures(*their_sample(picture)) for _ in range(DRAWS)]
    for name in ours[0]:
        distance = kolmogorov_smirnov([one[name] for one in ours], [one[name] for one in theirs])
        assert distance < 1.95 * (2 / DRAWS) ** 0.5, name


DRAWS = 700
COLOURS = 3000
LARGE = (240, 320)  # torchvision drops boxes of less than a pixel, which there are none of here


def smooth_picture() -> np.ndarray:
    noise = torch.from_numpy(rng().integers(0, 256, (1, 3, 6, 8), np.uint8)).float()
    large = torch.nn.functional.interpolate(noise, SIZE[::-1], mode="bilinear")
    return np.ascontiguousarray(large[0].permute(1, 2, 0).to(torch.uint8).numpy())


def our_sample(picture: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8, and boxes (G, 4) xyxy fractions."""
    make, draws = augmentation(swap_channels=0.5, fill=(123, 117, 104)), rng(seed)
    window = make.window(BOXES, SIZE, draws)
    kept = make.crop.keeps(BOXES, window)
    view = make_view(window, SIZE, LARGE, make.mirrored(draws))
    image = render(picture, view, LARGE, make.fill, partial(make.recolour, rng=draws))
    return image, place_boxes(BOXES[kept], view, LARGE)


def their_sample(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    corners, labels = torch.from_numpy(BOXES), torch.tensor([1, 2])
    boxes = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=SIZE[::-1])
    found = {"boxes": boxes, "labels": labels, "difficult": labels > 9}
    image, found = recipe(LARGE, scale=False)(torch.from_numpy(picture).permute(2, 0, 1), found)
    return image.permute(1, 2, 0).numpy(), found["boxes"].numpy() / (LARGE[::-1] * 2)


def measures(image: np.ndarray, boxes: np.ndarray) -> dict[str, float]:
    """Of a sample. boxes: (G, 4), at least one"""
    sides = boxes[:, 2:] - boxes[:, :2]
    return {
        "boxes": len(boxes),
        "area": sides.prod(axis=1).max(),
        "width": sides[:, 0].min(),
        "left": boxes[:, 0].min(),
        "top": boxes[:, 1].max(),
        **{f"mean {channel}": image[..., channel].mean() for channel in range(3)},
        "contrast": image.std(),
    }


def test_colours_are_distributed_as_torchvisions() -> None:
    """Of floats, as torchvision cuts every change of whole numbers down, and ours rounds them."""
    picture = rng().integers(0, 256, (6, 6, 3), np.uint8)
    make, theirs = augmentation(swap_channels=0.5), v2.RandomPhotometricDistort()
    pixels, noise = torch.from_numpy(picture).permute(2, 0, 1) / 255, rng()
    torch.manual_seed(0)
    mine = [colours(make.recolour(picture, rng(seed)), noise) for seed in range(COLOURS)]
    other = [colours(255 * theirs(pixels).permute(1, 2, 0).numpy(), noise) for _ in range(COLOURS)]
    for name in mine[0]:
        distance = kolmogorov_smirnov([one[name] for one in mine], [one[name] for one in other])
        assert distance < 1.95 * (2 / COLOURS) ** 0.5, name


def colours(image: np.ndarray, noise: np.random.Generator) -> dict[str, float]:
    """Means, of which roundings are a small part, and noise of their size: where nothing changes,
    which is often, all would be in the same place but for them."""
    kinds = {"mean": image.mean(axis=(0, 1)), "spread": image.std(axis=(0, 1))}
    kinds |= {"upper half": image[:3].mean(axis=(0, 1)), "chroma": [np.ptp(image, axis=2).mean()]}
    return {
        f"{kind} {channel}": value + noise.normal()
        for kind, values in kinds.items()
        for channel, value in enumerate(values)
    }


def test_half_of_all_samples_are_mirrored() -> None:
    make = augmentation()
    mirrored = sum(make.mirrored(rng(seed)) for seed in range(4000))
    assert abs(mirrored - 2000) < 4 * 1000**0.5


def kolmogorov_smirnov(one: list[float], other: list[float]) -> float:
    """The largest difference of two distributions' shares up to a value."""
    values = np.sort(one + other)
    ranks = [np.searchsorted(np.sort(side), values, side="right") for side in (one, other)]
    return np.abs(ranks[0] / len(one) - ranks[1] / len(other)).max()
