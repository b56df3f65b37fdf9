"""Anchor sizes and ratios that fit a data set, within SSD's grid: levels and their cells stay.

Of anchors with the same shape, the one whose center is nearest to a box's, across and down,
overlaps it most. So the best IoU of a box with all cells of a level takes one anchor a shape, and
thousands of pyramids can be tried in seconds. What is reported is measured with all anchors.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ssd.doctor.reach import Truths, reach, trained_truths
from ssd.errors import ConfigError
from ssd.models import SSD
from ssd.models.levels import with_finer, with_ratios
from ssd.ops.anchors import Level, Pyramid, grid, pyramid_anchors
from ssd.records import Annotations

MOST_BOXES = 4000  # that the search looks at, drawn from all
LOWEST, HIGHEST = 1 / 4, 2  # of its own size, that of a level may become: it sees only so far
STEPS = (1.5, 1.2, 1.1, 1.05, 1.02)  # factors that are tried on a size, in turn
RESTARTS, SHAKE = 6, 0.25  # further starts: the best sizes, each times exp of normal noise
STAY = 0.02  # what a change of all sizes by a factor of e must gain: those that don't matter stay
WORTH = 0.005  # of recall and mean IoU together: less is not worth other anchors
LONGER = 0.01  # of recall: what other ratios must gain
RATIOS = ((2.0,), (3.0,), (2.0, 3.0), (2.0, 4.0), (2.0, 3.0, 5.0), (1.5, 2.0, 3.0, 5.0))

Sizes = tuple[float, ...]  # of each level, and one beyond, pixels of the pyramid's reference


class Fit(NamedTuple):
    """Anchors that suit a data set better than a network's own."""

    override: str  # what to type; empty where nothing better was found
    sizes: list[float]  # pixels of the input that the network's table is written for
    ratios: list[float] | None  # None: the network's own
    before: dict[str, Any]  # as of `reach`
    after: dict[str, Any]


def fit(
    annotations: Annotations,
    classes: Sequence[str],
    network: SSD,
    finer_levels: int,
    iou_threshold: float,
    own_anchors: bool,
    train_difficult: bool,
) -> Fit:
    """The best sizes found for the objects of a split, then the ratios that these need. The same
    data give the same anchors.

    finer_levels: how many of the network's levels follow from the first of `model.anchor_sizes`;
    the rest: see `reach.reach`
    """
    pyramid = network.pyramid
    own = own_sizes(pyramid, finer_levels)
    truths = sample(trained_truths(annotations, pyramid.image_size, train_difficult))
    if not len(truths.boxes):
        raise ValueError("fit=true: there is no box to fit anchors to")
    trial = Trial(truths, pyramid, finer_levels, iou_threshold)
    sizes = search(own, quantile_sizes(truths, pyramid, own), trial.score)
    better = trial.score(sizes) > trial.score(own) + WORTH
    chosen = sizes if better else own

    def measured(anchors: Tensor) -> dict[str, Any]:
        threshold = (iou_threshold, own_anchors, train_difficult)
        return reach(annotations, classes, anchors, pyramid.image_size, *threshold)

    before = measured(network.anchors)
    fitted = pyramid._replace(levels=resized(pyramid.levels, chosen, finer_levels))
    ratios = longer_ratios(truths, fitted, iou_threshold)
    overrides = [override("anchor_sizes", sizes)] if better else []
    if ratios is not None:
        fitted = fitted._replace(levels=with_ratios(fitted.levels, ratios))
        overrides.append(override("anchor_ratios", ratios))
    return Fit(
        override=" ".join(overrides),
        sizes=list(chosen),
        ratios=None if ratios is None else list(ratios),
        before=before,
        after=measured(pyramid_anchors(*fitted)) if overrides else before,
    )


def override(key: str, numbers: Sequence[float]) -> str:
    return f"model.{key}=[{','.join(f'{number:g}' for number in numbers)}]"


def own_sizes(pyramid: Pyramid, finer_levels: int) -> Sizes:
    """A network's sizes, as `model.anchor_sizes` would give them."""
    levels = pyramid.levels[finer_levels:]
    if not all(isinstance(level, Level) for level in levels):
        raise ConfigError(
            "fit=true: the anchors of the ports do not follow from sizes; type "
            "model.anchor_sizes=voc"
        )
    return *(level.size for level in levels), levels[-1].next_size


def resized(levels: Sequence[Level], sizes: Sizes, finer_levels: int) -> Sequence[Level]:
    """A network's levels with other sizes, as the network makes them of `model.anchor_sizes`."""
    pairs = zip(levels[finer_levels:], sizes[:-1], sizes[1:], strict=True)
    base = [level._replace(size=size, next_size=beyond) for level, size, beyond in pairs]
    return with_finer(base, finer_levels)


def sample(truths: Truths) -> Truths:
    """At most MOST_BOXES of them, always the same."""
    if len(truths.boxes) <= MOST_BOXES:
        return truths
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(truths.boxes), MOST_BOXES, replace=False))
    return Truths(*(column[rows] for column in truths))


def quantile_sizes(truths: Truths, pyramid: Pyramid, own: Sizes) -> Sizes:
    """As many quantiles of the objects' own sizes as there are levels, and one beyond."""
    height, width = pyramid.image_size
    sides = (truths.placed[:, 2:] - truths.placed[:, :2]).astype(np.float64) * (width, height)
    scale = min(pyramid.image_size) / pyramid.reference
    shares = (np.arange(len(own)) + 0.5) / len(own)
    return tuple(np.quantile(np.sqrt(sides.prod(axis=1)) / scale, shares).tolist())


class Trial:
    """How well pyramids that differ in their sizes alone fit some objects."""

    def __init__(
        self, truths: Truths, pyramid: Pyramid, finer_levels: int, iou_threshold: float
    ) -> None:
        self.pyramid = pyramid
        self.finer_levels = finer_levels
        self.iou_threshold = iou_threshold
        self.own = own_sizes(pyramid, finer_levels)
        counts = np.bincount(truths.labels)[truths.labels]
        self.weights = counts**-0.5 / (counts**-0.5).sum()  # between boxes and classes, as one each
        self.level_iou = cache(nearest_overlaps(truths.placed, pyramid))
        self.score = cache(self.rate)

    def rate(self, sizes: Sizes) -> float:
        """Recall at the threshold and mean best IoU, less a little for sizes that are new."""
        levels = resized(self.pyramid.levels, sizes, self.finer_levels)
        best = self.level_iou(0, levels[0])
        for index, level in enumerate(levels[1:], start=1):
            best = np.maximum(best, self.level_iou(index, level))
        change = np.abs(np.log(np.divide(sizes, self.own))).mean()
        return float(self.weights @ (best + (best >= self.iou_threshold)) - STAY * change)


def nearest_overlaps(boxes: np.ndarray, pyramid: Pyramid) -> Callable[[int, Level], np.ndarray]:
    """A function of a level's index and its sizes: the best IoU (n,) of every box with that level.

    Anchors cut at the border differ in their shapes; of those it takes the nearest too, which may
    not be the best.
    boxes: (n, 4) xyxy, fractions
    """
    height, width = pyramid.image_size
    scale = min(pyramid.image_size) / pyramid.reference / np.array([width, height])
    low, high = boxes[:, :2].T, boxes[:, 2:].T  # (2, n)
    areas = (high - low).prod(axis=0)
    centers = []
    for level, cells in zip(pyramid.levels, pyramid.cells, strict=True):
        axes = []
        for axis, (count, side) in enumerate(zip(cells[::-1], (width, height), strict=True)):
            places = grid(count, side, level.stride).numpy()
            if pyramid.clip == "center_and_sides":
                places = places.clip(max=1)
            middle = (low[axis] + high[axis]) / 2
            axes.append(places[np.abs(middle[:, None] - places).argmin(axis=1)])
        centers.append(np.stack(axes).astype(np.float32))

    def best(index: int, level: Level) -> np.ndarray:
        found = np.zeros(len(boxes), np.float32)
        for shape in level.shapes:
            sides = np.array(shape) * scale
            if pyramid.clip in ("sides", "center_and_sides"):
                sides = sides.clip(max=1)
            half = (sides / 2).astype(np.float32)[:, None]
            first, last = centers[index] - half, centers[index] + half
            if pyramid.clip == "border":
                first, last = first.clip(0, 1), last.clip(0, 1)
            shared = (np.minimum(high, last) - np.maximum(low, first)).clip(0).prod(axis=0)
            union = areas + (last - first).prod(axis=0) - shared
            found = np.maximum(found, shared / union)
        return found

    return best


def search(own: Sizes, start: Sizes, score: Callable[[Sizes], float]) -> Sizes:
    """The sizes, in whole pixels, of the highest score found: uphill, one size at a time, from the
    network's own, from `start`, and from the best of both, shaken."""
    rng = np.random.default_rng(0)
    best = max((climb(allowed(sizes, own), own, score) for sizes in (own, start)), key=score)
    for _ in range(RESTARTS):
        shaken = np.multiply(best, np.exp(SHAKE * rng.standard_normal(len(best))))
        best = max(best, climb(allowed(shaken, own), own, score), key=score)
    return best


def allowed(sizes: Sequence[float], own: Sizes) -> Sizes:
    """The nearest whole, rising sizes that levels may have."""
    result: list[int] = []
    for size, reference in zip(sorted(sizes), own, strict=True):
        low, high = math.ceil(LOWEST * reference), math.floor(HIGHEST * reference)
        result.append(max(min(round(size), high), low, result[-1] + 1 if result else 1))
    return tuple(result)


def climb(sizes: Sizes, own: Sizes, score: Callable[[Sizes], float]) -> Sizes:
    """Uphill from `sizes`: each in turn larger, smaller, or as it is in `own`, in finer steps."""
    for step in STEPS:
        while True:
            before = sizes
            for index in range(len(sizes)):
                for new in (larger(sizes[index], step), smaller(sizes[index], step), own[index]):
                    changed = (*sizes[:index], round(new), *sizes[index + 1 :])
                    if changed == allowed(changed, own):
                        sizes = max(sizes, changed, key=score)
            if sizes == before:
                break
    return sizes


def larger(size: float, factor: float) -> float:
    return max(size * factor, size + 1)


def smaller(size: float, factor: float) -> float:
    return min(size / factor, size - 1)


def longer_ratios(
    truths: Truths, pyramid: Pyramid, iou_threshold: float
) -> tuple[float, ...] | None:
    """The fewest of RATIOS that reach nearly as many objects as any of them do; None where the
    network's own do, as more anchors cost time."""
    best = nearest_overlaps(truths.placed, pyramid)

    def recall(levels: Sequence[Level]) -> float:
        iou = np.max([best(index, level) for index, level in enumerate(levels)], axis=0)
        return float((iou >= iou_threshold).mean())

    recalls = {ratios: recall(with_ratios(pyramid.levels, ratios)) for ratios in RATIOS}
    most = max(recalls.values())
    if most < recall(pyramid.levels) + LONGER:
        return None
    return next(ratios for ratios in RATIOS if recalls[ratios] > most - LONGER)
