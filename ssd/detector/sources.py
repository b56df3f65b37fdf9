"""Which pictures, or which video, a source means, and what they are called."""

import glob
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ssd.data.images.folders import SUFFIXES, files_of, glob_base, is_image
from ssd.data.videos import is_video, open_video
from ssd.errors import ConfigError

log = logging.getLogger(__name__)

PICTURE_LIKE = (".avif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jxl", ".ppm", ".pgm", ".svg",
                ".tga", ".psd", ".ico", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw")  # fmt: skip


class Sources(NamedTuple):
    files: list[Path]  # pictures, or one video
    base: Path  # the folder that their names begin at
    video: bool
    grown: Path | None = None  # the folder that the next run would find new pictures below

    @property
    def names(self) -> list[str]:
        """Paths below `base`, with slashes: files of one name in two folders are two."""
        return [file.relative_to(self.base).as_posix() for file in self.files]


def find_sources(source: str) -> Sources:
    """A picture or a video; every picture in a folder and in those below it; or those that a glob
    means."""
    path = Path(source).expanduser()
    several = path.is_dir() or (not path.exists() and glob.has_magic(str(path)))
    video = is_video(path.name) and not several
    if not several and not path.exists():
        raise ConfigError(f"source={source}: no such file or folder")
    if video:
        with open_video(path):
            pass  # it has a first frame, or nothing is begun
    files = pictures_of(source) if several else [path]
    if path.is_dir():
        return Sources(files, path, video, grown=path)
    base = Path(os.path.commonpath([file.parent for file in files]))
    grown = glob_base(path) if several and glob.has_magic(str(path.parent)) else None
    return Sources(files, base, video, grown)


def pictures_of(source: str) -> list[Path]:
    """The pictures of a folder or a glob; what lies there besides is counted and said."""
    every = files_of(source)
    pictures = [file for file in every if is_image(file.name)]
    left = left_out([file for file in every if not is_image(file.name)])
    if not pictures:
        raise ConfigError(
            f"source={source}: no images there; they end in {', '.join(SUFFIXES)}"
            + (f"; there are {left}" if left else "")
        )
    if left:
        log.warning("left out of source=%s: %s", source, left)
    return pictures


def left_out(files: Sequence[Path]) -> str:
    """The videos among other files, and what seems to be a picture, in words."""
    videos = sum(is_video(file.name) for file in files)
    suffixes = [file.suffix.casefold() for file in files]
    like = sorted({suffix for suffix in suffixes if suffix in PICTURE_LIKE})
    said = [f"videos ({videos}), of which each is given alone, as source=film.mp4"] * bool(videos)
    if like:
        count = sum(suffix in like for suffix in suffixes)
        said.append(f"files of formats that are not read ({count}): {', '.join(like)}")
    return "; ".join(said)
