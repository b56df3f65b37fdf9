"""How pictures are looked at: the options of predict.py and of `Detector.detect`, checked."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ssd.data.naming import unknown_class
from ssd.errors import ConfigError
from ssd.ops.tiling import Tiling

NMS = ("per_class", "agnostic")
OTHERS = "default"  # the key of a score for all classes that have none of their own
SMALLEST_TILE = 32  # pixels

Score = float | Mapping[str, float] | None


class Options(NamedTuple):
    """What `Detector.find` goes by."""

    detecting: dict[str, Any]  # arguments of `ops.detecting.detect`
    flip: bool
    tiling: Tiling | None
    batch_size: int


def make_options(
    classes: Sequence[str],
    detecting: Mapping[str, Any],
    score: Score,
    iou_threshold: float | None,
    nms: str,
    flip: bool,
    tiles: int | None,
    tile_overlap: float,
    tile_whole: bool,
    batch_size: int,
) -> Options:
    """classes, detecting: what the checkpoint says; the others: see `Detector.detect`"""
    changed: dict[str, Any] = {}
    if iou_threshold is not None:
        changed["iou_threshold"] = fraction(iou_threshold, "iou_threshold")
    if isinstance(score, Mapping):
        thresholds = class_thresholds(score, classes)
        changed["class_thresholds"] = thresholds
        changed["score_threshold"] = float(thresholds[1:].min())
    elif score is not None:
        changed["score_threshold"] = fraction(score, "score")
    if nms not in NMS:
        raise ConfigError(f"nms={nms}: give {' or '.join(NMS)}")
    if type(batch_size) is not int or batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}: give 1 or more")
    detecting = {**detecting, **changed, "agnostic": nms == "agnostic"}
    tiling = make_tiling(tiles, tile_overlap, tile_whole)
    return Options(detecting, flip, tiling, batch_size)


def class_thresholds(score: Mapping[str, float], classes: Sequence[str]) -> Tensor:
    """(C,) float32: the score that detections of each class are above."""
    score = {as_written(key): value for key, value in score.items()}
    for name in score:
        if name != OTHERS and name not in classes:
            raise ConfigError(unknown_class(name, f"score={dict(score)}", classes))
    least = {name: fraction(value, f"score of {name}") for name, value in score.items()}
    silent = [name for name in classes if name not in least and OTHERS not in least]
    if silent:
        raise ConfigError(
            f"score={dict(score)} says nothing of {', '.join(silent[:5])}; add {OTHERS}: 0.5 for "
            "the other classes"
        )
    return torch.tensor([0.0, *(least.get(name, least.get(OTHERS)) for name in classes)])


def as_written(key: object) -> str:
    """A class as the command line has it, where 0, true and null are not text."""
    return "null" if key is None else str(key).lower() if isinstance(key, bool) else str(key)


def fraction(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ConfigError(f"{key}={value}: give a number from 0 to below 1")
    return float(value)


def make_tiling(tiles: int | None, overlap: float, whole: bool) -> Tiling | None:
    if isinstance(overlap, bool) or not isinstance(overlap, int | float) or not 0 < overlap <= 0.9:
        raise ConfigError(f"tile_overlap={overlap}: give a share of a window, above 0 to 0.9")
    if tiles is None:
        return None
    if type(tiles) is not int or tiles < SMALLEST_TILE:
        raise ConfigError(f"tiles={tiles}: give pixels, {SMALLEST_TILE} or more, or null")
    return Tiling(tiles, float(overlap), whole)
