"""Pictures of the errors that are worth a look: the truth beside what was detected, close up."""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from ssd.analysis.examples import Example, missed_example, worst_examples
from ssd.report.assessment import Assessment
from ssd.report.drawing import Area, beside, inside, overlap, write_label
from ssd.report.pieces import Figure

MOST = 12  # pictures of a kind
SIDE = 400  # pixels of the longer side of each half of a picture
CONTEXT = 3  # sides of what is shown, in sides of the boxes
CLOSEST = 0.15  # of the image's longer side is shown at least
BLUE, SKY = (0, 114, 178), (86, 180, 233)  # the truth: what the picture is about, and the others
RED, ORANGE = (213, 94, 0), (230, 159, 0)  # the same of detections
LETTERS = 19  # pixels
QUALITY = 82  # of a JPEG


class Galleries(NamedTuple):
    """Pictures of a kind, the worst first."""

    false_positives: list[Figure]
    missed: list[Figure]
    confusions: list[Figure]


class Drawn(NamedTuple):
    """A box and how it is drawn."""

    box: Area  # xyxy, pixels of the image
    text: str
    paint: tuple[int, int, int]
    width: int


def draw_galleries(found: Assessment) -> Galleries:
    """One image is in memory at a time."""
    worst = worst_examples(found.truths, found.kept, found.errors, MOST)
    return Galleries(
        *([draw(example, found) for example in worst[kind]] for kind in Galleries._fields)
    )


def draw(example: Example, found: Assessment) -> Figure:
    image = found.scored.dataset.picture(example["image"])
    about = [box for box in (example["truth_box"], example["box"]) if box]
    window = around(np.array(about), (image.shape[1], image.shape[0]))
    truth, detected = [*truths(example, found)], [*detections(example, found)]
    # where the one half has nothing, a thin line shows where the other has it
    if not example["truth_box"]:
        truth.append(Drawn(tuple(example["box"]), "", RED, 2))
    if not example["box"]:
        detected.append(Drawn(tuple(example["truth_box"]), "", BLUE, 2))
    picture = beside(half(image, window, truth), half(image, window, detected))
    return Figure(jpeg(picture), caption(example, found))


def truths(example: Example, found: Assessment) -> Iterator[Drawn]:
    """Those of the image, the one that the example is about first."""
    rows = found.truths.images == example["image"]
    boxes, labels = found.truths.boxes[rows].tolist(), found.truths.labels[rows].tolist()
    main = (example["truth_label"], example["truth_box"])
    for label, box in first(main, zip(labels, boxes, strict=True)):
        paint, width = (BLUE, 4) if (label, box) == main else (SKY, 2)
        yield Drawn(tuple(box), found.classes[label - 1], paint, width)


def detections(example: Example, found: Assessment) -> Iterator[Drawn]:
    """The same of detections, with their scores."""
    rows = found.kept.images == example["image"]
    columns = (found.kept.labels, found.kept.scores, found.kept.boxes)
    main = (example["label"], example["score"], example["box"])
    for label, score, box in first(main, zip(*(c[rows].tolist() for c in columns), strict=True)):
        paint, width = (RED, 4) if (label, score, box) == main else (ORANGE, 2)
        yield Drawn(tuple(box), f"{found.classes[label - 1]} {score:.2f}", paint, width)


def first(main: tuple, rows: Iterable[tuple]) -> list[tuple]:
    return sorted(rows, key=lambda row: row != main)


def around(boxes: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """What of an image is shown: a square with the boxes and what lies around them, or as much of
    it as there is. All xyxy pixels; size: (width, height)"""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    wanted = max(CONTEXT * (high - low).max(), CLOSEST * max(size))
    sides = np.minimum(np.ceil(wanted), size)
    middle = ((low + high) / 2).clip(0, size)
    corner = (middle - sides / 2).round().clip(0, np.array(size) - sides)
    left, top, right, bottom = np.concatenate([corner, corner + sides]).astype(int).tolist()
    return left, top, right, bottom


def half(
    image: np.ndarray, window: tuple[int, int, int, int], boxes: Sequence[Drawn]
) -> np.ndarray:
    """A part of an image, as large as pages need it, with boxes. The first lie on top."""
    left, top, right, bottom = window
    scale = SIDE / max(right - left, bottom - top)
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    part = Image.fromarray(image[top:bottom, left:right])
    picture = part.resize(size, Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(picture)
    seen = [one for one in boxes if overlap(one.box, window)]
    shift = np.array([left, top, left, top])
    areas = [inside((np.array(one.box) - shift) * scale, size) for one in seen]
    for one, area in reversed([*zip(seen, areas, strict=True)]):
        canvas.rectangle(area, outline=one.paint, width=one.width)
    taken: list[Area] = []
    for one, area in zip(seen, areas, strict=True):
        if one.text:
            write_label(canvas, size, area, one.text, one.paint, taken, LETTERS)
    return np.asarray(picture)


def caption(example: Example, found: Assessment) -> str:
    image = found.scored.annotations.ids[example["image"]]
    truth = example["truth_label"] and found.classes[example["truth_label"] - 1]
    if example["label"] is None:
        return f"{image}: {truth}, not found"
    claimed = f"{found.classes[example['label'] - 1]} {example['score']:.2f}"
    if truth is None:
        return f"{image}: {claimed}, where nothing is"
    if example["kind"] == "location":
        return f"{image}: {claimed}, a poor box"
    return f"{image}: {claimed}, but it is {truth}"


def jpeg(picture: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="jpeg", quality=QUALITY)
    return content.getvalue()


def draw_found(finder: Assessment, other: Assessment) -> tuple[list[Figure], int]:
    """What `finder` found and the other did not, the largest first, and how many there are."""
    truths = finder.truths
    rows = (finder.errors.found & ~other.errors.found & ~truths.difficult).nonzero().squeeze(1)
    boxes = truths.boxes[rows]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    chosen = rows[areas.argsort(descending=True, stable=True)][:MOST].tolist()
    return [draw(missed_example(truths, row), other) for row in chosen], len(rows)
