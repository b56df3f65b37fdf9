"""PASCAL VOC from its home, by torchvision's code and checksums. Only on request."""

from collections.abc import Sequence
from pathlib import Path

from torchvision.datasets import VOCDetection

from ssd.errors import ConfigError

FOLDER = "VOCdevkit"  # the name that the archives unpack to
YEARS = {"VOC2007": "2007", "VOC2012": "2012"}


def download_voc(root: Path, splits: Sequence[str]) -> None:
    """Fetch and unpack the archives that hold `splits`, such as VOC2007/trainval, where missing."""
    if root.name != FOLDER:
        raise ConfigError(f"data.root={root}: to download, its last folder must be called {FOLDER}")
    for split in splits:
        folder, _, image_set = split.rpartition("/")
        if folder not in YEARS:
            raise ConfigError(
                f"data.download=true knows {', '.join(YEARS)}, not {split}; set it to false"
            )
        if not (root / folder / "ImageSets" / "Main" / f"{image_set}.txt").is_file():
            VOCDetection(str(root.parent), YEARS[folder], image_set, download=True)
