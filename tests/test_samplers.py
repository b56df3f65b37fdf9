import pytest

from ssd.data.samplers import REPEAT, EvaluationSampler, TrainSampler


def stream(epoch: int, seed: int = 0, rank: int = 0, world: int = 1, skip: int = 0) -> list:
    sampler = TrainSampler(images=21, batch_size=4, seed=seed, rank=rank, world_size=world)
    sampler.set_epoch(epoch)
    sampler.skip(skip)
    return list(sampler)


def order(epoch: int, seed: int = 0) -> list[int]:
    return [index for _, index in stream(epoch, seed)]


def test_an_epoch_takes_no_image_twice_and_leaves_out_less_than_a_batch() -> None:
    indices = [index for _, index in stream(epoch=0)]
    assert len(set(indices)) == len(indices) == 20


def test_epochs_and_seeds_differ_and_each_repeats_itself() -> None:
    assert stream(0) == stream(0)
    assert order(0) != order(1)
    assert order(0, seed=0) != order(0, seed=1)


def test_keys_carry_the_epoch() -> None:
    assert {epoch for epoch, _ in stream(epoch=3)} == {3}


@pytest.mark.parametrize("world", [2, 4])
def test_a_global_batch_is_the_same_for_any_number_of_devices(world: int) -> None:
    alone = stream(0)
    shares = [stream(0, rank=rank, world=world) for rank in range(world)]
    each = 4 // world
    for step in range(5):
        together = {key for share in shares for key in share[step * each : (step + 1) * each]}
        assert together == set(alone[step * 4 : (step + 1) * 4])


def test_a_stopped_epoch_goes_on_where_it_was() -> None:
    assert stream(0, skip=8) == stream(0)[8:]


def test_a_skip_counts_for_one_epoch() -> None:
    sampler = TrainSampler(images=8, batch_size=4, seed=0, rank=0, world_size=1)
    sampler.skip(4)
    assert [len(list(sampler)), len(list(sampler))] == [4, 8]


@pytest.mark.parametrize("images", [1, 2, 3, 5, 7, 21])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_evaluation_counts_every_image_once_in_shares_of_one_length(
    images: int, world: int
) -> None:
    shares = [list(EvaluationSampler(images, rank, world)) for rank in range(world)]
    counted = sorted(index for share in shares for index in share if index != REPEAT)
    assert counted == list(range(images))
    assert len({len(share) for share in shares}) == 1
