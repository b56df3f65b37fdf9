"""Splits that files do not make: deterministic, and alike in their classes."""

import hashlib
import os

import numpy as np

from ssd.data.columns import Records

SHARE = 10  # one image in so many is held out


def held_out(records: Records) -> np.ndarray:
    """Which images are held out: (I,) bool. One in SHARE of every stratum, the images whose rarest
    class is the same, in the order of a hash of their ids; so classes are held out alike, also rare
    ones, and the images decide it, not their order."""
    chosen = np.zeros(len(records.ids), bool)
    order = sorted(range(len(records.ids)), key=lambda index: digest(records.ids[index]))
    strata = rarest_classes(records)
    taken: dict[int, int] = {}
    for index in order:
        place = taken.get(strata[index], SHARE // 2)  # half a share ahead: rounded, not cut off
        chosen[index] = place % SHARE == SHARE - 1
        taken[strata[index]] = place + 1
    return chosen


def rarest_classes(records: Records) -> list[int]:
    """The class of each image that fewest images hold; -1 where it holds none."""
    image = np.repeat(np.arange(len(records.ids)), np.diff(records.starts))
    pairs = np.unique(np.stack([image, records.names], axis=1), axis=0)
    images_with = np.bincount(pairs[:, 1], minlength=len(records.vocabulary))
    rarest = np.full(len(records.ids), -1)
    for index, name in pairs[np.argsort(-images_with[pairs[:, 1]], kind="stable")]:
        rarest[index] = name  # the rarest comes last
    return rarest.tolist()


def digest(id: str) -> bytes:
    return hashlib.sha256(os.fsencode(id)).digest()
