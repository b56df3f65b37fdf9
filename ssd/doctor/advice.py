"""What to do about what the doctor found, in sentences with the override to type."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ssd.data.checks import KINDS, MOST_BAD_BOXES, Fault
from ssd.doctor.copies import Copy
from ssd.doctor.fitting import Fit

FEW_BOXES = 50  # of a class, in training
NAMED = 5  # classes in a sentence
MOSTLY = 0.5  # share of images without objects that is worth a look
TINY, SEEN = 8, 16  # pixels of the input: too small to learn from; enough to
LARGEST_INPUT = 1024  # side that is advised
LARGER = 1.25  # factor on the input that is worth it
STEP = 32  # of sides of inputs: the strides of most networks divide it
LONG = 1.5  # ratio of sides from which squeezing images to the input's shape costs
REACHED, CLASS_REACHED = 0.95, 0.9  # recall that anchors should have, of all boxes and of a class


def advise(
    statistics: Mapping[str, Mapping[str, Any]],
    reach: Mapping[str, Any],
    faults: Sequence[Fault],
    copies: Sequence[Copy],
    batch_size: int,
    finer_levels: int,
    fit: Fit | None,
) -> list[str]:
    """Plain sentences, the gravest first.

    statistics: of each stage, as `statistics.describe` gives them; reach: of the training images
    fit: what a search for better sizes found, None where there was none
    """
    train = statistics["train"]
    return [
        *about_faults(faults, sum(one["boxes"] for one in statistics.values())),
        *about_copies(copies),
        *about_splits(statistics, batch_size),
        *about_classes(statistics),
        *about_fit(reach, fit, finer_levels),
        *about_sizes(train, fit.after if fit else reach, finer_levels),
    ]


def about_faults(faults: Sequence[Fault], boxes: int) -> Iterator[str]:
    """boxes: of all stages, without faulty ones"""
    for kind, count in Counter(fault.kind for fault in faults).items():
        called, cure = KINDS[kind]
        if kind == "bad_box" and count <= MOST_BAD_BOXES * (boxes + count):
            yield f"{count} boxes are faulty, so few that training leaves them out by itself"
        elif kind == "bad_box":
            yield (
                f"{count} boxes are faulty, more than one in {round(1 / MOST_BAD_BOXES)}, so "
                "training stops: mend the files, or fix=OUT writes a copy without them"
            )
        elif cure:
            yield f"{count} {called}: mend the files, or leave such out in training with {cure}"
        else:
            yield f"{count} {called}: mend the files, or fix=OUT writes a copy without them"


def about_copies(copies: Sequence[Copy]) -> Iterator[str]:
    for (stage, other), count in Counter((c.stage, c.other_stage) for c in copies).items():
        if stage == other:
            yield f"{count} images of {stage} are copies of others there: they count twice"
        else:
            yield (
                f"{count} images of {other} are copies of images of {stage}, so scores on {other} "
                f"are too good: take them out of one of data.{stage}_split, data.{other}_split"
            )


def about_splits(statistics: Mapping[str, Mapping[str, Any]], batch_size: int) -> Iterator[str]:
    images = {stage: one["images"] for stage, one in statistics.items()}
    train = images["train"]
    if 0 < train < batch_size:
        yield (
            f"{train} training images are less than a batch: "
            f"data.batch_size={1 << (train.bit_length() - 1)}"
        )
    if train and not images["val"]:
        yield (
            "there are no validation images, so the best checkpoint cannot be told: "
            "data.val_split=auto holds out a tenth of the training images"
        )
    if train and statistics["train"]["empty_images"] > MOSTLY * train:
        yield (
            f"{statistics['train']['empty_images']} of {train} training images hold no object: "
            "see that their annotations are not missing"
        )
    doubled = sum(one["duplicates"]["boxes"] for one in statistics.values())
    if doubled:
        yield f"{doubled} boxes lie on another of the same class: take one of each two out"


def about_classes(statistics: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    boxes = {name: one["boxes"] for name, one in statistics["train"]["classes"].items()}
    absent = [name for name, count in boxes.items() if not count]
    if absent and len(absent) < len(boxes):
        present = ",".join(name for name in boxes if name not in absent)
        yield (
            f"no training image holds {named(absent)}, which cannot be learned: "
            f"data.classes=[{present}] data.unknown_class=drop leaves such out"
        )
    for one, other in spelled_alike(boxes):
        yield (
            f"{one} and {other} differ only in case, spaces or signs: "
            f"'data.rename={{{escaped(one)}: {escaped(other)}}}' makes them one class"
        )
    rare = {name: count for name, count in boxes.items() if 0 < count < FEW_BOXES}
    if rare:
        counts = named([f"{name} ({count})" for name, count in rare.items()])
        yield (
            f"few training boxes of {counts}: more images of these, or "
            f"'data.rename={{{escaped(next(iter(rare)))}: OTHER}}' merges classes"
        )
    for stage in ("val", "test"):
        one = statistics[stage]
        unseen = [name for name, each in one["classes"].items() if not each["boxes"]]
        if one["images"] and unseen and len(unseen) < len(one["classes"]):
            yield f"{stage} holds no {named(unseen)}: nothing is said about how well that is found"


def spelled_alike(boxes: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Classes that are likely one, the one with fewer boxes first."""
    best: dict[str, str] = {}
    for name in sorted(boxes, key=lambda name: -boxes[name]):
        other = best.setdefault(re.sub(r"[\W_]+", "", name.casefold()), name)
        if other != name:
            yield name, other


def escaped(name: str) -> str:
    """As Hydra's overrides have it, in single quotes of the shell."""
    return re.sub(r"([\\()\[\]{}:=,])", r"\\\1", name)


def named(words: Sequence[str]) -> str:
    more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return ", ".join(words[:NAMED]) + more


def about_fit(reach: Mapping[str, Any], fit: Fit | None, finer_levels: int) -> Iterator[str]:
    if fit is not None and fit.override:
        before, after = fit.before["recall"], fit.after["recall"]
        yield f"anchors that reach {after:.1%} of the boxes, not {before:.1%}: {fit.override}"
    missed = most_missed(fit.after if fit else reach)
    if missed and fit is None:
        yield f"the anchors reach {missed}: fit=true looks for sizes that reach more"
    elif missed and not finer_levels:
        yield (
            f"the best anchors of these levels reach {missed}: try model.finer_levels=1 fit=true"
        )


def most_missed(reach: Mapping[str, Any]) -> str | None:
    """What share anchors reach of the class that they miss most, or of all boxes; None: enough."""
    poor = {
        name: one["recall"]
        for name, one in reach["by_class"].items()
        if one["boxes"] and one["recall"] < CLASS_REACHED
    }
    if poor:
        worst = min(poor, key=lambda name: poor[name])
        return f"{poor[worst]:.0%} of the boxes of {worst}"
    if reach["boxes"] and reach["recall"] < REACHED:
        return f"{reach['recall']:.0%} of the boxes"
    return None


def about_sizes(
    train: Mapping[str, Any], reach: Mapping[str, Any], finer_levels: int
) -> Iterator[str]:
    """reach: with the anchors that are advised"""
    if not reach["boxes"]:
        return
    smallest = reach["input_sizes"]["5%"]
    if smallest < TINY:
        yield from larger_input(train, reach["image_size"], smallest)
    # squares of sides s < S around one center have the IoU (s / S)²
    unreachable = reach["smallest_anchor"] * math.sqrt(reach["iou_threshold"])
    if smallest < unreachable and not finer_levels:
        yield (
            f"a twentieth of the boxes is smaller than {unreachable:.0f} pixels of the input, "
            "which no anchor fits: model.finer_levels=1 adds anchors of half the size"
        )
    yield from other_shape(train, reach["image_size"])


def larger_input(
    train: Mapping[str, Any], image_size: Sequence[int], smallest: float
) -> Iterator[str]:
    most = min(min(train["image_sizes"]["largest"]), LARGEST_INPUT)
    factor = min(SEEN / smallest, most / min(image_size))
    said = f"a twentieth of the boxes is smaller than {math.ceil(smallest)} pixels of the input"
    if factor >= LARGER:
        yield f"{said}, too small to learn from: model.image_size={sides(image_size, factor)}"
    else:
        yield f"{said}, and a larger one would show no more: take pictures from closer by"


def other_shape(train: Mapping[str, Any], image_size: Sequence[int]) -> Iterator[str]:
    height, width = image_size
    shape = train["image_sizes"]["aspect_ratios"]["50%"]
    stretch = shape / (width / height)
    if not 1 / LONG < stretch < LONG:
        better = height / math.sqrt(stretch), width * math.sqrt(stretch)
        yield (
            f"most images are {shape:.2g} times as wide as high and the input "
            f"{width / height:.2g} times: model.image_size={sides(better, 1)} squeezes them less"
        )


def sides(image_size: Sequence[float], factor: float) -> str:
    """As model.image_size takes it."""
    height, width = (max(1, round(side * factor / STEP)) * STEP for side in image_size)
    return str(height) if height == width else f"[{height},{width}]"
