import json
from collections.abc import Sequence

import pytest
import torch

from ssd.doctor.statistics import describe
from ssd.records import Annotations

Marked = tuple[int, Sequence[float]]  # label, box: xyxy pixels

CLASSES = ["cat", "dog", "owl"]


def annotated(
    images: Sequence[Sequence[Marked]],
    size: tuple[int, int] = (300, 300),
    difficult: Sequence[int] = (),
    crowd: Sequence[int] = (),
) -> Annotations:
    """Annotations of images of one size. difficult, crowd: rows"""
    rows = [row for image in images for row in image]
    counts = torch.tensor([0, *(len(image) for image in images)])
    flags = torch.arange(len(rows))
    crowds = torch.isin(flags, torch.tensor(crowd, dtype=torch.int64))
    return Annotations(
        ids=[f"image{i}" for i in range(len(images))],
        files=[f"image{i}.jpg" for i in range(len(images))],
        sizes=torch.tensor([size] * len(images)).reshape(-1, 2),
        starts=counts.cumsum(0),
        boxes=torch.tensor([box for _, box in rows], dtype=torch.float64).reshape(-1, 4),
        labels=torch.tensor([label for label, _ in rows], dtype=torch.int64),
        difficult=torch.isin(flags, torch.tensor(difficult, dtype=torch.int64)) | crowds,
        crowd=crowds,
    )


def square(x: float, y: float, side: float) -> list[float]:
    """xyxy around a center."""
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def test_images_and_boxes_are_counted_by_class() -> None:
    images = [[(1, square(50, 50, 10)), (1, square(90, 90, 10))], [], [(2, square(50, 50, 10))]]
    found = describe(annotated(images), CLASSES)
    assert (found["images"], found["boxes"], found["empty_images"]) == (3, 3, 1)
    assert found["classes"] == {
        "cat": {"images": 1, "boxes": 2},
        "dog": {"images": 1, "boxes": 1},
        "owl": {"images": 0, "boxes": 0},
    }
    assert found["imbalance"] == {"most": "cat", "least": "owl", "ratio": None}
    assert describe(annotated(images), CLASSES[:2])["imbalance"]["ratio"] == 2
    assert found["boxes_per_image"]["mean"] == 1
    assert found["boxes_per_image"]["most"] == 2


def test_crowds_are_counted_and_are_no_boxes() -> None:
    images = [[(1, square(50, 50, 10)), (1, square(90, 90, 100)), (1, square(80, 80, 10))]]
    found = describe(annotated(images, difficult=[0], crowd=[1]), CLASSES)
    assert (found["boxes"], found["crowds"], found["difficult"]) == (2, 1, 1)
    assert found["sizes"]["pixels"]["most"] == pytest.approx(10)


def test_sizes_are_cocos_and_shares_are_of_the_image() -> None:
    sides = [31, 32, 95, 96, 150]
    images = [[(1, square(150, 150, side)) for side in sides]]
    sizes = describe(annotated(images, size=(600, 150)), CLASSES)["sizes"]
    assert [sizes[name] for name in ("small", "medium", "large")] == [1, 2, 2]
    assert sizes["pixels"]["50%"] == pytest.approx(95)
    assert sizes["share"]["most"] == pytest.approx(150 / 300)  # the image is as large as 300x300


def test_aspect_ratios_are_width_to_height() -> None:
    images = [[(1, [0, 0, 40, 10]), (1, [0, 0, 10, 20])]]
    ratios = describe(annotated(images), CLASSES)["aspect_ratios"]
    assert (ratios["least"], ratios["most"]) == (0.5, 4)


def test_image_sizes_are_listed_by_how_common_they_are() -> None:
    annotations = annotated([[]] * 3)._replace(
        sizes=torch.tensor([[300, 200], [640, 480], [300, 200]])
    )
    found = describe(annotations, CLASSES)["image_sizes"]
    assert found["common"] == [{"size": [300, 200], "images": 2}, {"size": [640, 480], "images": 1}]
    assert (found["distinct"], found["smallest"], found["largest"]) == (2, [300, 200], [640, 480])
    assert found["aspect_ratios"]["most"] == 1.5


def test_the_map_of_centers_has_rows_from_the_top() -> None:
    images = [[(1, square(290, 10, 10)), (1, square(290, 10, 20)), (1, square(10, 290, 10))]]
    centers = describe(annotated(images), CLASSES)["centers"]
    assert centers[0][7] == pytest.approx(2 / 3)
    assert centers[7][0] == pytest.approx(1 / 3)
    assert sum(map(sum, centers)) == pytest.approx(1)


def test_a_box_annotated_twice_is_a_duplicate() -> None:
    box, moved = [100, 100, 200, 200], [102, 100, 202, 200]  # IoU 98 / 102
    images = [[(1, box), (2, box), (1, [100, 100, 210, 200]), (1, moved)], [(1, box)]]
    found = describe(annotated(images), CLASSES)["duplicates"]
    assert found["boxes"] == 1
    assert found["examples"][0]["box"] == moved
    assert found["examples"][0]["iou"] == pytest.approx(98 / 102)


def test_every_repeat_of_a_box_is_a_duplicate_once() -> None:
    torch.manual_seed(0)
    apart = [(1, square(20 * i + 10, 20 * (i % 7) + 10, 18)) for i in range(14)]
    images = [[*apart, *apart[3:6], apart[3]]]
    assert describe(annotated(images), CLASSES)["duplicates"]["boxes"] == 4


@pytest.mark.parametrize("images", [[], [[]]])
def test_nothing_is_described_as_plain_data(images: list) -> None:
    found = describe(annotated(images), CLASSES)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["sizes"]["pixels"]["50%"] is None
