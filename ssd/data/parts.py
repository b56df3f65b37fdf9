"""One data set's training, validation and test images, where its files name them and where not."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssd.data.boxes import check_first_pixel
from ssd.data.checks import Report
from ssd.data.columns import ALL, Records, joined, renamed
from ssd.data.dividing import held_out
from ssd.data.formats import AUTO, FORMATS, Split, check_split, format_of, names_of, read_split
from ssd.data.naming import check_renamed, read_rename
from ssd.data.split_lists import Lists, select
from ssd.errors import ConfigError

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
    rename: Mapping[str, str]
    first_pixel: int | None


class Divided(NamedTuple):
    """The images of each stage, and the stages that no file of the data set names."""

    stages: dict[str, Records]
    made: list[str]
    names: set[str]  # class names that its files know, as they were before `rename`


def make_part(fields: Mapping[str, object]) -> Part:
    """A data set as it is given, each field of its kind."""
    part = Part(**fields)
    for name in ("root", "format"):
        if not isinstance(fields[name], str | Path):
            raise ConfigError(f"data.{name}={fields[name]}: is no text; put it in quotes")
    for stage in STAGES:
        check_split(f"{stage}_split", fields[f"{stage}_split"])
    check_first_pixel(part.first_pixel)
    return part._replace(root=Path(part.root).expanduser(), rename=read_rename(part.rename))


def others(first: Mapping[str, object], more: object) -> list[dict[str, object]]:
    """Further data sets: the fields of the first with another root, and what else is different."""
    if not isinstance(more, list | tuple):
        raise ConfigError(f"data.more={more}: give a list, as in 'data.more=[{{root: DIR}}]'")
    for changes in more:
        if not isinstance(changes, Mapping):
            raise ConfigError(f"data.more={list(more)}: give each as {{root: DIR}}, not {changes}")
        unknown = sorted(str(key) for key in changes if key not in Part._fields)
        if unknown or "root" not in changes:
            wrong = f"{', '.join(unknown)} is not known" if unknown else "root is missing"
            raise ConfigError(
                f"data.more={dict(changes)}: {wrong}; give root, and any of "
                f"{', '.join(Part._fields[1:])}"
            )
    return [{**first, **changes} for changes in more]


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


def check_given_once(parts: Sequence[Divided], roots: Sequence[Path]) -> None:
    """Refuse a data set that is there twice. Links are what they lead to."""
    for stage in STAGES:
        seen: dict[str, int] = {}
        for number, part in enumerate(parts):
            files = real_files(part.stages[stage])
            again = next((file for file in files if seen.get(file, number) < number), None)
            if again:
                raise ConfigError(
                    f"data.more: {roots[seen[again]]} and {roots[number]} both have {again} for "
                    f"{stage}; give each data set once, and null for a split that it gave already"
                )
            seen.update(dict.fromkeys(files, number))


def check_leaks(one: Records, other: Records, report: Report) -> None:
    both = shared(one, other)
    if both:
        report.fault(
            "leak",
            f"{len(both)} images are in two splits that must not share any: "
            f"{', '.join(both[:5])}…; the score would be of images that were learned",
        )


def shared(one: Records, other: Records) -> list[str]:
    """The ids of images whose files are in another split too, whatever their ids are there."""
    if not one.ids or not other.ids:
        return []
    files = set(real_files(other))
    return sorted(id for id, file in zip(one.ids, real_files(one), strict=True) if file in files)


def real_files(records: Records) -> list[str]:
    """The files of images, without links on their way."""
    folders: dict[str, str] = {}
    found = []
    for file in records.files:
        folder, name = os.path.split(file)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        path = f"{folders[folder]}/{name}"
        found.append(os.path.realpath(path) if os.path.islink(path) else path)
    return found


def names_given(part: Part) -> list[str]:
    """The splits of a data set that are named, of all stages."""
    splits = (part.train_split, part.val_split, part.test_split)
    return [name for split in splits for name in names_of(split) if name != AUTO]
