"""Where a data set in YOLO format keeps its images, its labels and the names of its classes.

Ultralytics says it in a data.yaml, darknet in train.txt and obj.names, others by their folders.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ssd.data.checks import Report
from ssd.data.images.folders import images_below, is_image
from ssd.data.paths import inside, is_name, read_text, shown
from ssd.data.yolo.data_yaml import (
    MOST_BYTES,
    STAGES,
    described_names,
    described_splits,
    descriptions,
    read_yaml,
)

NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt")
MOST_LIST_BYTES = 2**28


class Layout(NamedTuple):
    """Sources are folders of images, or text files that list them."""

    file: Path | None  # names the classes; None where nothing does
    splits: dict[str, list[Path]]  # sources by split
    every: list[Path]  # sources of all images


class Classes(NamedTuple):
    names: list[str]  # by id
    keypoints: bool  # whether keypoints follow each box


def find_layout(root: Path) -> Layout:
    found = descriptions(root)
    if len(found) > 1:
        files = " and ".join(path.name for path in found)
        raise ValueError(f"{root}: {files} all describe a data set; which? Leave only one there")
    if found:
        splits = described_splits(root, read_yaml(root, found[0]), found[0])
        return Layout(found[0], splits, sources_in(splits))
    lists = (root / name for name in NAME_FILES)
    file = next((path for path in lists if path.is_file()), None)
    splits = listed_splits(root)
    if splits:
        return Layout(file, splits, sources_in(splits))
    splits = folder_splits(root)
    every = [root / "images"] if has_pairs(root) else sources_in(splits)
    return Layout(file, splits, every or [root])


def sources_in(splits: dict[str, list[Path]]) -> list[Path]:
    return [source for sources in splits.values() for source in sources]


def looks_like_yolo(root: Path) -> bool:
    """Whether there is a data.yaml, images/ with labels/, or labels beside images."""
    folders = has_pairs(root) or has_beside(root) or folder_splits(root)
    return bool(descriptions(root) or folders)


def read_classes(root: Path, file: Path | None) -> Classes:
    if file is None:
        raise ValueError(
            f"{root}: nothing names the classes of the labels; write their names into "
            f"{root / NAME_FILES[0]}, one a line, that of id 0 first"
        )
    if file.suffix in (".yaml", ".yml"):
        content = read_yaml(root, file)
        names, keypoints = described_names(content, file), "kpt_shape" in content
    else:
        names, keypoints = read_text(root, file, MOST_BYTES).rstrip().splitlines(), False
    names = [name.strip() for name in names]
    if not names:
        raise ValueError(f"{file}: names no classes")
    for id, name in enumerate(names):
        if not is_name(name):
            raise ValueError(f"{file}: the class of id {id} has no name, but {shown(name)}")
    (name, count), *_ = Counter(names).most_common(1)
    if count > 1:
        raise ValueError(f"{file}: {shown(name)} is the name of {count} classes")
    return Classes(names, keypoints)


def listed_splits(root: Path) -> dict[str, list[Path]]:
    """The splits that darknet's train.txt and the like list."""
    lists = [root / f"{stage}.txt" for stage in STAGES]
    return {path.stem: [path] for path in lists if lists_images(path)}


def folder_splits(root: Path) -> dict[str, list[Path]]:
    """The splits that folders make: images/<split> with labels/<split>, <split>/images with
    <split>/labels, or <split> with labels beside the images."""
    if has_pairs(root):
        return {folder.name: [folder] for folder in folders_in(root / "images")}
    found = {}
    for folder in folders_in(root):
        if has_pairs(folder):
            found[folder.name] = [folder / "images"]
        elif has_beside(folder):
            found[folder.name] = [folder]
    return found


def folders_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("[!.]*")) if path.is_dir()]


def has_pairs(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / "labels").is_dir()


def has_beside(folder: Path) -> bool:
    names = set(os.listdir(folder))
    return any(is_image(name) and label_name(name) in names for name in names)


def label_name(image: str) -> str:
    return f"{os.path.splitext(image)[0]}.txt"


def lists_images(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        first = file.readline(4096).decode(errors="replace").strip()
    return bool(first) and is_image(os.path.basename(first))


def label_folder(root: Path, folder: Path) -> Path:
    """Where the labels of a folder of images are: the same with labels/ for its last images/, as
    Ultralytics' `img2label_paths` has it, or else beside the images."""
    parts = folder.relative_to(root).parts
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        labels = root.joinpath(*parts[:last], "labels")
        if labels.is_dir():
            return labels.joinpath(*parts[last + 1 :])
    return folder


def images_of(root: Path, sources: list[Path], report: Report) -> Iterator[Path]:
    """Every image of folders and lists, each once."""
    seen: set[Path] = set()
    for source in sources:
        for image in images_below(source) if source.is_dir() else listed(root, source, report):
            if image not in seen:
                seen.add(image)
                yield image


def listed(root: Path, path: Path, report: Report) -> Iterator[Path]:
    """The images of a list: relative to it, to the folder around data/, where darknet runs, or to
    the data set."""
    for number, line in enumerate(read_text(root, path, MOST_LIST_BYTES).splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        places = ((path.parent, name), (root, name.removeprefix("data/")), (root, name))
        try:
            files = (inside(root, text, f"{path}:{number}", home) for home, text in places)
            found = next((file for file in files if file.is_file()), None)
        except ValueError as error:
            report.fault("bad_annotation", str(error))
            continue
        if found:
            yield found
        else:
            report.fault("bad_image", f"{path}:{number}: there is no image {shown(name)}")
