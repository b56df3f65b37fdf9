import pytest
import torch
from torch import Tensor
from torchvision import ops
from torchvision.models.detection._utils import SSDMatcher

from ssd.ops import matching
from ssd.ops.boxes import pairwise_iou, to_cxcywh, to_xyxy
from ssd.ops.matching import (
    UNMATCHED,
    greedy_without_waiting,
    match,
    nearest,
    nearest_without_waiting,
)

ANCHORS = to_cxcywh(torch.tensor([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0.5, 0, 1, 0.5]]))


def match_one(boxes: list[list[float]], anchors: Tensor = ANCHORS) -> list[int]:
    truths = torch.tensor(boxes).reshape(1, -1, 4)
    valid = torch.ones(truths.shape[:2], dtype=torch.bool)
    return match(truths, valid, anchors, iou_threshold=0.5, own_anchors=True)[0].tolist()


def greedy(boxes: Tensor, anchors: Tensor, threshold: float) -> list[int]:
    """The rule in words, one image and one pair at a time."""
    iou = ops.box_iou(boxes, to_xyxy(anchors))
    matches = [UNMATCHED] * len(anchors)
    for anchor in range(len(anchors)):
        best = max(range(len(boxes)), key=lambda box: (iou[box, anchor], -box))
        if iou[best, anchor] >= threshold:
            matches[anchor] = best
    pairs = [(-iou[b, a].item(), b, a) for b in range(len(boxes)) for a in range(len(anchors))]
    boxes_left, anchors_left = set(range(len(boxes))), set(range(len(anchors)))
    for negative, box, anchor in sorted(pairs):
        if negative < 0 and box in boxes_left and anchor in anchors_left:
            matches[anchor] = box
            boxes_left.remove(box)
            anchors_left.remove(anchor)
    return matches


def test_a_small_box_keeps_its_best_anchor_below_the_threshold() -> None:
    assert match_one([[0.6, 0.6, 0.7, 0.7]]) == [UNMATCHED, 0, UNMATCHED]


def test_two_objects_that_share_their_best_anchor_both_keep_one() -> None:
    matches = match_one([[0.5, 0.45, 0.95, 0.95], [0.5, 0.5, 1, 1]])
    assert matches[1] == 1
    assert 0 in matches


def test_an_anchor_takes_the_box_that_it_overlaps_most() -> None:
    anchors = to_cxcywh(torch.tensor([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.52], [0.2, 0.2, 0.7, 0.7]]))
    assert match_one([[0.2, 0.2, 0.7, 0.7], [0, 0, 0.5, 0.5]], anchors) == [1, 1, 0]


def test_an_overlap_equal_to_the_threshold_matches() -> None:
    anchors = to_cxcywh(torch.tensor([[0, 0, 1, 1], [0, 0, 0.5, 1]]))
    assert match_one([[0, 0, 1, 1]], anchors) == [0, 0]


def test_ties_go_to_the_lowest_index() -> None:
    anchors = ANCHORS[:1].repeat(4, 1)
    assert match_one([[0, 0, 0.2, 0.2]] * 3, anchors) == [0, 1, 2, UNMATCHED]


def test_padding_never_matches() -> None:
    boxes = torch.tensor([[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]])
    matches = match(boxes, torch.tensor([[True, False]]), ANCHORS, 0.5, own_anchors=True)
    assert matches.tolist() == [[0, UNMATCHED, UNMATCHED]]


@pytest.mark.parametrize("truths", [0, 3])
def test_an_image_without_objects_is_all_background(truths: int) -> None:
    boxes, valid = torch.zeros(2, truths, 4), torch.zeros(2, truths, dtype=torch.bool)
    assert (match(boxes, valid, ANCHORS, 0.5, own_anchors=True) == UNMATCHED).all()


def test_without_anchors_of_their_own_the_threshold_alone_decides() -> None:
    torch.manual_seed(0)
    boxes = torch.rand(2, 12, 2, 2).sort(dim=2).values.flatten(2)
    corners = torch.rand(200, 2, 2).sort(dim=1).values.flatten(1)
    valid = torch.arange(12).expand(2, 12) < torch.tensor([[12], [7]])
    found = match(boxes, valid, to_cxcywh(corners), 0.5, own_anchors=False)
    for image in range(2):
        iou, best = ops.box_iou(boxes[image][valid[image]], corners).max(dim=0)
        assert found[image].tolist() == best.where(iou >= 0.5, UNMATCHED).tolist()


def test_a_small_box_without_an_anchor_of_its_own_has_none() -> None:
    tiny, valid = torch.tensor([[[0.6, 0.6, 0.7, 0.7]]]), torch.tensor([[True]])
    assert (match(tiny, valid, ANCHORS, 0.5, own_anchors=False) == UNMATCHED).all()


def test_a_box_that_overlaps_no_anchor_gets_none() -> None:
    assert match_one([[0.1, 0.6, 0.2, 0.7]]) == [UNMATCHED] * 3


@pytest.mark.parametrize("seed", range(20))
def test_batches_equal_the_greedy_rule_pair_by_pair(seed: int) -> None:
    torch.manual_seed(seed)
    # a coarse grid makes ties and shared best anchors frequent
    grid = (torch.rand(3, 12, 2, 2) * 6).round() / 6
    boxes = grid.sort(dim=2).values.flatten(2) + torch.tensor([0, 0, 0.125, 0.125])
    corners = ((torch.rand(40, 2, 2) * 6).round() / 6).sort(dim=1).values.flatten(1)
    anchors = to_cxcywh(corners + torch.tensor([0, 0, 0.125, 0.125]))
    valid = torch.ones(3, 12, dtype=torch.bool)
    ours = match(boxes, valid, anchors, 0.5, own_anchors=True)
    assert ours.tolist() == [greedy(image, anchors, 0.5) for image in boxes]


def test_where_no_anchor_is_shared_matches_equal_torchvisions() -> None:
    torch.manual_seed(0)
    boxes = torch.tensor([[0.1, 0.1, 0.3, 0.3], [0.6, 0.5, 0.9, 0.95], [0.2, 0.6, 0.5, 0.8]])
    corners = torch.rand(500, 2, 2).sort(dim=1).values.flatten(1)
    theirs = SSDMatcher(0.5)(ops.box_iou(boxes, corners))
    assert match_one(boxes.tolist(), to_cxcywh(corners)) == theirs.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_a_fixed_number_of_rounds_gives_every_box_the_anchor_of_the_greedy_choice(
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(3, 12, 2, generator=generator) * 0.3  # crowded, so that many share their best
    boxes = torch.cat([low, low + 0.2], dim=2)
    boxes[:, 9:] = boxes[:, :3]  # and some are equal
    anchors = low.new_tensor(
        [[x / 4, y / 4, x / 4 + 0.25, y / 4 + 0.25] for x in range(4) for y in range(4)]
    )
    iou = pairwise_iou(boxes, anchors)
    asked, owned = greedy_without_waiting(iou)
    expected, expected_owned = matching.greedy(iou.clone())
    assert torch.equal(owned, expected_owned)
    assert not owned.all()
    assert torch.equal(asked[owned], expected[owned])


def test_more_boxes_than_anchors_leave_boxes_without_one() -> None:
    iou = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(0))
    asked, owned = greedy_without_waiting(iou)
    assert owned.sum(dim=1).tolist() == [3, 3]
    assert all(sorted(asked[image][owned[image]].tolist()) == [0, 1, 2] for image in range(2))


def test_many_images_match_as_each_does_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(40, 30, 2, generator=generator) * 0.7
    boxes = torch.cat([low, low + 0.05 + 0.25 * torch.rand(40, 30, 2, generator=generator)], dim=2)
    valid = torch.arange(30) < torch.arange(40).unsqueeze(1)
    anchors = torch.rand(2000, 4, generator=generator) * 0.5 + 0.05
    assert 40 * 30 * len(anchors) > 2 * matching.CACHE
    together = match(boxes, valid, anchors, 0.5, own_anchors=True)
    alone = [
        match(boxes[i : i + 1], valid[i : i + 1], anchors, 0.5, own_anchors=True) for i in range(40)
    ]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("threshold", [0.5, 0.75, 0.875])
def test_the_nearest_box_of_an_anchor_is_the_same_in_both_forms(threshold: float) -> None:
    iou = torch.rand(3, 7, 200, generator=torch.Generator().manual_seed(0)).mul(8).floor() / 8
    found = nearest(iou, threshold)
    assert torch.equal(found, nearest_without_waiting(iou, threshold))
    assert (found == UNMATCHED).any()


def test_a_chain_of_refusals_ends_as_the_greedy_choice_does() -> None:
    iou = torch.tensor([[1, 0, 0, 0], [0.9, 0.8, 0, 0], [0.6, 0.7, 0.5, 0], [0.3, 0.35, 0.4, 0.2]])
    asked, owned = greedy_without_waiting(iou.unsqueeze(0))
    assert owned.all()
    assert asked.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("seed", range(20))
def test_long_chains_of_refusals_end_as_the_greedy_choice_does(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    columns = torch.rand(4, 1, 14, generator=generator)  # all boxes rank the anchors nearly alike
    iou = columns + 0.1 * torch.rand(4, 12, 14, generator=generator)
    iou = (iou * 20).floor() / 20
    asked, owned = greedy_without_waiting(iou)
    expected, expected_owned = matching.greedy(iou.clone())
    assert torch.equal(owned, expected_owned)
    assert torch.equal(asked[owned], expected[owned])
