"""Images that are in two places of one run: in two splits, or in two of the data sets."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssd.data.checks import Report
from ssd.data.columns import Records
from ssd.errors import ConfigError


def check_given_once(parts: Sequence[Mapping[str, Records]], roots: Sequence[Path]) -> None:
    """Refuse a data set that is there twice. Links are what they lead to.

    parts: the images of each stage; roots: their folders
    """
    for stage in parts[0]:
        seen: dict[str, int] = {}
        for number, part in enumerate(parts):
            files = real_files(part[stage])
            again = next((file for file in files if seen.get(file, number) < number), None)
            if again:
                raise ConfigError(
                    f"data.more: {roots[seen[again]]} and {roots[number]} both have {again} for "
                    f"{stage}; give each data set once, and null for a split that it gave already"
                )
            seen.update(dict.fromkeys(files, number))


def check_leaks(one: Records, other: Records, report: Report) -> None:
    both = shared(one, other)
    if both:
        report.fault(
            "leak",
            f"{len(both)} images are in two splits that must not share any: "
            f"{', '.join(both[:5])}…; the score would be of images that were learned",
        )


def shared(one: Records, other: Records) -> list[str]:
    """The ids of images whose files are in another split too, whatever their ids are there."""
    if not one.ids or not other.ids:
        return []
    files = set(real_files(other))
    return sorted(id for id, file in zip(one.ids, real_files(one), strict=True) if file in files)


def real_files(records: Records) -> list[str]:
    """The files of images, without links on their way."""
    folders: dict[str, str] = {}
    found = []
    for file in records.files:
        folder, name = os.path.split(file)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        path = f"{folders[folder]}/{name}"
        found.append(os.path.realpath(path) if os.path.islink(path) else path)
    return found
