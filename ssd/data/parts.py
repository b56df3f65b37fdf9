"""One data set's training, validation and test images, where its files name them and where not."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ssd.data.checks import Report
from ssd.data.columns import ALL, Records, renamed
from ssd.data.dividing import held_out
from ssd.data.formats import AUTO, FORMATS, Split, format_of, names_of, read_split

log = logging.getLogger(__name__)

NAMES = {  # what splits are called, the likeliest first; years may follow, as in val2017
    "train": ("train", "training", "trainval"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
STAGES = tuple(NAMES)


class Part(NamedTuple):
    """One data set; see `datamodule.DetectionDataModule` for its fields."""

    root: Path
    format: str
    train_split: Split
    val_split: Split
    test_split: Split
    rename: Mapping[str, str] | None
    first_pixel: int | None


class Divided(NamedTuple):
    """The images of each stage, and the stages that no file of the data set names."""

    stages: dict[str, Records]
    made: list[str]


def read_part(part: Part, report: Report) -> Divided:
    """All images of a data set, by stage. No image is in two."""
    format = format_of(part.root, part.format)
    known = FORMATS[format].splits(part.root)

    def read(split: Split, report: Report) -> Records:
        records = read_split(part.root, format, split, report, part.first_pixel)
        return renamed(records, part.rename or {})

    made, before = [], len(report.faults)
    test_split = chosen("test", part.test_split, known)
    train, test = read(training_split(part, known), report), read(test_split, report)
    if part.test_split == AUTO and test_split is None:
        train, test = divide(train, "test")
        made.append("test")
    found = Report(report.policies, report.collect)
    val = read(chosen("val", part.val_split, known), found)
    taken = part.val_split == AUTO and bool(shared(train, val) or shared(test, val))
    if not taken:  # else its images are of another split, which has their faults
        report.take(found)
    if part.val_split == AUTO and (taken or not val.ids):
        train, val = divide(train, "val")
        made.append("val")
    if report.faults[before:] and not (train.ids or val.ids or test.ids):
        raise ValueError(report.faults[before].message)  # nothing can be said of nothing
    for one, other in ((train, val), (train, test), (val, test)):
        check_leaks(one, other, report)
    return Divided({"train": train, "val": val, "test": test}, made)


def training_split(part: Part, known: Sequence[str]) -> Split:
    if part.train_split != AUTO:
        return part.train_split
    if not known:
        return ALL
    split = chosen("train", AUTO, known)
    if split is None:
        raise ValueError(
            f"{part.root}: which images are for training? It has the splits {', '.join(known)}; "
            f"data.train_split= names one, and {ALL} is every image"
        )
    return split


def chosen(stage: str, split: Split, known: Sequence[str]) -> Split:
    """A split as it is given, or for "auto" the one that is called so, or None."""
    if split != AUTO:
        return split
    for name in NAMES[stage]:
        for other in known:
            if re.fullmatch(rf"{name}\d*", other.casefold()):
                return other
    return None


def divide(records: Records, stage: str) -> tuple[Records, Records]:
    """What stays for training, and what is held out for a stage."""
    out = held_out(records)
    if records.ids:
        log.info(
            "data.%s_split=auto: %d of %d training images are held out for it",
            stage, out.sum(), len(out),
        )  # fmt: skip
    return records.subset(~out), records.subset(out)


def shared(one: Records, other: Records) -> set[str]:
    return set(one.ids) & set(other.ids)


def check_leaks(one: Records, other: Records, report: Report) -> None:
    both = sorted(shared(one, other))
    if both:
        report.fault(
            "leak",
            f"{len(both)} images are in two splits that must not share any: "
            f"{', '.join(both[:5])}…; the score would be of images that were learned",
        )


def names_given(part: Part) -> list[str]:
    """The splits of a data set that are named, of all stages."""
    splits = (part.train_split, part.val_split, part.test_split)
    return [name for split in splits for name in names_of(split) if name != AUTO]
