"""The doctor's findings as plain text."""

from collections.abc import Iterator, Sequence

from ssd.doctor.findings import Findings, by_kind, by_place, number, percent, said
from ssd.report.drawing import printable
from ssd.report.table import aligned

SHOWN = 5  # of each kind; all are in doctor.json


def page(found: Findings) -> str:
    """The sections of the HTML page, but for the pictures."""
    sections = {
        "What is in it": content(found),
        "What is wrong": faults(found),
        "What leaks": leaks(found),
        "What the anchors reach": reach(found),
        "What augmentation does": augmented(found),
        "What to do": iter(found.advice or ["nothing: train"]),
    }
    lines = [", ".join(found.roots)]
    for heading, texts in sections.items():
        lines += ["", heading, *(f"  {printable(text)}" for text in texts)]
    return "\n".join(lines)


def content(found: Findings) -> Iterator[str]:
    head = ["", "images", "boxes", "empty", "boxes of an image", "pixels of a box"]
    rows = [
        [stage, str(one["images"]), str(one["boxes"]), str(one["empty_images"]),
         number(one["boxes_per_image"]["50%"]), number(one["sizes"]["pixels"]["50%"])]
        for stage, one in found.statistics.items()
    ]  # fmt: skip
    yield from table([head, *rows])
    if found.made:
        yield f"(made, since no file names them: {', '.join(found.made)})"
    yield from (f"{count} {what}" for what, count in found.notes.items())
    counts = [[name, str(found.boxes_of(name))] for name in found.classes]
    if counts:
        yield from table([["class", "boxes"], *counts])
    else:
        yield "no class: no object of any image could be read"


def faults(found: Findings) -> Iterator[str]:
    for called, messages in by_kind(found.faults).items():
        yield f"{len(messages)} {called}"
        yield from some(messages)
    twice = found.doubled()
    if twice:
        yield f"{twice} boxes lie on another of their class"
    if not found.faults and not twice:
        yield "nothing"


def leaks(found: Findings) -> Iterator[str]:
    for what, copies in by_place(found.copies).items():
        yield f"{what}: {len(copies)}"
        yield from some([said(copy, found.roots) for copy in copies])
    if not found.copies:
        yield "nothing: no picture is there twice"


def reach(found: Findings) -> Iterator[str]:
    one = found.reach
    if not one["boxes"]:
        yield "nothing: no training image holds a box"
        return
    height, width = one["image_size"]
    yield (
        f"{found.model} at {height}x{width}: {one['anchors']} anchors, "
        f"{percent(one['recall'])} of {one['boxes']} training boxes by IoU {one['iou_threshold']}"
    )
    yield from recalls(found)
    if found.fit:
        after, override = percent(found.fit.after["recall"]), found.fit.override
        yield f"fitted: {after} with {override}" if override else "no other sizes fit better"


def augmented(found: Findings) -> Iterator[str]:
    images = found.statistics["train"]["images"]
    yield "see the pictures of doctor.html" if images else "nothing: no training image can be read"


def recalls(found: Findings) -> list[str]:
    """Recall by class and by size, as it is and with fitted anchors."""
    measured = {"reached": found.reach}
    if found.fit and found.fit.override:
        measured["fitted"] = found.fit.after
    rows = [
        [name, str(row["boxes"]), *(percent(one[key][name]["recall"]) for one in measured.values())]
        for key in ("by_class", "by_size")
        for name, row in found.reach[key].items()
    ]
    return table([["", "boxes", *measured], *rows])


def some(texts: Sequence[str]) -> Iterator[str]:
    yield from (f"  {text}" for text in texts[:SHOWN])
    if len(texts) > SHOWN:
        yield f"  and {len(texts) - SHOWN} more, in doctor.json"


def table(rows: Sequence[list[str]]) -> list[str]:
    widths = [max(len(printable(row[column])) for row in rows) for column in range(len(rows[0]))]
    return [aligned(row, widths) for row in rows]
