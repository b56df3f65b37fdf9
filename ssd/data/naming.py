"""Class names: lists from files, and names that no list has."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from ssd.errors import ConfigError


def read_classes(classes: str | Sequence[str] | None) -> list[str] | None:
    """A list of names as it is, or the lines of a text file."""
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
    check_classes(classes or ())
    return list(classes) if classes else None


def check_classes(classes: Sequence[str]) -> None:
    if len(set(classes)) < len(classes):
        raise ConfigError(f"data.classes={list(classes)} names a class twice")
    if any(name.casefold().strip("_") == "background" for name in classes):
        raise ConfigError(f"data.classes={list(classes)}: leave out the background; it is no class")


def unknown_class(name: str, where: str, classes: Sequence[str]) -> str:
    folded = {known.casefold().replace(" ", ""): known for known in classes}
    near = folded.get(name.casefold().replace(" ", "")) or next(
        iter(difflib.get_close_matches(name, classes, n=1)), None
    )
    hint = f", did you mean {near}?" if near else ";"
    shown = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" * (len(classes) > 20))
    return f"{where}: unknown class {name!r}{hint} the classes are {shown}"
