"""Paths that files of a data set name, which stay in its folder, and the text of small files."""

import os
import re
from pathlib import Path
from reprlib import Repr

ELSEWHERE = re.compile(r"[A-Za-z]:[/\\]|[A-Za-z][A-Za-z0-9+.-]*://")  # a drive, or a URL
LONGEST_NAME = 200  # characters of a class's name
SHORT = Repr()
SHORT.maxstring = 200


def inside(root: Path, name: str, where: str, home: Path | None = None) -> Path:
    """The path below `root` that a file means by `name`. An absolute one is taken where it lies
    below `root`. Links are followed: whoever has the folder made them.

    name: with slashes, or backslashes as Windows has them
    where: the file that says it, and its line or field
    home: the folder below `root` that `name` is relative to; None for `root`
    """
    top = os.path.abspath(root)
    path = os.path.abspath(os.path.join(home or root, name.replace("\\", "/")))
    if ELSEWHERE.match(name) or "\0" in name or not Path(path).is_relative_to(top):
        raise ValueError(
            f"{where}: {shown(name)} leaves the data folder {root}; paths are relative to it"
        )
    return root / Path(path).relative_to(top)


def read_text(path: Path, most: int) -> str:
    """A text file of no more than `most` bytes."""
    try:
        size = path.stat().st_size
        if size > most:
            raise ValueError(f"{path}: has {size} bytes; more than {most} are refused")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def shown(text: str) -> str:
    """In quotes, on one line, and cut where it is long."""
    return SHORT.repr(text)


def is_name(text: str) -> bool:
    """Whether a class may be called so."""
    return text.isprintable() and 0 < len(text) <= LONGEST_NAME
