"""The anchors of a pyramid from a few numbers, as the Caffe code's ssd_pascal.py makes them."""

from collections.abc import Sequence

from ssd.errors import ConfigError
from ssd.ops.anchors import Level, ShapedLevel

Levels = Sequence[Level] | Sequence[ShapedLevel]

FEW, MANY = (2.0,), (2.0, 3.0)  # aspect ratios


def spread_sizes(side: int, first: int, low: int, high: int, levels: int) -> list[float]:
    """The sizes of all levels and the next one, in pixels: the first, then from low to high in even
    steps. All three in per cent of the side, the steps in whole ones."""
    step = (high - low) // max(1, levels - 2)
    return [side * percent / 100 for percent in (first, *range(low, low + levels * step, step))]


def make_levels(
    strides: Sequence[float | None],
    sizes: Sequence[float],
    ratios: Sequence[tuple[float, ...]],
) -> list[Level]:
    """One `Level` for each stride. sizes: one more than there are strides."""
    if len(sizes) != len(strides) + 1 or not all(is_size(size) for size in sizes):
        raise ConfigError(
            f"model.anchor_sizes={list(sizes)}: give {len(strides) + 1} sizes of at least a pixel, "
            f"one for each of the {len(strides)} levels and one beyond"
        )
    rows = zip(strides, sizes[:-1], sizes[1:], ratios, strict=True)
    return [Level(stride, size, next_size, shapes) for stride, size, next_size, shapes in rows]


def is_size(size: object) -> bool:
    return isinstance(size, int | float) and size >= 1


def chosen_sizes(
    anchor_sizes: str | Sequence[float], tables: dict[str, Sequence[float]], *others: str
) -> Sequence[float]:
    """The sizes of a table by its name, or those given. others: names that are known besides"""
    if not isinstance(anchor_sizes, str | Sequence):
        raise ConfigError(
            f"model.anchor_sizes={anchor_sizes}: give {' or '.join(tables)}, or a list of sizes"
        )
    if isinstance(anchor_sizes, str):
        if anchor_sizes not in tables:
            known = (*tables, *others, "a list of sizes in pixels")
            check_choice("anchor_sizes", anchor_sizes, known)
        return tables[anchor_sizes]
    return anchor_sizes


def with_finer(levels: Levels, number: int) -> Levels:
    """Levels before the first, each of half the stride and half the size of the next."""
    for _ in range(number):
        first = levels[0]
        if not isinstance(first, Level):
            raise ConfigError("model.finer_levels: the anchors of the ports have none; give 0")
        stride = first.stride and first.stride / 2
        levels = [Level(stride, first.size / 2, first.size, first.ratios), *levels]
    return levels


def with_ratios(levels: Levels, ratios: Sequence[float]) -> list[Level]:
    """The same levels with other ratios."""
    if not all(isinstance(level, Level) for level in levels):
        raise ConfigError("model.anchor_ratios: the anchors of the ports have their own; give null")
    if any(ratio <= 0 or ratio == 1 for ratio in ratios) or len(set(ratios)) < len(ratios):
        raise ConfigError(
            f"model.anchor_ratios={list(ratios)}: give widths to heights above 0 and other than 1, "
            "each once; their inverses come by themselves"
        )
    return [level._replace(ratios=tuple(ratios)) for level in levels]


def check_choice(key: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        raise ConfigError(f"model.{key}={value}: give one of {', '.join(map(str, known))}")
