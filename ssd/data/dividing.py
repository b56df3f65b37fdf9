"""Splits that files do not make: deterministic, alike in their classes, and not to be moved by
images that come later."""

import hashlib
import os

import numpy as np

from ssd.data.columns import Records

SHARE = 10  # one image in so many is held out
FEWEST = SHARE // 2  # images of a class from which on one is held out: a share of them rounds to it
HASHES = 2**64


def held_out(records: Records, stage: str) -> np.ndarray:
    """Which images are held out for a stage: (I,) bool.

    An image is where a hash of the stage and its id is in the lowest of SHARE parts. So no other
    image has a say: neither the order of files nor images that are added later move one, and of
    each class a share is held out, give or take what chance makes of so few or many images.
    Chance can leave out a class that few images hold, so two rules go before it. Of each class, the
    image of the highest hash stays for training. Of each class in at least FEWEST images, and of
    all images together, that of the lowest hash among the others is held out. Where chance did as
    much, the rules change nothing; else an image that they chose may be moved by one that is added,
    when that has a class of its own and a hash beyond its own, or makes a class reach FEWEST.
    """
    numbers = np.array([number_of(stage, id) for id in records.ids], np.uint64)
    image, name = held_classes(records)
    upward = np.argsort(numbers[image])
    image, name = image[upward], name[upward]
    staying = np.zeros(len(numbers), bool)
    staying[image[::-1][first_of_each(name[::-1])]] = True
    free = (np.bincount(name)[name] >= FEWEST) & ~staying[image]
    out = (numbers < HASHES // SHARE) & ~staying
    out[image[free][first_of_each(name[free])]] = True
    return out


def held_classes(records: Records) -> tuple[np.ndarray, np.ndarray]:
    """Each image with each class that it holds, once: indices of both. One class more than there
    are, the last, is held by all images."""
    images, classes = np.arange(len(records.ids)), len(records.vocabulary) + 1
    held = np.repeat(images, np.diff(records.starts)) * classes + records.names
    everywhere = images * classes + classes - 1
    return np.divmod(np.unique(np.concatenate([held, everywhere])), classes)


def first_of_each(names: np.ndarray) -> np.ndarray:
    """Where each name is for the first time."""
    return np.unique(names, return_index=True)[1]


def number_of(stage: str, id: str) -> int:
    """A hash of an id, below HASHES; another one for each stage, as what is not held out for the
    test would not be for validation either."""
    digest = hashlib.sha256(stage.encode() + b"/" + os.fsencode(id)).digest()
    return int.from_bytes(digest[:8], "big")
