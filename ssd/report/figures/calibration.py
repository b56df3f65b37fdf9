"""Whether scores mean what they say."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ssd.analysis.calibration import Calibration
from ssd.report.figures.style import (
    CHECKPOINTS,
    FAINT,
    INK,
    SOFT,
    WIDTH,
    bare,
    legend,
    number,
    say,
    short,
    sized,
)

MARKERS = "os"


def reliability(found: Mapping[str, Calibration]) -> Figure:
    """Precision of the detections by their score, above how many there are. found: by checkpoint"""
    figure = sized(WIDTH, 4.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    for axes in (upper, lower):
        bare(axes)
        axes.grid(color=FAINT, alpha=0.5)
        axes.set_axisbelow(True)
    if not any(one["count"] for one in found.values()):
        say(upper, "no detection")
        say(lower, "")
        return figure
    upper.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":", label="as they should be")
    for index, (name, one) in enumerate(found.items()):
        paint, bins = CHECKPOINTS[index], one["bins"]
        error = f"error {number(one['expected_error'])}"
        label = error if len(found) == 1 else f"{short(name)}, {error}"
        points = np.array([(b["mean_score"], b["precision"]) for b in bins if b["count"]])
        upper.plot(*points.T, MARKERS[index] + "-", color=paint, markersize=4.5, label=label)
        middles = np.array([(b["low"] + b["high"]) / 2 for b in bins])
        wide = (bins[0]["high"] - bins[0]["low"]) / len(found)
        shift = (index - (len(found) - 1) / 2) * wide
        lower.bar(middles + shift, [b["count"] for b in bins], 0.86 * wide, color=paint)
    upper.set(xlim=(0, 1), ylim=(0, 1.02))
    upper.set_ylabel("share that is right", color=INK, fontsize=9)
    lower.set_yscale("log")
    lower.yaxis.set_major_formatter("{x:g}")
    lower.yaxis.set_minor_formatter("")
    lower.set_ylim(bottom=0.7)
    lower.set_xlabel("score", color=INK, fontsize=9)
    lower.set_ylabel("detections", color=INK, fontsize=9)
    legend(upper, loc="upper left")
    return figure
