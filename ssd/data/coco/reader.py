"""Data sets in the format of COCO: one JSON file a split, with all its images and boxes."""

from pathlib import Path

from ssd.data.checks import Report
from ssd.data.coco.files import annotation_files, image_folders, looks_like_coco
from ssd.data.coco.table import Table
from ssd.data.columns import ALL, Columns
from ssd.data.images.opening import note_unnamed
from ssd.data.paths import check_link


def recognises(root: Path) -> bool:
    """Whether a folder is in COCO format."""
    return bool(annotated(root))


def splits(root: Path) -> list[str]:
    """The splits that files are named after: train2017 for annotations/instances_train2017.json."""
    return sorted({name for name, _ in annotated(root) if name})


def read(root: Path, split: str, report: Report, columns: Columns, first_pixel: int | None) -> None:
    """The images of a split, in the order of its file. An image's id is the path of its file below
    the root: in the files of two splits one number may be two pictures.

    split: one of `splits`, or a file's name without .json; or ALL, the images of every file
    first_pixel: what files call it, 0 where None; their boxes have sizes, which are of no count
    """
    for name, path in annotated(root) if split == ALL else [file_of(root, split)]:
        with report.skipping():
            check_link(root, path)
            table = Table(path, report, first_pixel or 0)
            table.parse()
            columns.extend(table.records(root, image_folders(root, name, path)))
    note_unnamed(root, split, columns, report)


def annotated(root: Path) -> list[tuple[str, Path]]:
    """The splits of files and the files; "" for a file whose name is no split's."""
    return [(name, path) for name, path in annotation_files(root) if looks_like_coco(path)]


def file_of(root: Path, split: str) -> tuple[str, Path]:
    """The one file that is called as a split, whatever it holds."""
    files = [(name, path) for name, path in annotation_files(root) if split in (name, path.stem)]
    if len(files) == 1:
        return files[0]
    if files:
        several = ", ".join(str(path.relative_to(root)) for _, path in files)
        raise ValueError(f"{root}: several files are the split {split}: {several}; leave one there")
    known = splits(root)
    there = f"there are {', '.join(known)}" if known else "no file of annotations names a split"
    raise ValueError(f"{root}: no annotations of the split {split}; {there}")
