"""The files of a folder by their names without suffixes, whatever a file system did to them."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ssd.data.paths import inside

LONGEST_ID = 1000  # characters; no file system has longer names


class Listing:
    """The files of a folder, found by id: a name without its suffix, with the folders below `path`
    that it lies in.

    A suffix may be in capitals, and a name in any Unicode form: macOS takes accents apart. Each
    folder is listed once, which is faster than a look for every suffix of every id.
    suffixes: in small letters
    """

    def __init__(self, path: Path, suffixes: Sequence[str]) -> None:
        self.path = path
        self.suffixes = suffixes
        self.known: dict[str, dict[str, list[str]]] = {}  # names of files by folder and stem

    def ids(self) -> list[str]:
        """Those of all files, sorted; hidden files are none, as macOS' `._a.xml`."""
        return sorted(stem for stem in self.names("") if not stem.startswith("."))

    def find(self, id: str, what: str) -> Path:
        """The file of an id. what: as errors call it"""
        if len(id) > LONGEST_ID:
            raise ValueError(f"{self.path}: no such {what}: {id[:50]!r}… of {len(id)} characters")
        folder, below, stem = id.rpartition("/")
        if below:
            inside(self.path, id, str(self.path))
        names = self.names(folder).get(composed(stem), [])
        if not names or len(id.splitlines()) > 1:
            suffixes = ", ".join(self.suffixes)
            raise ValueError(f"{self.path}: no such {what}: {id!r} with a suffix of {suffixes}")
        if len(names) > 1:
            raise ValueError(f"{self.path}: which {what} is meant, {' or '.join(names)}?")
        return self.path / folder / names[0] if below else self.path / names[0]

    def names(self, folder: str) -> dict[str, list[str]]:
        """Names of files in a folder below `path`, by what precedes their suffixes."""
        if folder not in self.known:
            found: dict[str, list[str]] = {}
            for name in sorted(files_of(self.path / folder)):
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in self.suffixes:
                    found.setdefault(composed(stem), []).append(name)
            self.known[folder] = found
        return self.known[folder]


def files_of(folder: Path) -> list[str]:
    """Names of the files in a folder; none where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_file()]
    except OSError:
        return []


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
