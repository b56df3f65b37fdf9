"""Bars beside names, of one checkpoint or of two."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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

Series = Mapping[str, Sequence[float]]  # a value for each name, by checkpoint; nan: there is none
Intervals = Mapping[str, Sequence[tuple[float, float]]]  # lower and upper end, the same way

ROW = 0.3  # inches of a bar and what is between bars
MANY = 45  # bars; more of them are smaller and in two columns
MARGIN = 0.8  # inches above and below the bars


def bars(
    names: Sequence[str],
    series: Series,
    what: str,
    intervals: Intervals | None = None,
    nothing: str = "nothing to show",
    paints: Sequence[str] = CHECKPOINTS,
) -> Figure:
    """Horizontal bars, the first name on top, all to one scale. what: below the axis"""
    parts = 2 if len(names) > MANY else 1
    rows = -(-len(names) // parts)
    each = ROW * (1 if len(series) == 1 else 1.7) * (1 if parts == 1 else 0.62)
    figure = sized(parts * WIDTH, MARGIN + each * max(3, rows))
    left, right = reach(series, intervals)
    for part, axes in enumerate(figure.subplots(1, parts, squeeze=False)[0]):
        bare(axes)
        chosen = slice(part * rows, (part + 1) * rows)
        if not names[chosen]:
            say(axes, nothing)
            continue
        for index, checkpoint in enumerate(series):
            ends = None if intervals is None else intervals[checkpoint][chosen]
            values = series[checkpoint][chosen]
            draw(axes, values, ends, index, len(series), paints[index], short(checkpoint))
        axes.set_yticks(range(len(names[chosen])), [short(name) for name in names[chosen]])
        axes.set_ylim(rows - 0.4, -0.6)
        room = (right - left) * (0.12 if left < 0 else 0)  # for the numbers at the ends of bars
        axes.set_xlim(left - room, right + max(room, 0.17 * right))
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(what, color=INK, fontsize=9)
        if left < 0:
            axes.axvline(0, color=SOFT, linewidth=0.8)
    if len(series) > 1 and names:
        legend(figure.axes[0], loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return figure


def reach(series: Series, intervals: Intervals | None) -> tuple[float, float]:
    """What the axis must hold."""
    ends = [pair for pairs in (intervals or {}).values() for pair in pairs]
    all = np.concatenate([np.ravel(values) for values in (*series.values(), ends)])
    finite = all[np.isfinite(all)]
    left, right = min([0.0, *finite]), max([0.0, *finite])
    return (left, right) if left < right else (0.0, 0.1)


def draw(
    axes: Axes,
    values: Sequence[float],
    intervals: Sequence[tuple[float, float]] | None,
    index: int,
    count: int,
    paint: str,
    label: str,
) -> None:
    """One checkpoint's bars, the `index`-th of `count` beside each name."""
    thick = 0.74 / count
    places = np.arange(len(values)) + (index - (count - 1) / 2) * thick
    axes.barh(places, np.nan_to_num(values), 0.9 * thick, color=paint, label=label)
    axes.grid(axis="x", color=FAINT, alpha=0.5)
    axes.set_axisbelow(True)
    for row, value in enumerate(values):
        ends = (value, value)
        if intervals is not None and np.isfinite(intervals[row]).all():
            ends = intervals[row]
            axes.plot(ends, [places[row]] * 2, color=INK, linewidth=1.4, solid_capstyle="butt")
        negative = value < 0
        start = min(value, ends[0]) if negative else max(0.0, np.nan_to_num(max(value, ends[1])))
        axes.annotate(
            number(value), (start, places[row]), (-4 if negative else 4, 0),
            textcoords="offset points", va="center", ha="right" if negative else "left",
            fontsize=8, color=INK if np.isfinite(value) else SOFT,
        )  # fmt: skip
