"""A corrected copy of a data set, in VOC format; what it is made of is never touched."""

import logging
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from ssd.data.checks import Fault
from ssd.data.images.folders import SUFFIXES
from ssd.doctor.findings import by_kind
from ssd.errors import ConfigError
from ssd.records import Annotations
from ssd.report.annotations import voc
from ssd.report.drawing import printable

log = logging.getLogger(__name__)

LONGEST = 60  # letters of a file's name, each of up to four of its 255 bytes


def check_target(out: Path, roots: Sequence[Path]) -> None:
    """Refuse a folder that there is, or that lies in a data set, and what a run left of it."""
    if out.exists():
        raise ConfigError(f"fix={out}: exists; give a folder that does not")
    if unfinished(out).exists():
        raise ConfigError(
            f"fix={out}: {unfinished(out)} is what a run that was cut short left; remove it"
        )
    for root in roots:
        if out.resolve().is_relative_to(root.resolve()):
            raise ConfigError(f"fix={out}: lies in the data set; give a folder outside {root}")


def unfinished(out: Path) -> Path:
    """What a copy is called until it is whole."""
    return out.with_name(f"{out.name}.part")


def write_copy(
    out: Path,
    stages: Mapping[str, Annotations],
    classes: Sequence[str],
    damaged: Collection[str],
    faults: Sequence[Fault],
) -> None:
    """The images of every stage but the damaged ones, and their boxes, as they were read: without
    the faulty boxes, clipped, with the sizes of the images and the classes' new names.

    It takes its name when it is whole. faults: all that was found, for what is said
    """
    for name in classes:
        if name != printable(name) or name != name.strip():
            raise ConfigError(f"fix={out}: XML cannot hold the class {name!r}; give data.rename")
    part = unfinished(out)
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (part / folder).mkdir(parents=True)
    taken: set[str] = set()
    thin = sum(
        write_stage(part, stage, columns, classes, damaged, taken)
        for stage, columns in stages.items()
    )
    part.rename(out)
    log.info("%d images are in %s, in VOC format", len(taken), out)
    lost = [fault for fault in faults if fault.kind != "leak"]  # which is in both splits still
    for called, messages in by_kind(lost).items():
        log.warning("left out %d %s", len(messages), called)
    if thin:
        log.warning("left out %d boxes of at most one pixel, which VOC's format cannot tell", thin)
    crowds = sum(int(columns.crowd.sum()) for columns in stages.values())
    if crowds:
        log.warning(
            "%d crowds are difficult objects there, since VOC has no crowds; "
            "data.train_difficult=false keeps them out of training", crowds,
        )  # fmt: skip


def write_stage(
    folder: Path,
    stage: str,
    columns: Annotations,
    classes: Sequence[str],
    damaged: Collection[str],
    taken: set[str],
) -> int:
    """How many boxes had to be left out. taken: names of files, folded"""
    names, thin = [], 0
    for index, file in enumerate(columns.files):
        if file in damaged:
            continue
        name = file_name(columns.ids[index], taken)
        image = folder / "JPEGImages" / f"{name}{suffix(file)}"
        shutil.copyfile(file, image)  # no link: to draw on one would change the other
        root, left_out = annotation(columns, index, classes, image.name)
        voc.write_xml(root, folder / "Annotations" / f"{name}.xml")
        names.append(name)
        thin += left_out
    if names:
        lines = "".join(f"{name}\n" for name in names)
        (folder / "ImageSets" / "Main" / f"{stage}.txt").write_text(lines, encoding="utf-8")
    return thin


def file_name(id: str, taken: set[str]) -> str:
    """An id as a name that every file system and a list of words can hold, and no other has."""
    stem = re.sub(rf"({'|'.join(map(re.escape, SUFFIXES))})$", "", id, flags=re.I)
    front = re.sub(r"[^\w.-]+", "_", stem)[-LONGEST:].lstrip(".-") or "image"
    name, count = front, 1
    while name.casefold() in taken:
        count += 1
        name = f"{front}_{count}"
    taken.add(name.casefold())
    return name


def suffix(file: str) -> str:
    """The file's own, or where VOC's reader does not look for it any: decoders see what it is."""
    own = Path(file).suffix.lower()
    return own if own in SUFFIXES else SUFFIXES[0]


def annotation(
    columns: Annotations, index: int, classes: Sequence[str], file: str
) -> tuple[Element, int]:
    """What an image's file says, and how many boxes it has to leave out."""
    root, thin = voc.start(file, tuple(columns.sizes[index].tolist())), 0
    for row in range(*columns.starts[index : index + 2].tolist()):
        name, difficult = classes[columns.labels[row] - 1], bool(columns.difficult[row])
        thin += voc.add_object(root, name, columns.boxes[row].tolist(), difficult) is None
    return root, thin
