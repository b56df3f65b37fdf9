"""A file beside the network that it was made of: what both find, how well, and how fast."""

import time
from itertools import cycle
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor

from ssd.data.progress import Progress
from ssd.export.pairing import pair
from ssd.export.pictures import Pictures, batches
from ssd.export.running import Run, detections
from ssd.metric import DetectionMetric
from ssd.records import Detections

WARM_UP, TIMED = 2, 20  # batches
MAPS = ("map", "map_50")


class Comparison(TypedDict):
    """What the sidecar holds of it. Boxes are in pixels of the original pictures."""

    pictures: int
    detections: int  # PyTorch's
    without_partner: int  # of either that the other has not, see `pairing`
    max_score_difference: float
    max_box_difference: float
    map: dict[str, float] | None  # COCO's .50:.95, of "pytorch" and "exported"
    map_50: dict[str, float] | None
    images_per_second: dict[str, float]
    images_at_once: int  # when that was measured
    threads: int


class Limits(NamedTuple):
    """How far an export may be from PyTorch; None for any distance."""

    score: float | None
    box: float | None  # pixels of the original
    without_partner: float | None  # share of the detections
    map_drop: float | None  # COCO's .50:.95


def compare(
    reference: Run,
    exported: Run,
    pictures: Pictures,
    classes: list[str],
    detecting: dict[str, Any],
    batch_sizes: list[int],
    show: Progress,
) -> Comparison:
    """Run both on the pictures. detecting: the arguments of `detect`; batch_sizes: those that the
    file is given in turn"""
    ours, theirs = [], []
    for batch in batches(pictures.images, batch_sizes):
        ours.append(detections(reference(batch), detecting))
        theirs.append(detections(exported(batch), detecting))
        show(min(len(pictures.images), sum(len(one.scores) for one in ours)), len(pictures.images))
    count = len(pictures.images)
    least, most = detecting["score_threshold"], detecting["detections_per_image"]
    pairs = [
        pair(one, other, size, least, most)
        for one, other, size in zip(rows(ours), rows(theirs), pictures.sizes, strict=False)
    ]
    maps = [scores(found, pictures, classes, count) for found in (ours, theirs)]
    return Comparison(
        pictures=count,
        detections=sum(one.found for one in pairs),
        without_partner=sum(one.without_partner for one in pairs),
        max_score_difference=max(one.score for one in pairs),
        max_box_difference=max(one.box for one in pairs),
        **{name: both(*(one and one[name] for one in maps)) for name in MAPS},
        images_per_second=both(*speeds(reference, exported, pictures.images, batch_sizes[0])),
        images_at_once=batch_sizes[0],
        threads=torch.get_num_threads(),
    )


def both(pytorch: float | None, exported: float | None) -> dict[str, float] | None:
    return None if pytorch is None else {"pytorch": pytorch, "exported": exported}


def rows(parts: list[Detections]) -> list[Detections]:
    """The detections of each picture, without padding."""
    return [
        Detections(*(column[labels > 0] for column in picture))
        for part in parts
        for picture in zip(*part, strict=True)
        for labels in [picture[2]]
    ]


def scores(
    parts: list[Detections], pictures: Pictures, classes: list[str], count: int
) -> dict[str, float] | None:
    """mAP and the like, where the truths are known."""
    if pictures.annotations is None or not len(pictures.annotations.labels):
        return None
    metric = DetectionMetric(pictures.annotations, classes)
    start = 0
    for part in parts:
        indices = torch.arange(start, start + len(part.scores))
        metric.update(part, torch.where(indices < count, indices, -1))  # not the repeats
        start += len(indices)
    return metric.compute()


def speeds(reference: Run, exported: Run, images: Tensor, at_once: int) -> tuple[float, float]:
    """Pictures per second of both, in turns; by the median of the times of their batches."""
    times: tuple[list[float], list[float]] = ([], [])
    given = cycle(batches(images, [at_once]))
    for number, batch in zip(range(TIMED + WARM_UP), given, strict=False):
        for run, seconds in zip((reference, exported), times, strict=True):
            start = time.perf_counter()
            run(batch)
            if number >= WARM_UP:
                seconds.append(time.perf_counter() - start)
    ours, theirs = (at_once / torch.tensor(seconds).median().item() for seconds in times)
    return ours, theirs


def check(found: Comparison, limits: Limits) -> None:
    """Raise, in one line, where an export is too far from PyTorch."""
    if not found["detections"]:
        raise ValueError(
            f"PyTorch finds nothing on {found['pictures']} pictures, so nothing was compared; give "
            "others, or a lower detecting.score_threshold"
        )
    drop = found["map"] and found["map"]["pytorch"] - found["map"]["exported"]
    share = found["without_partner"] / found["detections"]
    for name, key, value, limit in (
        (
            "scores differ by up to",
            "max_score_difference",
            found["max_score_difference"],
            limits.score,
        ),
        ("boxes differ by up to", "max_box_difference", found["max_box_difference"], limits.box),
        (
            "share of detections without a partner",
            "max_without_partner",
            share,
            limits.without_partner,
        ),
        ("mAP falls by", "max_map_drop", drop, limits.map_drop),
    ):
        if limit is not None and value is not None and value > limit:
            raise ValueError(
                f"the export is not what PyTorch computes: {name} {value:.3g}, allowed are "
                f"{key}={limit}; nothing was written"
            )


def table(found: Comparison, size: int) -> str:
    """The comparison in lines to read. size: of the file, bytes"""
    one, other = (found["images_per_second"][name] for name in ("pytorch", "exported"))
    lines = [
        f"compared on {found['pictures']} pictures, {found['detections']} detections of PyTorch's:",
        f"  largest difference of scores {found['max_score_difference']:.2g}, of boxes "
        f"{found['max_box_difference']:.2g} pixels; without a partner {found['without_partner']}",
    ]
    for name in MAPS:
        if found[name]:
            lines.append(
                f"  {name} {found[name]['exported']:.4f}, PyTorch {found[name]['pytorch']:.4f}"
            )
    lines.append(
        f"  {other:.1f} images/s, PyTorch {one:.1f}; {found['images_at_once']} at a time, threads: "
        f"{found['threads']}"
    )
    return "\n".join([*lines, f"  {size / 1e6:.2f} MB"])
