import math

import pytest
import torch
from torchvision.models.detection import ssd300_vgg16 as torchvision_ssd
from torchvision.models.detection.image_list import ImageList

from ssd.models.vgg import LEVELS_300, LEVELS_512, ssd300_vgg16, ssd512_vgg16
from ssd.ops.anchors import Level, pyramid_anchors

CELLS_300 = [(side, side) for side in (38, 19, 10, 5, 3, 1)]
SQUARE = Level(stride=10, size=10, next_size=40, ratios=(4.0,))


def anchors_of(level: Level, cells: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    return pyramid_anchors([level], [cells], size, reference=40, clip=False)


def test_ssd300_has_the_papers_8732_anchors() -> None:
    network = ssd300_vgg16(21, 300, "voc", clip_anchors=False, pretrained=False)
    assert network.anchors.shape == (8732, 4)


def test_ssd512_has_the_papers_24564_anchors() -> None:
    network = ssd512_vgg16(21, 512, "voc", clip_anchors=False, pretrained=False)
    assert network.anchors.shape == (24564, 4)


def test_ssd300_anchors_equal_torchvisions_with_the_same_sizes() -> None:
    theirs = torchvision_ssd(weights=None, weights_backbone=None).anchor_generator
    theirs.clip = False
    theirs.scales = [level.size / 300 for level in LEVELS_300["coco"]] + [315 / 300]
    theirs._wh_pairs = theirs._generate_wh_pairs(6)
    images = ImageList(torch.zeros(1, 3, 300, 300), [(300, 300)])
    maps = [torch.zeros(1, 1, *cells) for cells in CELLS_300]
    corners = theirs(images, maps)[0] / 300
    ours = pyramid_anchors(LEVELS_300["coco"], CELLS_300, (300, 300), 300, clip=False)
    centers, sizes = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    torch.testing.assert_close(ours, torch.cat([centers, sizes], dim=1), atol=1e-6, rtol=0)


def test_a_cell_has_two_squares_and_both_ways_of_a_ratio() -> None:
    cell = anchors_of(SQUARE, (4, 4), (40, 40))[:4] * 40
    expected = [[5, 5, 10, 10], [5, 5, 20, 20], [5, 5, 20, 5], [5, 5, 5, 20]]
    torch.testing.assert_close(cell, torch.tensor(expected, dtype=torch.float32))


def test_cells_follow_row_by_row() -> None:
    centers = anchors_of(SQUARE, (4, 4), (40, 40))[::4, :2] * 40
    assert centers[:5].tolist() == [[5, 5], [15, 5], [25, 5], [35, 5], [5, 15]]


def test_anchors_of_a_wide_input_stay_square_in_pixels() -> None:
    square = anchors_of(SQUARE, (4, 8), (40, 80))[0] * torch.tensor([80, 40, 80, 40])
    assert square.tolist() == [5, 5, 10, 10]


def test_sizes_grow_with_the_shorter_side() -> None:
    square = anchors_of(SQUARE, (8, 12), (80, 120))[0] * torch.tensor([120, 80, 120, 80])
    torch.testing.assert_close(square[2:], torch.tensor([20.0, 20.0]))


def test_the_stride_of_the_table_holds_where_the_map_confirms_it() -> None:
    level = Level(stride=8, size=30, next_size=60, ratios=())
    centers = pyramid_anchors([level], [(38, 38)], (300, 300), 300, clip=False)[:, 0] * 300
    assert centers.max() == pytest.approx(37.5 * 8)  # past where an even spread would end


def test_a_map_of_other_size_is_spread_evenly() -> None:
    level = Level(stride=100, size=30, next_size=60, ratios=())
    centers = pyramid_anchors([level], [(5, 5)], (400, 400), 300, clip=False)[::2, 0] * 400
    assert centers[:5].tolist() == pytest.approx([40, 120, 200, 280, 360])


def test_clipped_anchors_lie_in_the_image() -> None:
    clipped = pyramid_anchors(LEVELS_300["voc"], CELLS_300, (300, 300), 300, clip=True)
    corners = torch.cat(
        [clipped[:, :2] - clipped[:, 2:] / 2, clipped[:, :2] + clipped[:, 2:] / 2], 1
    )
    assert corners.min() >= -1e-6
    assert corners.max() <= 1 + 1e-6


@pytest.mark.parametrize("tables", [LEVELS_300, LEVELS_512], ids=["300", "512"])
def test_each_level_ends_where_the_next_begins(tables: dict[str, tuple[Level, ...]]) -> None:
    for levels in tables.values():
        assert [level.next_size for level in levels[:-1]] == [level.size for level in levels[1:]]


def test_the_squares_of_conv4_3_are_the_papers() -> None:
    sizes = pyramid_anchors(LEVELS_300["voc"], CELLS_300, (300, 300), 300, False)[:2, 2] * 300
    assert sizes.tolist() == pytest.approx([30, math.sqrt(30 * 60)])
