"""Image files in folders."""

import fnmatch
import glob
import logging
import os
from pathlib import Path

from ssd.errors import ConfigError

log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")


def image_files(source: str | Path) -> list[Path]:
    """The image at a path, those in a folder and in all folders below it, or those that a glob
    means, in which ** is any folders; sorted, without hidden files."""
    path = Path(source).expanduser()
    if path.exists() and not path.is_dir():
        return [path]
    if found := [file for file in files_of(source) if is_image(file.name)]:
        return found
    raise ConfigError(f"source={source}: no images there; they end in {', '.join(SUFFIXES)}")


def files_of(source: str | Path) -> list[Path]:
    """Likewise, the files of every kind."""
    path = Path(source).expanduser()
    if path.is_dir():
        return files_below(path)
    if not glob.has_magic(str(path)):
        raise ConfigError(f"source={source}: no such file or folder")
    base = glob_base(path)
    pattern = path.relative_to(base).parts
    if "**" in pattern:  # glob's own would follow links around in circles
        files = [f for f in files_below(base) if matches(f.relative_to(base).parts, pattern)]
    else:
        found = map(Path, sorted(glob.iglob(str(path))))
        files = [file for file in found if file.name[0] != "." and file.is_file()]
    return each_once(files, base)


def glob_base(pattern: Path) -> Path:
    """The folder that a glob begins to look in."""
    return next(p for p in pattern.parents if not glob.has_magic(str(p)))


def matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a path is one that a glob means, part by part; ** is any folders, also none."""
    if not pattern or not parts:
        return not parts and set(pattern) <= {"**"}
    if pattern[0] == "**":
        return matches(parts, pattern[1:]) or matches(parts[1:], pattern)
    return fnmatch.fnmatch(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])


def each_once(files: list[Path], base: Path) -> list[Path]:
    """Without those that are others by links, as the folders that annotations link are."""
    real = [os.path.realpath(file) for file in files]
    top = os.path.realpath(base)
    homes = [os.path.join(top, file.relative_to(base)) for file in files]
    chosen: dict[str, Path] = {}
    for file, to, home in zip(files, real, homes, strict=True):
        if to == home or to not in chosen:
            chosen[to] = file
    kept = set(chosen.values())
    if len(kept) < len(files):
        log.info("left out %d files that are others by links", len(files) - len(kept))
    return [file for file in files if file in kept]


def images_below(folder: Path) -> list[Path]:
    """The images in a folder and in all below it, sorted; none where there is no folder."""
    return [file for file in files_below(folder) if is_image(file.name)]


def files_below(folder: Path) -> list[Path]:
    """The files in a folder and in all below it, sorted, without hidden ones."""
    found: list[str] = []
    seen: set[str] = set()  # a link may lead back to where it lies
    for parent, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(parent))
        below = [name for name in folders if name[0] != "."]
        folders[:] = [n for n in below if os.path.realpath(os.path.join(parent, n)) not in seen]
        found += [os.path.join(parent, name) for name in names if name[0] != "."]
    return [Path(file) for file in sorted(found)]


def is_image(name: str) -> bool:
    """Whether a file's name is an image's; hidden files, as the ._x of macOS, are none."""
    return name[0] != "." and os.path.splitext(name)[1].casefold() in SUFFIXES
