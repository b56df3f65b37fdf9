"""The doctor's page: one HTML file that needs nothing beside it.

All text from the data goes through `safe`; pictures are part of the file.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssd.doctor.findings import Findings, by_kind, by_place, leaking, number, percent, said
from ssd.doctor.pictures import Pictures
from ssd.report.pieces import (
    Fact,
    bars,
    empty,
    facts,
    gallery,
    heat,
    items,
    pairs,
    safe,
    table,
    write_page,
)

SHOWN = 200  # faults of a kind; all are in doctor.json
QUANTILES = ("least", "5%", "25%", "50%", "75%", "95%", "most")


def write_doctors_page(path: Path, found: Findings, pictures: Pictures) -> None:
    sections = {
        "content": ("What is in it", content(found)),
        "faults": ("What is wrong", faults(found, pictures)),
        "leaks": ("What leaks", leaks(found, pictures)),
        "reach": ("What the anchors reach", reach(found, pictures)),
        "augmented": ("What augmentation does", augmented(pictures)),
        "advice": ("What to do", items(found.advice) or empty("Nothing: train.")),
    }
    joined = {id: (heading, "".join(parts)) for id, (heading, parts) in sections.items()}
    write_page(path, ", ".join(found.roots), facts(summary(found)), joined)


def summary(found: Findings) -> list[Fact]:
    wrong, leaks = len(found.faults), len(leaking(found.copies))
    return [
        Fact(str(found.total("images")), "images", "content"),
        Fact(str(found.total("boxes")), f"boxes of {len(found.classes)} classes", "content"),
        Fact(str(wrong), "faults", "faults", "bad" if wrong else "good"),
        Fact(str(leaks), "pictures in two splits", "leaks", "bad" if leaks else "good"),
        Fact(percent(found.reach["recall"]), "of boxes within reach", "reach"),
    ]


def content(found: Findings) -> Iterable[str]:
    stages = found.statistics
    yield table(
        ["", "images", "boxes", "empty images", "difficult", "crowds"],
        [
            [
                stage,
                *(one[key] for key in ("images", "boxes", "empty_images", "difficult", "crowds")),
            ]
            for stage, one in stages.items()
        ],
    )
    if found.made:
        yield f'<p class="soft">Made, since no file names them: {", ".join(found.made)}.</p>'
    if found.notes:
        yield items(f"{count} {what}" for what, count in found.notes.items())
    counts = sorted(((found.boxes_of(name), name) for name in found.classes), reverse=True)
    most = max([1, *(count for count, _ in counts)])
    yield "<h3>Boxes of each class</h3>"
    yield bars([(name, count / most, str(count)) for count, name in counts])
    if not counts:
        yield empty("No class: no object of any image could be read.")
    train = stages["train"]
    if train["images"]:
        yield from training(train)


def training(train: Mapping[str, Any]) -> Iterable[str]:
    """Sizes and places of the training images and their boxes."""
    columns = {
        "box, pixels": train["sizes"]["pixels"],
        "of its image": train["sizes"]["share"],
        "box, w/h": train["aspect_ratios"],
        "boxes": train["boxes_per_image"],
        "image, w/h": train["image_sizes"]["aspect_ratios"],
    }
    yield "<h3>Training images, from the least to the most</h3>"
    names = [name if name != "50%" else "median" for name in QUANTILES]
    yield table(
        ["", *columns],
        [
            [name, *(number(column[key]) for column in columns.values())]
            for name, key in zip(names, QUANTILES, strict=True)
        ],
    )
    yield (
        '<p class="soft">Pixels are the square root of a box\'s area, also as a share of that of '
        "its image; w/h is width over height; boxes are those of an image.</p>"
    )
    yield '<div class="columns"><div><h3>Box sizes, by COCO\'s bounds</h3>'
    sizes = {name: train["sizes"][name] for name in ("small", "medium", "large")}
    total = max(1, sum(sizes.values()))
    yield bars([(name, count / total, str(count)) for name, count in sizes.items()])
    yield "</div><div><h3>Image sizes</h3>"
    yield bars(
        [
            ("x".join(map(str, one["size"])), one["images"] / train["images"], str(one["images"]))
            for one in train["image_sizes"]["common"]
        ]
    )
    yield f"</div><div><h3>Where boxes lie</h3>{heat(train['centers'])}</div></div>"


def faults(found: Findings, pictures: Pictures) -> Iterable[str]:
    for called, messages in by_kind(found.faults).items():
        more = len(messages) - SHOWN
        tail = [f"and {more} more, in doctor.json"] if more > 0 else []
        yield f'<h3 class="bad">{len(messages)} {safe(called)}</h3>'
        yield items([*messages[:SHOWN], *tail])
    if not found.faults:
        yield empty("Every file could be read, every box holds something of its image.")
    yield gallery(pictures.faulty)
    twice = found.doubled()
    if twice:
        yield f"<h3>{twice} boxes lie on another of their class</h3>"
        yield gallery(pictures.duplicated)


def leaks(found: Findings, pictures: Pictures) -> Iterable[str]:
    for what, copies in by_place(found.copies).items():
        yield f"<h3>{what[0].upper()}{what[1:]}: {len(copies)}</h3>"
        yield items(said(copy, found.roots) for copy in copies[:SHOWN])
    if not found.copies:
        yield empty("No picture is there twice, neither in two splits nor in one.")
    yield pairs(pictures.leaks)


def reach(found: Findings, pictures: Pictures) -> Iterable[str]:
    one = found.reach
    if not one["boxes"]:
        yield empty("No training image holds a box.")
        return
    yield f"<p>{safe(sentence(found))}</p>"
    groups = {"By class": "by_class", "By size in the image": "by_size"}
    groups["By size in the input"] = "by_input_size"
    yield '<div class="columns">'
    for heading, key in groups.items():
        yield f"<div><h3>{heading}</h3>{recalls(one[key])}</div>"
    yield "</div>"
    yield from fitted(found)
    if pictures.missed:
        which = " as they are" if found.fit and found.fit.override else ""
        yield f"<h3>Boxes that none of the anchors{which} fits, the worst first</h3>"
        yield gallery(pictures.missed)


def sentence(found: Findings) -> str:
    one = found.reach
    height, width = one["image_size"]
    positives = number(one["positives_per_image"]["mean"])
    return (
        f"{found.model} at {height}x{width} has {one['anchors']} anchors. {percent(one['recall'])} "
        f"of {one['boxes']} training boxes overlap one by IoU {one['iou_threshold']} or more; "
        f"{one['unreached']} do not, and {one['unmatched']} have no anchor to find them. An image "
        f"has {positives} positive anchors on average."
    )


def recalls(rows: Mapping[str, Mapping[str, Any]]) -> str:
    return bars(
        [
            (name, row["recall"], f"{percent(row['recall'])} of {row['boxes']}")
            for name, row in rows.items()
        ]
    )


def fitted(found: Findings) -> Iterable[str]:
    yield "<h3>Anchors fitted to the boxes</h3>"
    fit = found.fit
    if fit is None:
        yield empty("fit=true searches sizes that reach more.")
        return
    if fit.override:
        before, after = percent(fit.before["recall"]), percent(fit.after["recall"])
        yield f"<p>{before} of the boxes before, {after} with</p><pre>{safe(fit.override)}</pre>"
        yield recalls(fit.after["by_class"])
    else:
        yield empty("No sizes were found that reach more than those that there are.")


def augmented(pictures: Pictures) -> Sequence[str]:
    if not pictures.augmented:
        return [empty("No training image can be read.")]
    return [
        '<p class="soft">Training images as the network gets them.</p>',
        gallery(pictures.augmented),
    ]
