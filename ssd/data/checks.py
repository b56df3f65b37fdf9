"""What was wrong with the files of a data set, counted and said. Nothing is dropped silently."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from ssd.errors import ConfigError

log = logging.getLogger(__name__)

DROP, RAISE, COLLECT = "drop", "raise", "collect"
MOST_BAD_BOXES = 0.001  # of all boxes; more than that is no accident
NAMED = 5  # faults that a message names; the rest are counted

# Each kind of fault, what it is called, and what leaves it out. Where there is nothing, it is an
# error always; the doctor collects those too.
KINDS = {
    "bad_box": ("faulty", "data.bad_box=drop"),
    "bad_image": ("images that cannot be read", "data.bad_image=drop"),
    "size_mismatch": ("images of another size than annotated", "data.size_mismatch=drop"),
    "unknown_class": ("objects of unknown classes", "data.unknown_class=drop"),
    "bad_annotation": ("annotations that cannot be read", None),
    "leak": ("images in two splits", None),
}
POLICIES = tuple(kind for kind, (_, cure) in KINDS.items() if cure)


Box = tuple[float, float, float, float]


class Fault(NamedTuple):
    kind: str  # of KINDS
    message: str  # what is wrong, with file and field
    file: str | None = None  # of the image, where it is known
    box: Box | None = None  # xyxy pixels of the image as it is shown


def with_cure(kind: str, message: str) -> str:
    """What is wrong, and what leaves it out, where anything does."""
    cure = KINDS[kind][1]
    return f"{message}; mend it, or leave such out: {cure}" if cure else message


class Report:
    """Faults found while a data set is read.

    policies: "drop" or "raise" for each of POLICIES
    collect: whether every fault is kept and none raised, to look at a data set as a whole
    """

    def __init__(self, policies: Mapping[str, str], collect: bool = False) -> None:
        for kind in POLICIES:
            if policies[kind] not in (DROP, RAISE):
                raise ConfigError(f"data.{kind}={policies[kind]}: give {DROP} or {RAISE}")
        self.policies = dict(policies)
        self.collect = collect
        self.boxes = 0  # seen, the faulty ones included
        self.faults: list[Fault] = []
        self.notes: Counter[str] = Counter()  # what was put right without a loss, by its name

    def fault(
        self, kind: str, message: str, file: str | None = None, box: Box | None = None
    ) -> None:
        """Leave something out, or stop here, as the policy of its kind has it. See `Fault`."""
        if not self.collect and self.policies.get(kind, RAISE) == RAISE:
            raise ValueError(with_cure(kind, message))
        self.faults.append(Fault(kind, message, file, box))

    @contextmanager
    def skipping(self, file: str | None = None) -> Iterator[None]:
        """Leave the rest of a block out where it cannot be read. file: the image it is about"""
        try:
            yield
        except ConfigError:
            raise
        except ValueError as error:
            self.fault("bad_annotation", str(error), file)

    def note(self, what: str, count: int = 1) -> None:
        """Count something that was put right, as "boxes clipped to their image"."""
        self.notes[what] += count

    def take(self, other: "Report") -> None:
        """What another one found, too."""
        self.boxes += other.boxes
        self.faults += other.faults
        self.notes.update(other.notes)

    def close(self) -> None:
        """Say what was found, and refuse a data set with too many faulty boxes. What is collected
        is for others to say."""
        if self.collect:
            return
        for what, count in self.notes.items():
            log.warning("%d %s", count, what)
        for kind, (called, _) in KINDS.items():
            messages = [fault.message for fault in self.faults if fault.kind == kind]
            if not messages:
                continue
            named = "; ".join(messages[:NAMED])
            more = f"; and {len(messages) - NAMED} more" if len(messages) > NAMED else ""
            if kind == "bad_box" and len(messages) > MOST_BAD_BOXES * self.boxes:
                raise ValueError(
                    f"{len(messages)} of {self.boxes} boxes are faulty, more than one in "
                    f"{round(1 / MOST_BAD_BOXES)}: {named}{more}; mend the files"
                )
            of = f" of {self.boxes} boxes" if kind == "bad_box" else ""
            log.warning("left out %d %s%s: %s%s", len(messages), called, of, named, more)
