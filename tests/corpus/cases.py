"""Bad inputs as a table: each is made in a folder of its own, and has an outcome."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ERROR = "error"  # one line that names file and field
POLICY = "policy"  # an error that names its policy; left out and counted where that is "drop"
NOTED = "noted"  # put right, and counted
ACCEPTED = "accepted"


class Case(NamedTuple):
    number: int
    what: str
    make: Callable[[Path], None]  # writes it into an empty folder
    outcome: str
    says: str = ""  # a pattern of the error, of what is counted, or none
    boxes: list | None = None  # read from it, where anything is
    policy: str = ""  # that leaves it out
    split: str = "train"


def named(cases: list[Case]) -> list:
    """Their names, for tests."""
    return [f"{case.number} {case.what}" for case in cases]
