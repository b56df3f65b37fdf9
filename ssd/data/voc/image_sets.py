"""Lists of images in VOC format: ImageSets/Main/*.txt."""

from pathlib import Path

from ssd.data.paths import read_text

FLAGS = ("-1", "0", "1")  # the second column of a class's own list: absent, difficult, present
MOST_BYTES = 2**30


def image_set_file(folder: Path, image_set: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{image_set}.txt"


def read_ids(root: Path, folder: Path, image_set: str) -> list[str]:
    """Ids of an image set, in the order of its file. "id -1" of a class's own list is no member.

    root: the data folder; folder: the data set there
    """
    path = image_set_file(folder, image_set)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; data.root is where the VOC folders lie")
    if not path.is_file():
        others = sorted(file.stem for file in path.parent.glob("*.txt"))
        known = f"there are {', '.join(others)}" if others else f"{path.parent} has none"
        raise ValueError(f"{path}: no such image set; {known}")
    text = read_text(root, path, MOST_BYTES)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    columns = [line.rsplit(maxsplit=1) for line in lines]
    if all(len(row) == 2 and row[1] in FLAGS for row in columns):
        lines = [id for id, flag in columns if flag != "-1"]
    if not lines:
        raise ValueError(f"{path}: names no images")
    return lines
