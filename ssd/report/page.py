"""The report of a split: one HTML file that needs nothing beside it, and its figures as PNG.

All text from files goes through `safe`; pictures are part of the page.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssd.report.assessment import IOU, Assessment
from ssd.report.charts import KIND_NAMES, Chart, draw_charts
from ssd.report.figures.style import number
from ssd.report.gallery import Galleries, draw_galleries
from ssd.report.pieces import (
    Fact,
    charts,
    described,
    empty,
    facts,
    gallery,
    halves,
    safe,
    table,
    write_page,
)
from ssd.report.speed import STAGES

SHOWN = 10  # confusions
PAGE, FIGURES = "report.html", "figures"
CLASS_COLUMNS = ("objects", "detections", "AP .50:.95", "AP@.50", "VOC12", "VOC07")
POINT_COLUMNS = ("threshold", "precision", "recall", "F1", "calibration error")


def write_report(folder: Path, found: Assessment) -> dict[str, Chart]:
    """Write report.html and figures/ into a folder; returns the figures, by name."""
    drawn = draw_charts([found])
    galleries = draw_galleries(found)
    sections = {
        "scores": ("How good it is", scores(found, drawn)),
        "curves": ("What a threshold costs", thresholds(found, drawn)),
        "errors": ("What goes wrong", errors(found, drawn)),
        "pictures": ("The worst of it", pictures(galleries)),
        "calibration": ("What scores mean", [calibrated(found, drawn)]),
        "speed": ("How fast it is", speeds([found])),
        "run": ("What was scored", [run([found])]),
    }
    title = f"{found.name}, {found.stage} split"
    write_all(folder, title, facts(summary(found)), sections, drawn)
    return drawn


def write_all(
    folder: Path,
    title: str,
    top: str,
    sections: Mapping[str, tuple[str, Iterable[str]]],
    drawn: Mapping[str, Chart],
) -> None:
    """The page last: where it is, all is."""
    (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    for name, chart in drawn.items():
        (folder / FIGURES / f"{name}.png").write_bytes(chart.png)
    joined = {id: (heading, "".join(parts)) for id, (heading, parts) in sections.items()}
    part = folder / f"{PAGE}.tmp"
    write_page(part, title, top, joined)
    part.replace(folder / PAGE)


def shown(drawn: Mapping[str, Chart], *names: str) -> str:
    return charts([drawn[name] for name in names])


def summary(found: Assessment) -> list[Fact]:
    worst = max(found.costs["kinds"], key=lambda kind: kind["cost"])
    scores = found.scored.summary
    return [
        Fact(number(scores["map"]), between(found, "map", "mAP .50:.95"), "scores"),
        Fact(number(scores["map_50"]), "mAP@.50", "scores"),
        Fact(number(worst["cost"]), f"mAP@.50 lost to: {KIND_NAMES[worst['kind']]}", "errors"),
        Fact(number(found.calibration["expected_error"]), "calibration error", "calibration"),
        Fact(f"{found.speed['images_per_second']:.1f}", "images per second", "speed"),
        Fact(str(len(found.scored.annotations.ids)), "images", "run"),
    ]


def between(found: Assessment, rule: str, what: str) -> str:
    ends = found.intervals.get(rule)
    return f"{what}, 95% {number(ends['low'])} to {number(ends['high'])}" if ends else what


def scores(found: Assessment, drawn: Mapping[str, Chart]) -> Iterator[str]:
    if not any(row["truths"] for row in found.scored.table):
        yield empty("The split holds no object that counts, so there is no precision.")
    yield shown(drawn, "map", "sizes", "ap")
    if found.resampled:
        draws = len(next(iter(found.resampled.values())).draws)
        yield (
            f'<p class="soft">The intervals hold 95% of {draws} scores of as many images, drawn '
            "again and again from the split: how much of a score is the choice of images.</p>"
        )
    yield table(
        ["class", *CLASS_COLUMNS],
        [
            [row["name"], row["truths"], row["detections"],
             *(number(row[key]) for key in ("ap", "ap_50", "ap_voc12", "ap_voc07"))]
            for row in found.scored.table
        ],
    )  # fmt: skip


def thresholds(found: Assessment, drawn: Mapping[str, Chart]) -> Iterator[str]:
    yield shown(drawn, "precision_recall", "thresholds")
    yield "<h3>The best threshold of each class</h3>"
    yield (
        '<p class="soft">Where F1 is greatest, at IoU .50; choose a higher one where false alarms '
        "cost more than missed objects.</p>"
    )
    rows = zip(found.classes, found.points, found.calibrations, strict=True)
    yield table(
        ["class", *POINT_COLUMNS],
        [
            [name, *map(number, point.values()), number(calibration["expected_error"])]
            for name, point, calibration in rows
        ],
    )


def errors(found: Assessment, drawn: Mapping[str, Chart]) -> Iterator[str]:
    if not len(found.scored.detections.scores):
        yield empty("Nothing was detected: every object is missed.")
    costs = found.costs
    rows = [
        [KIND_NAMES[kind["kind"]], kind["count"], number(kind["cost"])] for kind in costs["kinds"]
    ]
    rows += [["all false positives", "", number(costs["false_positives"])]]
    rows += [["all false negatives", "", number(costs["false_negatives"])]]
    counted = table(["error", "how many", "mAP@.50 that it costs"], rows)
    yield halves(shown(drawn, "errors"), counted)
    yield (
        '<p class="soft">Errors as TIDE has them (Bolya et al., ECCV 2020), of the best 100 '
        f"detections of each image, whatever their score; its mAP@.50 is {number(costs['ap_50'])}. "
        "The costs do not add up: to mend one kind uncovers another.</p>"
    )
    rows = confusions(found)
    often = table(["truth", "taken for", "how often"], rows) if rows else empty("None.")
    often = f"<h3>The most common confusions</h3>{often}"
    if drawn["confusion"].wide:
        yield shown(drawn, "confusion") + often
    else:
        yield halves(shown(drawn, "confusion"), often)


def confusions(found: Assessment) -> list[list[Any]]:
    """The cells beside the diagonal that hold most, between two classes."""
    counts = found.confusion[1:, 1:].clone().fill_diagonal_(0)
    best = counts.flatten().topk(min(SHOWN, counts.numel()))
    cells = [divmod(place, len(counts)) for place in best.indices.tolist()]
    return [
        [found.classes[row], found.classes[column], count]
        for (row, column), count in zip(cells, best.values.tolist(), strict=True)
        if count
    ]


def pictures(galleries: Galleries) -> Iterator[str]:
    yield (
        '<p class="soft">Left the truth in blue, right the detections in orange that the best '
        "threshold of their class keeps; a thick line is what the picture is about, a thin one "
        "marks its place in the other half.</p>"
    )
    headings = {
        "false_positives": ("False alarms, the surest first", "No false alarm."),
        "missed": ("Missed objects", "Every object is found."),
        "confusions": ("One class taken for another, the surest first", "No class is confused."),
    }
    for name, figures in galleries._asdict().items():
        heading, none = headings[name]
        yield f"<h3>{heading}</h3>"
        yield gallery(figures, "pairs") or empty(none)


def calibrated(found: Assessment, drawn: Mapping[str, Chart]) -> str:
    said = (
        f'<p class="soft">Of {found.calibration["count"]} detections. The calibration error is the '
        "mean distance of a score from the share of detections with such a score that are right: "
        f"IoU {IOU} or more with an object that no better detection has.</p>"
    )
    return halves(shown(drawn, "calibration"), said)


def speeds(runs: Sequence[Assessment]) -> Iterator[str]:
    all = [run.speed for run in runs]
    head = ["ms per image", *(run.name if len(runs) > 1 else "" for run in runs)]
    rows = [[what, *(f"{one[key]:.2f}" for one in all)] for key, what in STAGES.items()]
    rows.append(["together", *(f"{1000 / one['images_per_second']:.2f}" for one in all)])
    rows.append(["images per second", *(f"{one['images_per_second']:.1f}" for one in all)])
    rows.append(["reading alone", *(f"{one['reading']:.2f}" for one in all)])
    yield table(head, rows)
    device, images = safe(runs[0].facts["device"]), all[0]["images"]
    yield (
        f'<p class="soft">Measured in this pass over {images} images, in batches, on {device}; '
        "the first batch warms up and is left out where there are more. Waiting for images is what "
        "reading and resizing them takes beyond what is done beside it, and their way to the "
        "device. Reading alone is that of one image after the other in one process, measured "
        "outside the pass.</p>"
    )


def run(runs: Sequence[Assessment]) -> str:
    keys = [*dict.fromkeys(key for one in runs for key in one.facts)]
    head = ["", *(one.name for one in runs)] if len(runs) > 1 else []
    return described([[key, *(str(one.facts.get(key, "")) for one in runs)] for key in keys], head)
