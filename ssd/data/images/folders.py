"""Image files in folders."""

import glob
import os
from pathlib import Path

from ssd.errors import ConfigError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")


def image_files(source: str | Path) -> list[Path]:
    """The image at a path, those in a folder and in all folders below it, or those that a glob
    means, in which ** is any folders; sorted, without hidden files."""
    path = Path(source).expanduser()
    if path.is_dir():
        found = images_below(path)
    elif path.exists():
        return [path]
    elif glob.has_magic(str(path)):
        matches = map(Path, sorted(glob.iglob(str(path), recursive=True)))
        found = [match for match in matches if is_image(match.name) and match.is_file()]
    else:
        raise ConfigError(f"source={source}: no such file or folder")
    if not found:
        raise ConfigError(f"source={source}: no images there; they end in {', '.join(SUFFIXES)}")
    return found


def images_below(folder: Path) -> list[Path]:
    """The images in a folder and in all below it, sorted; none where there is no folder."""
    found: list[str] = []
    seen: set[str] = set()  # a link may lead back to where it lies
    for parent, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(parent))
        below = [name for name in folders if name[0] != "."]
        folders[:] = [n for n in below if os.path.realpath(os.path.join(parent, n)) not in seen]
        found += [os.path.join(parent, name) for name in names if is_image(name)]
    return [Path(file) for file in sorted(found)]


def is_image(name: str) -> bool:
    """Whether a file's name is an image's; hidden files, as the ._x of macOS, are none."""
    return name[0] != "." and os.path.splitext(name)[1].casefold() in SUFFIXES
