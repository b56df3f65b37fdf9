import torch

from ssd.ops.mining import hard_negatives


def mined(
    losses: list[float], positive: list[int], ratio: float = 3, minimum: int = 2
) -> list[int]:
    mask = torch.zeros(1, len(losses), dtype=torch.bool)
    mask[0, positive] = True
    found = hard_negatives(torch.tensor([losses], dtype=torch.float32), mask, ratio, minimum)
    return found[0].nonzero().flatten().tolist()


def test_three_negatives_of_the_highest_loss_for_every_positive() -> None:
    assert mined([9, 1, 5, 3, 4, 2], positive=[0]) == [2, 3, 4]


def test_an_image_without_positives_gives_the_minimum() -> None:
    assert mined([1, 3, 2, 0], positive=[]) == [1, 2]


def test_the_minimum_is_for_images_without_positives_alone() -> None:
    assert mined([1, 3, 2, 0], positive=[1], ratio=1, minimum=3) == [2]


def test_no_more_negatives_than_there_are() -> None:
    assert mined([1, 2, 3], positive=[0, 1]) == [2]


def test_positives_are_never_negatives() -> None:
    assert mined([9, 8, 7], positive=[0, 1, 2]) == []


def test_equal_losses_go_to_the_lowest_index() -> None:
    assert mined([1, 1, 1, 1], positive=[], minimum=2) == [0, 1]


def test_each_image_has_its_own_count() -> None:
    positive = torch.tensor([[True, False, False, False, False], [False] * 5])
    found = hard_negatives(torch.rand(2, 5), positive, ratio=3, minimum=1)
    assert found.sum(dim=1).tolist() == [3, 1]
