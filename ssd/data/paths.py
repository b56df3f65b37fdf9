"""Paths that files of a data set name, which stay in its folder, and the text of small files."""

import os
import re
import stat
from pathlib import Path
from reprlib import Repr

ELSEWHERE = re.compile(r"[A-Za-z]:[/\\]|[A-Za-z][A-Za-z0-9+.-]*://")  # a drive, or a URL
# Names that stores of linked files give: by a hash of the content, as git-annex, DVC, Hugging Face
CONTENT = re.compile(r"(.*--)?[0-9a-f]{30,128}(\.\w+)*")
LONGEST_PATH, LONGEST_FILE_NAME = 4095, 255  # bytes, Linux's
LONGEST_NAME = 200  # characters of a class's name
SHORT = Repr()
SHORT.maxstring = 200


def inside(root: Path, name: str, where: str, home: Path | None = None) -> Path:
    """The path below `root` that a file means by `name`. An absolute one is taken where it lies
    below `root`. Links are the business of `check_link`.

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
    encoded = path.encode("utf-8", "surrogatepass")
    if len(encoded) > LONGEST_PATH or max(map(len, encoded.split(b"/"))) > LONGEST_FILE_NAME:
        raise ValueError(f"{where}: {shown(name)} is longer than any file's path")
    return root / Path(path).relative_to(top)


def check_link(root: Path, path: str | Path) -> None:
    """Refuse a file that is a link out of the data folder, lest a data set from a stranger names
    files that it does not have.

    Folders may be links to anywhere, and the files of one may be links within its real place; and
    links may lead to stores that name files by their content, which nobody can guess.
    """
    if not os.path.islink(path):
        return
    real = Path(os.path.realpath(path))
    homes = [Path(os.path.realpath(home)) for home in (root, os.path.dirname(path))]
    if not any(map(real.is_relative_to, homes)) and not CONTENT.fullmatch(real.name):
        raise ValueError(
            f"{path}: is a link that leaves the data folder {root}; copy the file there, or link "
            "the whole folder"
        )


def read_text(root: Path, path: Path, most: int) -> str:
    """A text file of a data set, of no more than `most` bytes. root: the data folder"""
    check_link(root, path)
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # to open a pipe is to wait for its writer
            raise ValueError(f"{path}: is no file")
        if found.st_size > most:
            raise ValueError(f"{path}: has {found.st_size} bytes; more than {most} are refused")
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
