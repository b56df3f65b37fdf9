"""Class names: lists from files, names that no list has, and what names become."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ssd.errors import ConfigError


def read_classes(classes: str | Sequence[str] | None) -> list[str] | None:
    """A list of names as it is, or the lines of a text file."""
    if classes is None:
        return None
    if isinstance(classes, str):
        path = Path(classes).expanduser()
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"data.classes={classes}: give names, as in data.classes=[cat,dog], or a text file "
                f"with one a line ({error})"
            ) from None
        classes = [line.strip() for line in lines if line.strip()]
    check_classes(classes)
    return list(classes) or None


def check_classes(classes: Sequence[str]) -> None:
    if not isinstance(classes, Sequence):
        raise ConfigError(
            f"data.classes={classes}: give names, as in data.classes=[cat,dog], or a text file"
        )
    for name in classes:
        check_text(name, f"data.classes={list(classes)}")
    if len(set(classes)) < len(classes):
        raise ConfigError(f"data.classes={list(classes)} names a class twice")
    if any(is_background(name) for name in classes):
        raise ConfigError(f"data.classes={list(classes)}: leave out the background; it is no class")


def check_found(classes: Iterable[str], where: object) -> None:
    """Refuse what is no class among those that a data set has. where: the data set"""
    for name in filter(is_background, classes):
        raise ValueError(
            f"{where}: has objects of a class {name!r}, but the background is no class; rename it, "
            f"as in 'data.rename={{{name}: other}}', or leave it out: data.classes= without it, "
            "and data.unknown_class=drop"
        )


def is_background(name: str) -> bool:
    return name.casefold().strip("_") == "background"


def read_rename(rename: Mapping[str, str] | None) -> dict[str, str]:
    """What names in the files become. A key may be a number, as Hydra takes none in quotes."""
    if rename is None:
        return {}
    if not isinstance(rename, Mapping):
        raise ConfigError(
            f"data.rename={rename}: give each name and what it becomes, as in "
            "'data.rename={motorbike: bike, bicycle: bike}'"
        )
    for name in rename.values():
        check_text(name, f"data.rename={dict(rename)}")
    return {str(old): new for old, new in rename.items()}


def check_text(value: object, where: str) -> None:
    """Refuse what YAML took for something else than text."""
    if not isinstance(value, str):
        raise ConfigError(
            f"{where}: {value} is no text but {type(value).__name__}; put it in quotes"
        )


def check_renamed(rename: Mapping[str, str], names: Iterable[str], where: object) -> None:
    """Refuse to rename a class that no file knows. names: those in the files of `where`"""
    known = sorted(names)
    for old in rename:
        if old not in known:
            raise ConfigError(unknown_class(old, f"data.rename of {where}", known))


def unknown_class(name: str, where: str, classes: Sequence[str]) -> str:
    folded = {known.casefold().replace(" ", ""): known for known in classes}
    near = folded.get(name.casefold().replace(" ", "")) or next(
        iter(difflib.get_close_matches(name, classes, n=1)), None
    )
    hint = f", did you mean {near}?" if near else ";"
    shown = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" * (len(classes) > 20))
    return f"{where}: unknown class {name!r}{hint} the classes are {shown}"
