"""Damaged files are read, or refused in one line; benchmarks/fuzz.py tries many more of them."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.fuzz import KINDS, outcome, prepare

CASES = 150


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    prepare(tmp_path)
    found = Counter(outcome(kind, number, 1, tmp_path) for number in range(CASES))
    assert set(found) == {"read", "refused"}  # both: else the changes are too mild, or too many
