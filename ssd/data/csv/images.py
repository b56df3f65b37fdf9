"""The image files that the rows of a CSV file name."""

import os
from pathlib import Path

from ssd.data.images.folders import is_image
from ssd.data.listings import composed
from ssd.data.paths import inside


class ImageFinder:
    """Finds images by their names, with or without suffix, in the folders where they may lie:
    beside the CSV file or at the root, there or in images/, in both the split's folder first.

    Each folder is listed once; names may be in any Unicode form, as macOS takes accents apart.
    """

    def __init__(self, root: Path, file: Path, split: str | None) -> None:
        own = [f"images/{split}", split] if split else []
        below = [*own, "images", "."]
        places = [home / folder for home in (file.parent, root) for folder in below]
        self.root = root
        self.homes = list(dict.fromkeys(path for path in places if path.is_dir()))
        self.folders: dict[str, list[Path]] = {}  # what a folder of names may be
        self.names: dict[Path, dict[str, str]] = {}  # of the files of a folder
        self.stems: dict[Path, dict[str, str]] = {}  # of the images of a folder

    def find(self, name: str, where: str) -> Path | None:
        """The file of an image, or None. A name that leaves the data folder is an error.

        where: the row, for errors
        """
        folder, _, last = name.replace("\\", "/").rpartition("/")
        if folder not in self.folders:
            self.folders[folder] = self.below(folder, name, where)
        last = composed(last)
        for path in self.folders[folder]:
            if last in self.names_in(path):
                return path / self.names[path][last]
        if is_image(last or "."):
            return None
        for path in self.folders[folder]:
            if last in self.stems_in(path):
                return path / self.stems[path][last]
        return None

    def below(self, folder: str, name: str, where: str) -> list[Path]:
        paths = []
        for home in self.homes:
            try:
                paths.append(inside(self.root, name, where, home).parent)
            except ValueError as error:
                wrong = error
        if not paths:
            raise wrong
        return list(dict.fromkeys(paths))

    def names_in(self, folder: Path) -> dict[str, str]:
        if folder not in self.names:
            names = os.listdir(folder) if folder.is_dir() else []
            self.names[folder] = {composed(name): name for name in names}
        return self.names[folder]

    def stems_in(self, folder: Path) -> dict[str, str]:
        """Images by their names without suffix, where that means one."""
        if folder not in self.stems:
            found: dict[str, str] = {}
            for name in sorted(self.names_in(folder).values()):
                stem = composed(os.path.splitext(name)[0])
                if is_image(name):
                    found[stem] = "" if stem in found else name
            self.stems[folder] = {stem: name for stem, name in found.items() if name}
        return self.stems[folder]
