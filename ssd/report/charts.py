"""Which figures a report has, of one checkpoint or of two, and what is said under each."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ssd.analysis.errors import KINDS
from ssd.report.assessment import Assessment
from ssd.report.figures.bars import bars
from ssd.report.figures.calibration import reliability
from ssd.report.figures.confusion import confusion
from ssd.report.figures.lines import f1_over_threshold, precision_recall
from ssd.report.figures.style import GREEN, png, short

RULES = {
    "map": "COCO, IoU .50:.95",
    "map_50": "COCO, IoU .50",
    "map_75": "COCO, IoU .75",
    "map_voc07": "VOC 2007, 11 points",
    "map_voc12": "VOC 2012, area",
    "map_small": "COCO, small objects",
    "map_medium": "COCO, medium objects",
    "map_large": "COCO, large objects",
}
SAID = {  # under each
    "map": "Mean average precision by every rule; a line is the 95% interval.",
    "ap": "AP .50:.95 of each class.",
    "sizes": "AP .50:.95 by the size of objects: the side of a square of the same area, in pixels "
    "of the original.",
    "errors": "What each kind of error costs in mAP at IoU .50: how much it would rise if this "
    "kind alone were mended.",
    "calibration": "How many of the detections with a score are right. Below the diagonal the "
    "detector claims too much.",
    "differences": "AP .50:.95 of the second less that of the first.",
    "precision_recall": "Precision and recall at IoU .50 as ever lower scores are taken.",
    "thresholds": "F1, the balance of precision and recall, by the score below which detections "
    "are dropped.",
    "confusion": "What objects of each class were detected as, at the best thresholds; shares are "
    "of the row. The last row holds detections where nothing is.",
}
MANY = 24  # classes; their figures take the whole width of the page
KIND_NAMES = {
    "class": "wrong class",
    "location": "poor box",
    "both": "class and box",
    "duplicate": "duplicate",
    "background": "nothing there",
    "missed": "missed",
}


class Chart(NamedTuple):
    """A figure as it goes into the page and into a file."""

    png: bytes
    caption: str
    wide: bool  # takes the whole width of the page


def draw_charts(runs: Sequence[Assessment]) -> dict[str, Chart]:
    """By the names of their files."""
    wide = len(runs[0].classes) > MANY
    charts = {
        "map": chart(scores(runs), SAID["map"]),
        "ap": chart(class_bars(runs), SAID["ap"], wide),
        "sizes": chart(sizes(runs), SAID["sizes"]),
        "errors": chart(errors(runs), SAID["errors"]),
        "calibration": chart(calibration(runs), SAID["calibration"]),
    }
    if len(runs) == 2:
        charts["differences"] = chart(differences(*runs), SAID["differences"], wide)
    for run in runs:
        own = {
            "precision_recall": curves(run),
            "thresholds": f1_over_threshold(run.classes, run.scored.curves, run.points),
            "confusion": confusion(run.classes, run.confusion.numpy()),
        }
        of, end = (f"{run.name}: ", f"_{run.name}") if len(runs) == 2 else ("", "")
        for name, figure in own.items():
            charts[name + end] = chart(figure, of + SAID[name], wide and name == "confusion")
    return charts


def chart(figure: Figure, caption: str, wide: bool = False) -> Chart:
    return Chart(png(figure), caption, wide)


def curves(run: Assessment) -> Figure:
    areas = [row["ap_voc12"] for row in run.scored.table]
    return precision_recall(run.classes, run.scored.curves, areas)


def scores(runs: Sequence[Assessment]) -> Figure:
    return bars(
        list(RULES.values()),
        {run.name: [run.scored.summary[rule] for rule in RULES] for run in runs},
        "mAP",
        {run.name: [ends(run, rule) for rule in RULES] for run in runs},
    )


def ends(run: Assessment, rule: str) -> tuple[float, float]:
    """The interval of a score; nan where it was not drawn."""
    found = run.intervals.get(rule)
    return (found["low"], found["high"]) if found else (np.nan, np.nan)


def class_bars(runs: Sequence[Assessment]) -> Figure:
    return bars(runs[0].classes, {run.name: aps(run) for run in runs}, "AP .50:.95")


def aps(run: Assessment) -> list[float]:
    return [row["ap"] for row in run.scored.table]


def differences(first: Assessment, second: Assessment) -> Figure:
    values = [after - before for before, after in zip(aps(first), aps(second), strict=True)]
    what = f"AP of {short(second.name)} less that of {short(first.name)}"
    return bars(first.classes, {"difference": values}, what, paints=[GREEN])


def sizes(runs: Sequence[Assessment]) -> Figure:
    names = [f"{one['name']} ({one['truths']})" for one in runs[0].sizes]
    values = {run.name: [one["ap"] for one in run.sizes] for run in runs}
    return bars(names, values, "AP .50:.95 (and how many objects)")


def errors(runs: Sequence[Assessment]) -> Figure:
    names = [KIND_NAMES[kind] for kind in KINDS]
    return bars(names, costs(runs), "mAP@.50 that it costs")


def costs(runs: Sequence[Assessment]) -> Mapping[str, Sequence[float]]:
    return {run.name: [kind["cost"] for kind in run.costs["kinds"]] for run in runs}


def calibration(runs: Sequence[Assessment]) -> Figure:
    return reliability({run.name: run.calibration for run in runs})
