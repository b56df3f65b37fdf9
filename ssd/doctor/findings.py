"""What the doctor found, as the terminal, the page and doctor.json say it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ssd.data.checks import KINDS, Fault
from ssd.doctor.copies import SAME, Copy
from ssd.doctor.fitting import Fit

CALLED = {kind: called for kind, (called, _) in KINDS.items()} | {"bad_box": "faulty boxes"}

ALIKE = {
    "same": "the same picture",
    "mirrored": "mirror images",
    "near": "near copies",
}


class Findings(NamedTuple):
    """All of it. See `statistics.describe` and `reach.reach` for the keys of their dicts."""

    roots: list[str]  # folders of data sets
    classes: list[str]
    made: list[str]  # stages whose images no file names
    statistics: Mapping[str, dict[str, Any]]  # of each stage
    faults: list[Fault]
    notes: Mapping[str, int]  # what was put right without a loss
    copies: list[Copy]
    model: str
    reach: dict[str, Any]  # of the training images
    fit: Fit | None
    advice: list[str]

    def content(self) -> dict[str, Any]:
        """Everything as plain data."""
        return self._asdict() | {
            "faults": [fault._asdict() for fault in self.faults],
            "copies": [copy._asdict() for copy in self.copies],
            "fit": self.fit and self.fit._asdict(),
        }

    def total(self, key: str) -> int:
        """Images or boxes of all stages."""
        return sum(one[key] for one in self.statistics.values())

    def boxes_of(self, name: str) -> int:
        """Boxes of a class in all stages."""
        return sum(one["classes"][name]["boxes"] for one in self.statistics.values())

    def doubled(self) -> int:
        """Boxes that lie on another of their class."""
        return sum(one["duplicates"]["boxes"] for one in self.statistics.values())

    def same_pictures(self) -> list[Copy]:
        """Files of two splits that are equal: whatever else looks alike, this is a leak."""
        return [copy for copy in leaking(self.copies) if copy.kind == SAME]


def by_kind(faults: Sequence[Fault]) -> dict[str, list[str]]:
    """The messages of each kind of fault, under what it is called."""
    found: dict[str, list[str]] = {}
    for fault in faults:
        found.setdefault(CALLED[fault.kind], []).append(fault.message)
    return found


def leaking(copies: Sequence[Copy]) -> list[Copy]:
    """Those in two splits: what is learned there is scored here."""
    return [copy for copy in copies if copy.stage != copy.other_stage]


def by_place(copies: Sequence[Copy]) -> dict[str, list[Copy]]:
    """Copies in two splits before those in one, and by how alike they are."""
    found: dict[str, list[Copy]] = {}
    for place, inside in (("in two splits", False), ("within a split", True)):
        for kind, alike in ALIKE.items():
            some = [c for c in copies if c.kind == kind and (c.stage == c.other_stage) is inside]
            if some:
                found[f"{alike} {place}"] = some
    return found


def said(copy: Copy, roots: Sequence[str]) -> str:
    one, other = short(copy.file, roots), short(copy.other_file, roots)
    return f"{copy.stage}: {one} and {copy.other_stage}: {other}"


def short(file: str, roots: Sequence[str]) -> str:
    """A path within its data set."""
    fronts = [f"{root}/" for root in roots if file.startswith(f"{root}/")]
    return file.removeprefix(max(fronts, key=len, default=""))


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def number(value: float | None) -> str:
    """Three digits, or all of a large number."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
