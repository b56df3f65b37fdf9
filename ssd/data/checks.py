"""What was wrong with the files of a data set, counted and said. Nothing is dropped silently."""

import logging
from dataclasses import dataclass, field

from ssd.errors import ConfigError

log = logging.getLogger(__name__)

MOST_BAD_BOXES = 0.001  # of all boxes; more than that is no accident
NAMED = 5  # faults that a message names; the rest are counted


@dataclass
class Report:
    """Faults found while a data set is read, by kind, with where they are.

    bad_box: "drop" leaves faulty boxes out, "raise" stops at the first
    """

    bad_box: str
    boxes: int = 0
    dropped: list[str] = field(default_factory=list)
    clipped: int = 0

    def __post_init__(self) -> None:
        if self.bad_box not in ("drop", "raise"):
            raise ConfigError(f"data.bad_box={self.bad_box}: give drop or raise")

    def drop_box(self, where: str) -> None:
        if self.bad_box == "raise":
            raise ValueError(f"{where}; mend the file, or leave such boxes out: data.bad_box=drop")
        self.dropped.append(where)

    def close(self) -> None:
        """Say what was found, and refuse a data set with too much of it."""
        if self.clipped:
            log.warning("%d boxes reach over their image and are clipped to it", self.clipped)
        if not self.dropped:
            return
        named = "; ".join(self.dropped[:NAMED])
        more = len(self.dropped) - NAMED
        what = f"{named}{f'; and {more} more' if more > 0 else ''}"
        if len(self.dropped) > MOST_BAD_BOXES * self.boxes:
            raise ValueError(
                f"{len(self.dropped)} of {self.boxes} boxes are faulty, more than one in "
                f"{round(1 / MOST_BAD_BOXES)}: {what}; mend the files"
            )
        log.warning("left out %d faulty of %d boxes: %s", len(self.dropped), self.boxes, what)
