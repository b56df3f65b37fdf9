"""The data.yaml of Ultralytics: the names of the classes, and where the images of each split are.

It is read as `check_det_dataset` in its data/utils.py reads it.
"""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from ssd.data.paths import inside, read_text, shown

STAGES = ("train", "val", "valid", "validation", "test")
NOTHING = ("", "null", "~")
MOST_BYTES = 2**20


class Loader(yaml.BaseLoader):
    """YAML as text, so that a class may be called `no`, and without aliases, which make gigabytes
    of a small file."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="an alias is refused", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.MarkedYAMLError(problem="a key is there twice", problem_mark=node.start_mark)
        return mapping


def descriptions(root: Path) -> list[Path]:
    """The YAML files that name classes and say where images are; most are called data.yaml."""
    found = []
    for path in sorted([*root.glob("[!.]*.yaml"), *root.glob("[!.]*.yml")]):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            keys = set(re.findall(rb"^([a-z]+) *:", file.read(MOST_BYTES), re.MULTILINE))
        if b"names" in keys and keys & {stage.encode() for stage in STAGES}:
            found.append(path)
    return found


def read_yaml(root: Path, path: Path) -> dict[str, Any]:
    text = read_text(root, path, MOST_BYTES)
    try:
        content = Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{path}{line}: cannot be read as YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: cannot be read as YAML: {reason}") from None
    if not isinstance(content, dict) or "names" not in content:
        raise ValueError(f"{path}: has no key names")
    return content


def described_names(content: dict[str, Any], path: Path) -> list[str]:
    """The names of the classes by id: a list, or a mapping of ids to names."""
    names = content["names"]
    if isinstance(names, dict):
        ids = [str(id) for id in range(len(names))]
        if set(names) != set(ids):
            other = min(set(names) - set(ids))
            raise ValueError(f"{path}: names has the id {shown(other)}, not only 0 to {ids[-1]}")
        names = [names[id] for id in ids]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: names is neither a list of names nor ids with names")
    number = content.get("nc", str(len(names)))
    if number != str(len(names)):
        raise ValueError(f"{path}: nc is {shown(number)}, but names has {len(names)}")
    return names


def described_splits(root: Path, content: dict[str, Any], path: Path) -> dict[str, list[Path]]:
    """What is said of each split: a folder, a list of images, or several of these.

    The key `path` is where the author had the data set, so it counts only where it is a folder in
    `root`, which is where the data set is now.
    """
    base = root / str(content.get("path", ""))
    if not os.path.isdir(base) or not is_inside(root, base):  # False also for what is too long
        base = root
    splits = {}
    for stage in STAGES:
        given = content.get(stage, "")
        entries = given if isinstance(given, list) else [given]
        if entries and entries[0] not in NOTHING:
            splits[stage] = [place(root, base, entry, f"{path}: {stage}") for entry in entries]
    return splits


def is_inside(root: Path, path: Path) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))


def place(root: Path, base: Path, entry: Any, where: str) -> Path:
    """A folder or a list. Roboflow's ../train/images lies beside the file nevertheless."""
    if not isinstance(entry, str):
        raise ValueError(f"{where} is {shown(entry)}, neither a folder nor a list of images")
    name = entry.replace("\\", "/")
    beside = name.removeprefix("../")
    if not os.path.exists(base / name) and os.path.exists(base / beside):
        name = beside
    path = inside(root, name, where, home=base)
    if not path.exists():
        raise ValueError(f"{where} is {shown(entry)}, but there is no {shown(str(path))[1:-1]}")
    return path
