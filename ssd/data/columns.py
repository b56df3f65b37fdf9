"""What the files of a split say, in columns: readers fill them, the data module divides them."""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ssd.data.checks import Report
from ssd.data.naming import unknown_class
from ssd.records import Annotations
from ssd.texts import Texts

ALL = "all"  # the split of every image that there is, where files name no splits


class Object(NamedTuple):
    """One object of an image; in columns the box is xyxy pixels, 0-based and half-open. Until it is
    checked it is as the file has it.

    difficult: neither right nor wrong when detected; crowd: a region of many objects, so never
    trained on, and difficult
    """

    name: str
    box: tuple[float, float, float, float]
    difficult: bool = False
    crowd: bool = False


class Records(NamedTuple):
    """The images of a split and their objects. The objects of image i are the rows
    starts[i]:starts[i + 1], as in `Annotations`."""

    ids: list[str]  # I names, unique
    files: list[str]  # I paths of image files
    sizes: np.ndarray  # (I, 2) int64 width and height, pixels
    starts: np.ndarray  # (I + 1,) int64
    boxes: np.ndarray  # (rows, 4) float64 xyxy, pixels
    names: np.ndarray  # (rows,) int64 index into `vocabulary`
    difficult: np.ndarray  # (rows,) bool
    crowd: np.ndarray  # (rows,) bool
    vocabulary: list[str]  # class names that may occur

    def subset(self, images: np.ndarray) -> "Records":
        """Those images alone. images: (I,) bool or indices"""
        images = np.arange(len(self.ids))[images]
        counts = np.diff(self.starts)[images]
        starts = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
        rows = np.arange(starts[-1]) + np.repeat(self.starts[images] - starts[:-1], counts)
        return Records(
            [self.ids[i] for i in images],
            [self.files[i] for i in images],
            self.sizes[images],
            starts,
            *(column[rows] for column in (self.boxes, self.names, self.difficult, self.crowd)),
            self.vocabulary,
        )

    def class_names(self) -> list[str]:
        """The names that occur, sorted."""
        return sorted(self.vocabulary[index] for index in np.unique(self.names))


class Columns:
    """Records in the making: no Python object stays of an image's objects."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.files: list[str] = []
        self.sizes = array("q")
        self.starts = array("q", [0])
        self.boxes = array("d")
        self.names = array("q")
        self.flags = bytearray()  # difficult and crowd, in turn
        self.vocabulary: dict[str, int] = {}

    def add(self, id: str, file: str, size: tuple[int, int], objects: Iterable[Object]) -> None:
        """An image, last of its split so far."""
        self.ids.append(id)
        self.files.append(file)
        self.sizes.extend(size)
        for name, box, difficult, crowd in objects:
            self.names.append(self.vocabulary.setdefault(name, len(self.vocabulary)))
            self.boxes.extend(box)
            self.flags += bytes((difficult or crowd, crowd))
        self.starts.append(len(self.names))

    def extend(self, records: Records) -> None:
        """Images that are in columns already, the last of the split so far."""
        places = [
            self.vocabulary.setdefault(name, len(self.vocabulary)) for name in records.vocabulary
        ]
        self.ids += records.ids
        self.files += records.files
        self.sizes.frombytes(records.sizes.tobytes())
        self.starts.frombytes((records.starts[1:] + len(self.names)).tobytes())
        self.boxes.frombytes(records.boxes.tobytes())
        self.names.frombytes(np.array(places, np.int64)[records.names].tobytes())
        difficult = records.difficult | records.crowd
        self.flags += np.stack([difficult, records.crowd], axis=1).tobytes()

    def close(self) -> Records:
        flags = np.frombuffer(bytes(self.flags), np.bool_).reshape(-1, 2)
        return Records(
            self.ids,
            self.files,
            np.array(self.sizes, np.int64).reshape(-1, 2),
            np.array(self.starts, np.int64),
            np.array(self.boxes, np.float64).reshape(-1, 4),
            np.array(self.names, np.int64),
            flags[:, 0].copy(),
            flags[:, 1].copy(),
            list(self.vocabulary),
        )


def joined(parts: Sequence[Records]) -> Records:
    """All images of several records, in their order."""
    vocabulary = list(dict.fromkeys(name for part in parts for name in part.vocabulary))
    place = {name: index for index, name in enumerate(vocabulary)}
    names = [
        np.array([place[name] for name in part.vocabulary], np.int64)[part.names] for part in parts
    ]
    counts = np.concatenate([np.diff(part.starts) for part in parts] or [np.arange(0)])
    return Records(
        [id for part in parts for id in part.ids],
        [file for part in parts for file in part.files],
        stacked([part.sizes for part in parts], (0, 2), np.int64),
        np.concatenate([[0], counts.cumsum()]).astype(np.int64),
        stacked([part.boxes for part in parts], (0, 4), np.float64),
        stacked(names, (0,), np.int64),
        stacked([part.difficult for part in parts], (0,), np.bool_),
        stacked([part.crowd for part in parts], (0,), np.bool_),
        vocabulary,
    )


def count_twice(records: Records) -> int:
    """How many objects are in their image a second time: class, box and marks, to the last bit."""
    image = np.repeat(np.arange(len(records.sizes)), np.diff(records.starts))
    columns = (image, records.names, records.difficult, records.crowd, *records.boxes.T)
    mixed = np.zeros(len(image))  # alike where objects are, and nearly nowhere else
    for number, column in enumerate(columns, start=2):
        mixed += column * number**0.5
    _, which, counts = np.unique(mixed, return_inverse=True, return_counts=True)
    some = np.flatnonzero(counts[which] > 1)
    rows = np.stack([column[some] for column in columns], axis=1)
    return len(rows) - len(np.unique(rows, axis=0))


def stacked(parts: list[np.ndarray], empty: tuple[int, ...], kind: type) -> np.ndarray:
    return np.concatenate([np.empty(empty, kind), *parts])


def renamed(records: Records, names: Mapping[str, str]) -> Records:
    """With other class names; several that become one are merged."""
    new = [names.get(name, name) for name in records.vocabulary]
    vocabulary = list(dict.fromkeys(new))
    place = np.array([vocabulary.index(name) for name in new], np.int64)
    return records._replace(vocabulary=vocabulary, names=place[records.names])


def to_annotations(records: Records, classes: Sequence[str], report: Report) -> Annotations:
    """Columns of a split as tensors; label k + 1 is classes[k]. Objects of other classes are faults
    of the kind "unknown_class"."""
    label = {name: index + 1 for index, name in enumerate(classes)}
    labels = np.array([label.get(name, 0) for name in records.vocabulary], np.int64)[records.names]
    known = labels > 0
    image = np.repeat(np.arange(len(records.ids)), np.diff(records.starts))
    for row in np.flatnonzero(~known):
        name = records.vocabulary[records.names[row]]
        message = unknown_class(name, records.ids[image[row]], classes)
        file, box = records.files[image[row]], tuple(records.boxes[row].tolist())
        report.fault("unknown_class", message, file, box)
    counts = np.bincount(image[known], minlength=len(records.ids))
    return Annotations(
        ids=Texts(records.ids),
        files=Texts(records.files),
        sizes=torch.from_numpy(records.sizes),
        starts=torch.from_numpy(np.concatenate([[0], counts.cumsum()]).astype(np.int64)),
        boxes=torch.from_numpy(records.boxes[known]),
        labels=torch.from_numpy(labels[known]),
        difficult=torch.from_numpy(records.difficult[known]),
        crowd=torch.from_numpy(records.crowd[known]),
    )
