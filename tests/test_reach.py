import json

import numpy as np
import pytest
import torch
from test_statistics import CLASSES, annotated, square
from torch import Tensor
from torchvision import ops

from ssd.data.dataset import DetectionDataset
from ssd.doctor.reach import reach
from ssd.ops.boxes import to_xyxy
from ssd.ops.matching import UNMATCHED, match
from ssd.records import Annotations

INPUT = (300, 300)


def anchors(*squares: tuple[float, float, float]) -> Tensor:
    """(A, 4) cxcywh of squares: x, y, side in pixels of an input of 300."""
    return torch.tensor([[x, y, side, side] for x, y, side in squares]) / 300


def reached(annotations: Annotations, boxes: Tensor, **changes: object) -> dict:
    settings = {"iou_threshold": 0.5, "own_anchors": True, "train_difficult": True}
    return reach(annotations, CLASSES, boxes, INPUT, **{**settings, **changes})


def test_recall_is_the_share_of_boxes_that_an_anchor_overlaps_by_the_threshold() -> None:
    sides = [100, 80, 70, 50]  # IoU with the anchor: 1, 0.64, 0.49, 0.25
    images = [[(1, square(150, 150, side))] for side in sides]
    found = reached(annotated(images), anchors((150, 150, 100)))
    assert found["recall"] == 0.5
    assert found["mean_best_iou"] == pytest.approx((1 + 0.64 + 0.49 + 0.25) / 4)
    assert found["unreached"] == 2
    assert [one["image"] for one in found["worst"]] == ["image3", "image2"]
    assert found["worst"][0]["best_iou"] == pytest.approx(0.25)
    assert found["worst"][0]["box"] == square(150, 150, 50)


def test_boxes_are_rated_by_class_and_by_size() -> None:
    images = [[(1, square(150, 150, 100)), (2, square(150, 150, 30)), (2, square(50, 50, 100))]]
    found = reached(annotated(images), anchors((150, 150, 100)))
    assert found["by_class"]["cat"] == {"boxes": 1, "recall": 1, "mean_best_iou": pytest.approx(1)}
    assert found["by_class"]["dog"]["recall"] == 0
    assert found["by_class"]["owl"] == {"boxes": 0, "recall": None, "mean_best_iou": None}
    assert found["by_size"]["small"]["boxes"] == 1
    assert found["by_size"]["large"]["recall"] == 0.5


def test_sizes_at_the_input_are_those_after_resizing() -> None:
    images = [[(1, [0, 0, 100, 50])]]
    found = reached(annotated(images, size=(600, 150)), anchors((25, 50, 50)))
    assert found["input_sizes"]["50%"] == pytest.approx((50 * 100) ** 0.5)
    assert found["by_size"]["medium"]["boxes"] == found["by_input_size"]["medium"]["boxes"] == 1
    assert found["best_iou"]["most"] == pytest.approx(0.5)
    assert found["smallest_anchor"] == pytest.approx(50)


def test_without_anchors_of_their_own_small_boxes_go_unmatched() -> None:
    images = [[(1, square(150, 150, 50))], [(1, square(150, 150, 100))]]
    both = anchors((150, 150, 100), (150, 150, 90))
    assert reached(annotated(images), both)["unmatched"] == 0
    found = reached(annotated(images), both, own_anchors=False)
    assert found["unmatched"] == 1
    assert (found["positives_per_image"]["least"], found["positives_per_image"]["most"]) == (0, 2)


def test_objects_that_training_leaves_out_are_left_out() -> None:
    images = [[(1, square(150, 150, side)) for side in (100, 90, 80)]]
    annotations = annotated(images, difficult=[1], crowd=[2])
    one = anchors((150, 150, 100))
    assert reached(annotations, one)["boxes"] == 2
    assert reached(annotations, one, train_difficult=False)["boxes"] == 1


def random_annotations(seed: int, images: int) -> Annotations:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 200, (images, 9, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 100, low.shape)], axis=2)
    counts = rng.integers(0, 10, images)
    return annotated(
        [
            [(1 + i % 3, box.tolist()) for i, box in enumerate(image[:count])]
            for image, count in zip(boxes, counts, strict=True)
        ],
        size=(300, 320),
    )


def test_images_together_are_what_training_matches_one_by_one() -> None:
    annotations = random_annotations(0, images=30)
    torch.manual_seed(0)
    corners = torch.rand(200, 2, 2).sort(dim=1).values.flatten(1)
    boxes = ops.box_convert(corners, "xyxy", "cxcywh")
    dataset = DetectionDataset(annotations, INPUT, None, True, False, seed=0)
    positives, best = [], []
    for index in range(len(dataset)):
        truths = torch.from_numpy(placed(dataset, index))
        valid = torch.ones(1, len(truths), dtype=torch.bool)
        positives.append((match(truths[None], valid, boxes, 0.5, True) != UNMATCHED).sum().item())
        best += ops.box_iou(truths, to_xyxy(boxes)).amax(dim=1).tolist() if len(truths) else []
    found = reached(annotations, boxes)
    assert found["positives_per_image"]["mean"] == pytest.approx(np.mean(positives))
    assert found["positives_per_image"]["most"] == max(positives)
    assert found["positives_per_box"]["mean"] == pytest.approx(sum(positives) / len(best))
    assert found["mean_best_iou"] == pytest.approx(np.mean(best))
    assert found["recall"] == np.mean(np.array(best) >= 0.5)


def placed(dataset: DetectionDataset, index: int) -> np.ndarray:
    boxes, _, _ = dataset.objects(index)
    return (boxes / np.tile(dataset.annotations.sizes[index].numpy(), 2)).astype(np.float32)


@pytest.mark.parametrize("images", [[], [[]]])
def test_a_split_without_boxes_is_plain_data_too(images: list) -> None:
    found = reached(annotated(images), anchors((150, 150, 100)))
    assert found["recall"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found
