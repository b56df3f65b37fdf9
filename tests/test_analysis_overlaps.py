import pytest
import torch
from splits import random_split
from torchvision.ops import box_iou

from ssd.analysis.overlaps import Boxes, Pairs, claimed, pair_up, preferred
from ssd.ops.precision import DetectionColumns, TruthColumns


def paired(true: TruthColumns, found: DetectionColumns, least: float) -> Pairs:
    crowds = torch.zeros_like(true.difficult)
    return pair_up(Boxes(found.images, found.boxes), Boxes(true.images, true.boxes), crowds, least)


@pytest.mark.parametrize("seed", range(2))
def test_pairs_are_those_of_an_image_that_overlap_enough(seed: int) -> None:
    true, found = random_split(seed)
    iou = box_iou(found.boxes, true.boxes).masked_fill(found.images[:, None] != true.images, 0)
    rows, columns = (iou >= 0.3).nonzero(as_tuple=True)
    pairs = paired(true, found, 0.3)
    assert torch.equal(pairs.detections, rows)
    assert torch.equal(pairs.truths, columns)
    assert torch.allclose(pairs.overlaps, iou[rows, columns])


def test_pairing_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    true, found = random_split(seed=1)
    whole = paired(true, found, 0.1)
    monkeypatch.setattr("ssd.analysis.overlaps.PAIRS", 11)
    for ours, theirs in zip(paired(true, found, 0.1), whole, strict=True):
        assert torch.equal(ours, theirs)


def test_a_crowd_is_overlapped_by_the_share_of_the_detection_that_is_inside() -> None:
    box = torch.tensor([[0.0, 0, 10, 10]])
    half_out = Boxes(torch.tensor([3]), torch.tensor([[-2.0, 0, 2, 10]]))
    pairs = pair_up(half_out, Boxes(torch.tensor([3]), box), torch.tensor([True]), 0.5)
    assert pairs.overlaps.tolist() == [0.5]


def test_boxes_without_area_lie_on_nothing() -> None:
    point = Boxes(torch.tensor([0]), torch.tensor([[5.0, 5, 5, 5]]))
    square = Boxes(torch.tensor([0]), torch.tensor([[0.0, 0, 10, 10]]))
    for others in (point, square):
        assert not len(pair_up(point, others, torch.tensor([False]), 0.1).detections)


@pytest.mark.parametrize("seed", range(5))
def test_who_gets_which_truth_is_as_if_one_after_the_other_chose(seed: int) -> None:
    true, found = random_split(seed)
    pairs = preferred(paired(true, found, 0.1))
    assert len(pairs.detections) > 400  # many want the same
    taken: dict[int, int] = {}
    choices = []
    for detection, truth in zip(pairs.detections.tolist(), pairs.truths.tolist(), strict=True):
        free = true.difficult[truth] or truth not in taken.values()
        choices.append(bool(free and detection not in taken))
        if choices[-1]:
            taken[detection] = truth
    assert claimed(pairs, shared=true.difficult).tolist() == choices
