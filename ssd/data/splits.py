"""One data set's training, validation and test images, where its files name them and where not."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssd.data.checks import Report
from ssd.data.columns import ALL, Records, joined, renamed
from ssd.data.dividing import held_out
from ssd.data.formats import AUTO, FORMATS, Split, format_of, read_split
from ssd.data.naming import check_renamed
from ssd.data.overlaps import shared
from ssd.data.parts import STAGES, Part
from ssd.data.split_lists import Lists, select

log = logging.getLogger(__name__)

NAMES = {  # what splits are called, the likeliest first; years may follow, as in val2017
    "train": ("train", "training", "trainval"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


class Divided(NamedTuple):
    """The images of each stage, and the stages that no file of the data set names."""

    stages: dict[str, Records]
    made: list[str]
    names: set[str]  # class names that its files know, as they were before `rename`


def read_part(
    part: Part, report: Report, only: str | None = None, lists: Lists | None = None
) -> Divided:
    """All images of a data set, by stage. Where faults are collected, there are none of one that
    cannot be read at all.

    only: a stage; what it is not made of is left unread, and those stages are empty
    lists: the images of each stage, where they were divided before
    """
    part = part._replace(format=format_of(part.root, part.format))
    with report.skipping():
        return read_stages(part, report, only, lists)
    return Divided({stage: joined([]) for stage in STAGES}, [], set())


def read_stages(part: Part, report: Report, only: str | None, lists: Lists | None) -> Divided:
    """As `read_part`, of a data set that can be read."""
    splits, before = Splits(part), len(report.faults)
    if lists is not None:
        stages, made = select(splits.every(report), lists, part.root, report), []
    elif only is not None and splits.is_apart(only):
        asked = {stage: splits.of(stage) if stage == only else None for stage in STAGES}
        stages, made = {stage: splits.read(asked[stage], report) for stage in STAGES}, []
    else:
        stages, made = splits.divided(report)
    nothing = not any(records.ids for records in stages.values())
    if nothing and report.faults[before:] and not report.collect:
        raise ValueError(report.faults[before].message)  # nothing can be said of nothing
    return Divided(stages, made, splits.names)


class Splits:
    """The splits of a data set, given, found by their names, or made."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.format = format_of(part.root, part.format)
        self.known: list[str] = FORMATS[self.format].splits(part.root)
        self.names: set[str] = set()  # of classes, in what was read

    def of(self, stage: str) -> Split:
        """A stage's split as it is given, or for "auto" the one that is called so; None where there
        is none, but for training that is every image."""
        split = getattr(self.part, f"{stage}_split")
        if split != AUTO:
            return split
        found = called(stage, self.known)
        return (
            training_split(self.part.root, self.known) if stage == "train" and not found else found
        )

    def is_made(self, stage: str) -> bool:
        """Whether a stage is held out of training for want of a split; that of validation may be
        also where there is one."""
        return getattr(self.part, f"{stage}_split") == AUTO and self.of(stage) is None

    def is_apart(self, stage: str) -> bool:
        """Whether a stage's images are those of its split, whatever the others are."""
        own = self.part.val_split != AUTO  # else a part of training may be held out
        return {
            "train": own and not self.is_made("test"),
            "val": own,
            "test": not self.is_made("test"),
        }[stage]

    def read(self, split: Split, report: Report) -> Records:
        part = self.part
        records = read_split(part.root, self.format, split, report, part.first_pixel)
        self.names.update(records.vocabulary)
        return renamed(records, part.rename)

    def divided(self, report: Report) -> tuple[dict[str, Records], list[str]]:
        """The images of each stage, and the stages that were made."""
        made = []
        train, test = self.read(self.of("train"), report), self.read(self.of("test"), report)
        if self.is_made("test"):
            train, test = divide(train, "test")
            made.append("test")
        found = Report(report.policies, report.collect)
        val = self.read(self.of("val"), found)
        auto = self.part.val_split == AUTO
        taken = auto and bool(shared(train, val) or shared(test, val))
        if not taken:  # else its images are of another split, which has their faults
            report.take(found)
        if auto and (taken or not val.ids):
            train, val = divide(train, "val")
            made.append("val")
        return {"train": train, "val": val, "test": test}, made

    def every(self, report: Report) -> Records:
        """The images of all splits, each once."""
        parts, seen = [], set()
        for stage in ("train", "test", "val"):
            found = Report(report.policies, report.collect)
            records = self.read(self.of(stage), found)
            new = np.array([id not in seen for id in records.ids], bool)
            if new.any() or not records.ids:  # else another split has their faults
                report.take(found)
            parts.append(records.subset(new))
            seen.update(records.ids)
        return joined(parts)


def called(stage: str, known: Sequence[str]) -> Split:
    """The split that is called as a stage, or None. Where the root holds several data sets, as
    VOC2007 and VOC2012, it is that of each together."""
    found = {}
    for name in NAMES[stage]:
        for split in known:
            front, _, last = split.rpartition("/")
            if re.fullmatch(rf"{name}\d*", last.casefold()):
                found.setdefault(front, split)
    splits = [found[front] for front in sorted(found)]
    return splits if splits[1:] else splits[0] if splits else None


def training_split(root: Path, known: Sequence[str]) -> Split:
    """Every image, where no split is called as one for training."""
    fronts = [split.rpartition("/")[0] for split in known]
    named = any(called(stage, known) for stage in STAGES)
    if not known or (not named and len(set(fronts)) == len(fronts)):
        return list(known) or ALL  # a lone split, as `all`, of each data set
    raise ValueError(
        f"{root}: which images are for training? It has the splits {', '.join(known)}; "
        f"data.train_split= names one, and {ALL} is every image"
    )


def divide(records: Records, stage: str) -> tuple[Records, Records]:
    """What stays for training, and what is held out for a stage."""
    out = held_out(records, stage)
    if records.ids:
        log.info(
            "data.%s_split=auto: %d of %d training images are held out for it",
            stage, out.sum(), len(out),
        )  # fmt: skip
    return records.subset(~out), records.subset(out)


def check_renames(parts: Sequence[Part], found: Sequence[Divided]) -> None:
    """Refuse new names for classes that no file knows. A rename of the first data set is for the
    others too, unless they have their own, and need not find its classes in each."""
    for part in parts:
        alike = [number for number, other in enumerate(parts) if other.rename == part.rename]
        names = set().union(*(found[number].names for number in alike))
        if names:  # else no file could be read, or has objects
            roots = " and ".join(str(parts[number].root) for number in alike)
            check_renamed(part.rename, names, roots)
