"""Which pictures, or which video, a source means, and what they are called."""

import os
from pathlib import Path
from typing import NamedTuple

from ssd.data.images.folders import image_files
from ssd.data.videos import is_video, open_video
from ssd.errors import ConfigError


class Sources(NamedTuple):
    files: list[Path]  # pictures, or one video
    base: Path  # the folder that their names begin at
    video: bool

    @property
    def names(self) -> list[str]:
        """Paths below `base`, with slashes: files of one name in two folders are two."""
        return [file.relative_to(self.base).as_posix() for file in self.files]


def find_sources(source: str) -> Sources:
    """A picture or a video; every picture in a folder and in those below it; or those that a glob
    means."""
    path = Path(source).expanduser()
    video = is_video(path.name) and not path.is_dir()
    if video:
        if not path.exists():
            raise ConfigError(f"source={source}: no such file")
        with open_video(path):
            pass  # it has a first frame, or nothing is begun
    files = [path] if video else image_files(source)
    if path.is_dir():
        return Sources(files, path, video)
    return Sources(files, Path(os.path.commonpath([file.parent for file in files])), video)
