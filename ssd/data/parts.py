"""Data sets as they are given, one or several together."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ssd.data.boxes import check_first_pixel
from ssd.data.formats import AUTO, Split, check_split, names_of
from ssd.data.naming import read_rename
from ssd.errors import ConfigError

STAGES = ("train", "val", "test")


class Part(NamedTuple):
    """One data set; see `datamodule.DetectionDataModule` for its fields."""

    root: Path
    format: str
    train_split: Split
    val_split: Split
    test_split: Split
    rename: Mapping[str, str]
    first_pixel: int | None


def make_part(fields: Mapping[str, object]) -> Part:
    """A data set as it is given, each field of its kind."""
    part = Part(**fields)
    for name in ("root", "format"):
        if not isinstance(fields[name], str | Path):
            raise ConfigError(f"data.{name}={fields[name]}: is no text; put it in quotes")
    for stage in STAGES:
        check_split(f"{stage}_split", fields[f"{stage}_split"])
    check_first_pixel(part.first_pixel)
    return part._replace(root=Path(part.root).expanduser(), rename=read_rename(part.rename))


def others(first: Mapping[str, object], more: object) -> list[dict[str, object]]:
    """Further data sets: the fields of the first with another root, and what else is different."""
    if not isinstance(more, list | tuple):
        raise ConfigError(f"data.more={more}: give a list, as in 'data.more=[{{root: DIR}}]'")
    for changes in more:
        if not isinstance(changes, Mapping):
            raise ConfigError(f"data.more={list(more)}: give each as {{root: DIR}}, not {changes}")
        unknown = sorted(str(key) for key in changes if key not in Part._fields)
        if unknown or "root" not in changes:
            wrong = f"{', '.join(unknown)} is not known" if unknown else "root is missing"
            raise ConfigError(
                f"data.more={dict(changes)}: {wrong}; give root, and any of "
                f"{', '.join(Part._fields[1:])}"
            )
    return [{**first, **changes} for changes in more]


def names_given(part: Part) -> list[str]:
    """The splits of a data set that are named, of all stages."""
    splits = (part.train_split, part.val_split, part.test_split)
    return [name for split in splits for name in names_of(split) if name != AUTO]
