import numpy as np
import pytest
import torch

from ssd.errors import ConfigError
from ssd.ops.mining import all_negatives, balancap, over_batch, per_image


def mined(
    losses: list[float], positive: list[int], ratio: float = 3, minimum: int = 2
) -> list[int]:
    mask = torch.zeros(1, len(losses), dtype=torch.bool)
    mask[0, positive] = True
    found = per_image(torch.tensor([losses], dtype=torch.float32), mask, ratio, minimum)
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


def test_a_loss_that_is_no_number_is_mined_so_that_it_is_seen() -> None:
    assert 2 in mined([1, 3, torch.nan, 0], positive=[], minimum=1)


@pytest.mark.parametrize("seed", range(5))
def test_the_hardest_are_those_of_a_stable_sort_also_where_losses_are_equal(seed: int) -> None:
    losses, positive = batch(seed, step=0.5)
    found = per_image(losses, positive, ratio=3, minimum=4)
    for image in range(3):
        rest = np.where(positive[image], -np.inf, losses[image])
        count = min(3 * int(positive[image].sum()) or 4, int((~positive[image]).sum()))
        expected = np.argsort(-rest, kind="stable")[:count]
        assert found[image].nonzero().flatten().tolist() == sorted(expected)


def test_each_image_has_its_own_count() -> None:
    positive = torch.tensor([[True, False, False, False, False], [False] * 5])
    found = per_image(torch.rand(2, 5), positive, ratio=3, minimum=1)
    assert found.sum(dim=1).tolist() == [3, 1]


def batch(seed: int, step: float = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses as background and positives of 3 images; rounded to `step`, for ties."""
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(3, 40, generator=generator) * 5
    if step:
        losses = (losses / step).round() * step
    return losses, torch.rand(3, 40, generator=generator) < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_over_the_batch_the_hardest_of_all_images_are_taken(seed: int) -> None:
    losses, positive = batch(seed)
    flat = np.where(positive.flatten(), -np.inf, losses.flatten())
    hardest = np.argsort(-flat, kind="stable")[: int(2.5 * positive.sum())]
    found = over_batch(losses, positive, ratio=2.5, minimum=3)
    assert found.flatten().nonzero().flatten().tolist() == sorted(hardest)


def test_a_batch_without_positives_gives_the_minimum_once() -> None:
    losses, positive = torch.rand(3, 40), torch.zeros(3, 40, dtype=torch.bool)
    assert over_batch(losses, positive, ratio=3, minimum=4).sum() == 4


def test_without_mining_all_that_is_not_positive_is_negative() -> None:
    losses, positive = batch(0)
    assert torch.equal(all_negatives(losses, positive), ~positive)


def tensorflow_rule(background: np.ndarray, positive: np.ndarray, ratio: float) -> np.ndarray:
    """balancap/SSD-Tensorflow's ssd_losses in NumPy, line by line."""
    values = np.where(positive, np.float32(1), background).flatten()
    count = min(int(ratio * positive.sum()) + len(background), int((~positive).sum()))
    threshold = np.sort(values)[count - 1]
    return ~positive & (background < threshold)


@pytest.mark.parametrize("step", [0, 0.25], ids=["distinct", "ties"])
@pytest.mark.parametrize("seed", range(5))
def test_balancaps_negatives_lie_below_the_last_one_counted(seed: int, step: float) -> None:
    losses, positive = batch(seed, step)
    expected = tensorflow_rule(torch.exp(-losses).numpy(), positive.numpy(), 3)
    assert 0 < expected.sum() < 3 * positive.sum() + 3
    assert balancap(losses, positive, ratio=3).tolist() == expected.tolist()


def test_balancaps_last_one_counted_and_its_equals_drop() -> None:
    losses = torch.tensor([[4.0, 3, 2, 2, 1]])
    found = balancap(losses, torch.tensor([[True, False, False, False, False]]), ratio=1)
    assert found.tolist() == [[False, True, False, False, False]]  # 1 * 1 + 1 = 2 counted


def test_a_batch_without_positives_teaches_balancap_one_an_image_less_one() -> None:
    losses, positive = torch.rand(3, 40), torch.zeros(3, 40, dtype=torch.bool)
    assert balancap(losses, positive, ratio=3).sum() == 2


@pytest.mark.parametrize("images", [0, 2])
def test_balancap_finds_no_negatives_where_there_are_none(images: int) -> None:
    positive = torch.ones(images, 5, dtype=torch.bool)
    assert not balancap(torch.rand(images, 5), positive, ratio=3).any()


def test_counts_below_nothing_are_refused() -> None:
    losses, positive = batch(0)
    with pytest.raises(ConfigError, match=r"loss\.mining\.ratio=-1: give 0 or more"):
        balancap(losses, positive, ratio=-1)
    with pytest.raises(ConfigError, match=r"loss\.mining\.minimum=-2"):
        over_batch(losses, positive, ratio=3, minimum=-2)
