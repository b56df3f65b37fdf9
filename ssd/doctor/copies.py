"""Pictures that are in a data set twice: a score on a copy is a score on what was learned.

Two pictures are the same where their files are, byte by byte. They are near copies where they look
alike: encoded again, resized, brightened, trimmed, taken again of the same scene; and mirrored
copies where one looks as the other in a mirror. Looks are compared by small gray pictures of which
what is smooth is taken away, so that the light of a scene does not make two of its pictures alike:
by 8x8 pixels to find pairs, by 32x32 to be sure.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ssd.data.images.reading import read_image, read_size

SAME, NEAR, MIRRORED = KINDS = ("same", "near", "mirrored")

# Measured on 364 photographs of blood smears under one microscope: different ones and their mirror
# images are alike up to 0.68 by coarse pictures and 0.47 by fine ones, but for one scene that was
# taken twice, 0.98 and 0.96; copies encoded at quality 30, halved, squeezed to a square, brightened
# by 30% or trimmed by 2 of 480 pixels from 0.96 on by both; trimmed by 10 from 0.95 and 0.86 on.
FINE, COARSE = 32, 8  # sides of the small pictures
FINE_BLUR, COARSE_BLUR = 9, 3  # pixels over which the smooth part is averaged
ALIKE = 0.85  # correlation from which on pictures are copies, of both sizes
FLAT = 0.5  # gray levels: a coarse picture that differs less from its smooth part shows nothing

REDUCTIONS = {  # of a JPEG while it is decoded, which saves most of the work
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}
LEAST = 2 * FINE  # pixels of a side that decoding leaves
TILE = 2048  # pictures that are held against as many others at once


class Copy(NamedTuple):
    """A picture and another, later one that is a copy of it."""

    kind: str  # of KINDS
    stage: str
    file: str
    other_stage: str
    other_file: str


class Print(NamedTuple):
    """What is kept of a picture: 1 kB."""

    digest: bytes  # of its file
    gray: np.ndarray  # (FINE, FINE) uint8


def find_copies(
    files: Mapping[str, Sequence[str]], progress: Callable[[int, int], None]
) -> list[Copy]:
    """Every picture that is a copy of an earlier one, with the likest earlier one of each stage.

    Files that cannot be read are passed over. All pairs are compared, so the time grows with the
    square of the pictures.
    files: paths of each stage's images; progress: told after every file how many are done, of all
    """
    places = [(stage, file) for stage, names in files.items() for file in names]
    prints: list[Print] = []
    kept = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # decoders let go of the GIL
        for start in range(0, len(places), TILE):
            tile = places[start : start + TILE]
            for done, found in enumerate(pool.map(read_print, [file for _, file in tile]), 1):
                if found is not None:
                    prints.append(found)
                    kept.append(tile[done - 1])
                progress(start + done, len(places))
    stages = {stage: index for index, stage in enumerate(files)}
    stage = np.array([stages[stage] for stage, _ in kept], np.int64)
    gray = np.array([found.gray for found in prints], np.uint8).reshape(-1, FINE, FINE)
    pairs = same([found.digest for found in prints], stage)
    for kind, others in ((NEAR, gray), (MIRRORED, gray[:, :, ::-1])):
        for key, earlier in alike(gray, others, stage).items():
            pairs.setdefault(key, (kind, earlier))
    return [Copy(kind, *kept[one], *kept[key[0]]) for key, (kind, one) in sorted(pairs.items())]


def read_print(file: str) -> Print | None:
    try:
        content = Path(file).read_bytes()
        gray = read_gray(file, content)
    except (OSError, ValueError):
        return None  # what cannot be read is a fault of its own
    gray = cv2.resize(gray, (FINE, FINE), interpolation=cv2.INTER_AREA)
    return Print(hashlib.blake2b(content, digest_size=16).digest(), gray)


def read_gray(file: str, content: bytes) -> np.ndarray:
    """(H, W) uint8, turned as the file says; a JPEG's sides may be fractions of its own."""
    smallest = min(read_size(file))
    factor = next((factor for factor in REDUCTIONS if smallest // factor >= LEAST), None)
    if content.startswith(b"\xff\xd8") and factor:
        gray = cv2.imdecode(np.frombuffer(content, np.uint8), REDUCTIONS[factor])
        if gray is not None:
            return gray
    return cv2.cvtColor(read_image(file), cv2.COLOR_RGB2GRAY)


Pairs = dict[tuple[int, int], tuple[str, int]]  # (later, stage of the earlier): kind, earlier


def same(digests: Sequence[bytes], stage: np.ndarray) -> Pairs:
    """Files of equal bytes: each later one with the first of every stage."""
    pairs: Pairs = {}
    firsts: dict[bytes, dict[int, int]] = {}
    for index, digest in enumerate(digests):
        first = firsts.setdefault(digest, {})
        pairs |= {(index, there): (SAME, earlier) for there, earlier in first.items()}
        first.setdefault(int(stage[index]), index)
    return pairs


def alike(gray: np.ndarray, others: np.ndarray, stage: np.ndarray) -> dict[tuple[int, int], int]:
    """The likest earlier picture of each stage for every later one that has one.

    gray, others: (n, FINE, FINE); others are the earlier ones, as they are to be seen
    stage: (n,) index; returns: {(later, stage): earlier}
    """
    coarse, earlier_coarse = (
        details(shrunk(pictures), COARSE_BLUR, FLAT) for pictures in (gray, others)
    )
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for top in range(0, len(gray), TILE):
        for left in range(0, top + 1, TILE):
            rows, columns = slice(top, top + TILE), slice(left, left + TILE)
            candidates = coarse[rows] @ earlier_coarse[columns].T >= ALIKE
            if top == left:
                candidates = np.tril(candidates, -1)
            if not candidates.any():
                continue
            likeness = fine_likeness(gray[rows], others[columns], candidates)
            for there in np.unique(stage[columns]):
                chosen = np.flatnonzero(stage[columns] == there)
                likest = likeness[:, chosen].argmax(axis=1)
                most = likeness[np.arange(len(likeness)), chosen[likest]]
                for row in np.flatnonzero(most >= ALIKE).tolist():
                    found = float(most[row]), left + int(chosen[likest[row]])
                    key = top + row, int(there)
                    if key not in best or found[0] > best[key][0]:
                        best[key] = found
    return {key: earlier for key, (_, earlier) in best.items()}


def fine_likeness(gray: np.ndarray, others: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Correlations of candidate pairs, 0 elsewhere. gray: (n, FINE, FINE), others: (m, FINE, FINE),
    candidates: (n, m) bool; returns: (n, m)."""
    rows, columns = candidates.any(axis=1), candidates.any(axis=0)
    one, other = (details(x, FINE_BLUR, 0) for x in (gray[rows], others[columns]))
    likeness = np.zeros(candidates.shape, np.float32)
    likeness[np.ix_(rows, columns)] = one @ other.T
    likeness[~candidates] = 0
    return likeness


def shrunk(pictures: np.ndarray) -> np.ndarray:
    """(n, FINE, FINE) to (n, COARSE, COARSE) float32, by means."""
    share = FINE // COARSE
    return pictures.reshape(-1, COARSE, share, COARSE, share).mean(axis=(2, 4), dtype=np.float32)


def details(pictures: np.ndarray, blur: int, flat: float) -> np.ndarray:
    """Small pictures less their smooth parts, scaled so that products are correlations.

    pictures: (n, side, side); flat: gray levels, below them a picture's details are all zeros
    returns: (n, side * side) float32 of unit length
    """
    side = pictures.shape[-1]
    result = np.zeros((len(pictures), side * side), np.float32)
    for row, picture in enumerate(pictures):
        picture = np.ascontiguousarray(picture, np.float32)
        rest = (picture - cv2.blur(picture, (blur, blur), borderType=cv2.BORDER_REFLECT)).ravel()
        rest -= rest.mean()
        length = float(np.linalg.norm(rest))
        if length > flat * side:  # the root of the mean square is length / side
            result[row] = rest / length
    return result
