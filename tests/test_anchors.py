import math
from collections.abc import Callable

import pytest
import torch
from networks import make_network
from torchvision.models.detection import ssd300_vgg16 as torchvision_ssd
from torchvision.models.detection.image_list import ImageList

from ssd.models.levels import Levels
from ssd.models.ssd import feature_shapes
from ssd.models.vgg import levels_300, levels_512
from ssd.ops.anchors import Level, pyramid_anchors
from ssd.ops.boxes import to_cxcywh

CELLS_300 = [(side, side) for side in (38, 19, 10, 5, 3, 1)]
SQUARE = Level(stride=10, size=10, next_size=40, ratios=(4.0,))


def anchors_of(level: Level, cells: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    return pyramid_anchors([level], [cells], size, reference=40, clip="never")


@pytest.mark.parametrize("sizes", ["voc", "hellcat_tf"])
def test_ssd300_has_the_papers_8732_anchors(sizes: str) -> None:
    assert make_network("ssd300_vgg16", anchor_sizes=sizes).anchors.shape == (8732, 4)


def test_ssd512_has_the_papers_24564_anchors() -> None:
    assert make_network("ssd512_vgg16").anchors.shape == (24564, 4)


@pytest.mark.parametrize("clip", ["never", "sides"])
def test_ssd300_anchors_equal_torchvisions_with_the_same_sizes(clip: str) -> None:
    theirs = torchvision_ssd(weights=None, weights_backbone=None).anchor_generator
    theirs.clip = clip == "sides"
    images = ImageList(torch.zeros(1, 3, 300, 300), [(300, 300)])
    maps = [torch.zeros(1, 1, *cells) for cells in CELLS_300]
    corners = theirs(images, maps)[0] / 300
    ours = pyramid_anchors(levels_300("coco"), CELLS_300, (300, 300), 300, clip)
    torch.testing.assert_close(ours, to_cxcywh(corners), atol=1e-6, rtol=0)


def test_sides_are_limited_wherever_the_anchor_lies() -> None:
    level = Level(stride=20, size=60, next_size=60, ratios=())
    found = pyramid_anchors([level], [(2, 4)], (40, 80), 40, clip="sides")[::2]
    assert found[0].tolist() == pytest.approx([10 / 80, 10 / 40, 60 / 80, 1])


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
    centers = pyramid_anchors([level], [(38, 38)], (300, 300), 300, clip="never")[:, 0] * 300
    assert centers.max() == pytest.approx(37.5 * 8)  # past where an even spread would end


def test_a_map_of_other_size_is_spread_evenly() -> None:
    level = Level(stride=100, size=30, next_size=60, ratios=())
    centers = pyramid_anchors([level], [(5, 5)], (400, 400), 300, clip="never")[::2, 0] * 400
    assert centers[:5].tolist() == pytest.approx([40, 120, 200, 280, 360])


def test_clipped_anchors_lie_in_the_image() -> None:
    clipped = pyramid_anchors(levels_300("voc"), CELLS_300, (300, 300), 300, clip="border")
    corners = torch.cat(
        [clipped[:, :2] - clipped[:, 2:] / 2, clipped[:, :2] + clipped[:, 2:] / 2], 1
    )
    assert corners.min() >= -1e-6
    assert corners.max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("table", "sizes", "expected"),
    [
        (levels_300, "voc", [30, 60, 111, 162, 213, 264, 315]),
        (levels_300, "coco", [21, 45, 99, 153, 207, 261, 315]),
        (levels_512, "voc", [35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6]),
        (levels_512, "coco", [20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72]),
    ],
)
def test_the_sizes_are_those_of_the_caffe_code(
    table: Callable[[str], Levels], sizes: str, expected: list[float]
) -> None:
    levels = table(sizes)
    assert [level.size for level in levels] == pytest.approx(expected[:-1])
    assert [level.next_size for level in levels] == pytest.approx(expected[1:])


@pytest.mark.parametrize("clip", ["never", "center_and_sides"])
def test_all_four_numbers_are_clamped_where_asked(clip: str) -> None:
    anchors = pyramid_anchors(levels_300("voc"), CELLS_300, (300, 300), 300, clip)
    free = pyramid_anchors(levels_300("voc"), CELLS_300, (300, 300), 300, "never")
    assert free[:, :2].max() > 1 < free[:, 2:].max()  # else it shows nothing
    torch.testing.assert_close(anchors, free if clip == "never" else free.clamp(0, 1))


def test_the_squares_of_conv4_3_are_the_papers() -> None:
    sizes = pyramid_anchors(levels_300("voc"), CELLS_300, (300, 300), 300, "never")[:2, 2] * 300
    assert sizes.tolist() == pytest.approx([30, math.sqrt(30 * 60)])


def test_the_tensorflow_port_gives_every_level_the_long_sides_of_the_first_four() -> None:
    coco, port = (
        pyramid_anchors(levels_300(sizes), CELLS_300, (300, 300), 300, clip="never")
        for sizes in ("coco", "hellcat_tf")
    )
    fc7 = slice(38 * 38 * 4, 38 * 38 * 4 + 6)  # the anchors of its first cell
    assert torch.equal(port[fc7][:2], coco[fc7][:2])  # the squares are right
    ratios = torch.tensor([2, 1 / 2, 3, 1 / 3])
    sizes = torch.tensor([21, 45, 99, 153]) / 300
    expected = torch.stack([sizes * ratios.sqrt(), sizes / ratios.sqrt()], dim=1)
    torch.testing.assert_close(port[fc7][2:, 2:], expected)
    torch.testing.assert_close(port[-2:, 2:], expected[:2])  # also on the level of 261 pixels
    assert torch.equal(port[:, :2], coco[:, :2])


def test_the_mxnet_port_has_6792_anchors_and_none_of_ratio_2() -> None:
    anchors = make_network("ssd300_vgg16", image_size=304, anchor_sizes="hellcat_mxnet").anchors
    assert anchors.shape == (6792, 4)
    ratios = (anchors[:, 2] / anchors[:, 3]).unique()
    found = {round(float(ratio), 4) for ratio in ratios}
    assert found == {1, 0.5, 3, 0.3333}


def test_the_mxnet_ports_cells_are_spread_evenly() -> None:
    levels = levels_300("hellcat_mxnet")
    anchors = pyramid_anchors(levels, CELLS_300, (304, 304), 300, clip="never")
    conv8_2 = anchors[38 * 38 * 3 + 19 * 19 * 5 :][:500]
    wide, tall = 99 / 300 * math.sqrt(3), 99 / 300 / math.sqrt(3)
    sizes = [
        [99 / 300] * 2,
        [153 / 300] * 2,
        [0.33 / 2**0.5, 0.33 * 2**0.5],
        [wide, tall],
        [tall, wide],
    ]
    torch.testing.assert_close(conv8_2[:5, 2:], torch.tensor(sizes))
    assert conv8_2[:50:5, 0].tolist() == pytest.approx([(i + 0.5) / 10 for i in range(10)])
    assert anchors[-3:, 2].tolist() == pytest.approx([0.87, 290 / 300, 0.87 / math.sqrt(2)])


def test_ssd300_has_the_ports_maps_at_304_pixels() -> None:
    features = make_network("ssd300_vgg16").features
    sides = [height for _, height, _ in feature_shapes(features, (304, 304))]
    assert sides == [38, 19, 10, 5, 3, 1]
