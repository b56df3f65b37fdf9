"""Splits that no file names: which images are held out, and what it would take to move them."""

import random
from collections.abc import Mapping, Sequence

import pytest

from ssd.data.columns import Columns, Object, Records
from ssd.data.dividing import FEWEST, SHARE, held_out

Images = Mapping[str, Sequence[str]]  # the classes of each


def records(images: Images) -> Records:
    columns = Columns()
    for id, names in images.items():
        columns.add(id, id, (60, 40), [Object(name, (0, 0, 5, 5)) for name in names])
    return columns.close()


def held(images: Images, stage: str = "val") -> set[str]:
    return {id for id, out in zip(images, held_out(records(images), stage), strict=True) if out}


def many(front: str, count: int, *names: str) -> dict[str, Sequence[str]]:
    return {f"{front}{number}": names for number in range(count)}


def some(front: str, count: int, rng: random.Random) -> dict[str, Sequence[str]]:
    return {f"{front}{n}": rng.choices("abcdef", k=rng.randrange(4)) for n in range(count)}


def holding(images: Images, name: str) -> set[str]:
    return {id for id, names in images.items() if name in names}


def test_each_class_gives_a_tenth_give_or_take_what_chance_gives() -> None:
    images = many("a", 2000, "a") | many("b", 1000, "a", "b") | many("empty", 1000)
    out = held(images)
    for front, count in (("a", 2000), ("b", 1000), ("empty", 1000)):
        share = sum(id.startswith(front) for id in out)
        deviation = (count * 0.1 * 0.9) ** 0.5
        assert abs(share - count / SHARE) < 4 * deviation


def test_the_order_of_images_decides_nothing() -> None:
    rng = random.Random(0)
    tied = many("both", 4, "a", "b") | many("a", 3, "a") | many("b", 3, "b")
    for images in (tied, some("i", 40, rng)):
        for _ in range(20):
            order = rng.sample(list(images), len(images))
            assert held({id: images[id] for id in order}) == held(images)


def test_images_that_are_added_move_none_where_each_class_has_some() -> None:
    rng = random.Random(0)
    before = some("i", 300, rng)
    after = before | some("new", 30, rng)
    assert held(after) & before.keys() == held(before)
    assert held(after) - before.keys()


def test_images_that_are_added_move_hardly_any_where_classes_have_few() -> None:
    moved = 0
    for seed in range(200):
        rng = random.Random(seed)
        before = some(f"{seed}/", 20, rng)
        after = before | some(f"{seed}/new", 2, rng)
        moved += len(held(before) ^ (held(after) & before.keys()))
    assert moved < 0.03 * 200 * 20


@pytest.mark.parametrize("seed", range(30))
def test_no_class_of_some_images_is_absent_from_either_side(seed: int) -> None:
    images = {f"{seed}/{id}": n for id, n in (many("a", 40, "a") | many("b", FEWEST, "b")).items()}
    out = held(images)
    for name in "ab":
        assert out & holding(images, name)
        assert holding(images, name) - out


@pytest.mark.parametrize("seed", range(30))
def test_the_only_image_of_a_class_stays_for_training(seed: int) -> None:
    images = many(f"{seed}/", 30, "a") | {f"{seed}/rare": ("b",)}
    assert f"{seed}/rare" not in held(images)


@pytest.mark.parametrize("seed", range(30))
def test_of_few_images_one_is_held_out(seed: int) -> None:
    images = {f"{seed}/{n}": (f"class{n % 3}",) for n in range(FEWEST)}
    assert 1 <= len(held(images)) < len(images)


def test_what_one_stage_leaves_the_other_takes_a_tenth_of() -> None:
    images = many("a", 2000, "a")
    left = {id: images[id] for id in images.keys() - held(images, "test")}
    assert 130 < len(held(left, "val")) < 230


def test_no_images_are_divided_into_none() -> None:
    assert held_out(records({}), "val").tolist() == []
