"""Pictures of what was measured."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.growth import Point
from benchmarks.timing import OURS, Timed

OURS_COLOUR, THEIRS, FASTER, SLOWER = "tab:blue", "tab:gray", "#2e7d32", "#b3261e"
LEAST = {"seconds": 1e-4, "megabytes": 0.1}  # less than that is nothing


def plot_ratios(results: Sequence[Timed], path: Path) -> None:
    """How many times faster ours is, a bar for each other side, with its interval."""
    rows = [
        (f"{result.part}, {result.case}", side, result)
        for result in results
        for side in result.seconds
        if side != OURS
    ]
    if not rows:
        return
    figure = Figure(figsize=(10, 1.2 + 0.34 * len(rows)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for place, (_, side, result) in enumerate(rows):
        ratio, (low, high) = result.ratio(side), result.interval(side)
        colour = FASTER if ratio >= 1 else SLOWER
        axes.barh(place, ratio - 1, left=1, color=colour, height=0.62, alpha=0.85)
        axes.plot([low, high], [place, place], color="black", linewidth=1)
        axes.text(max(ratio, high, 1) * 1.04, place, f"{ratio:.2f}x", va="center", fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    names = [f"{name}\nbeside {side}" for name, side, _ in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=7.5)
    axes.set_xscale("log")
    axes.set_xlim(right=axes.get_xlim()[1] * 1.3)
    axes.xaxis.set_major_formatter("{x:g}x")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("times as fast; the line is a 95 % interval")
    axes.invert_yaxis()
    bare(axes)
    figure.savefig(path)


def plot_growth(points: Sequence[Point], path: Path) -> None:
    """Seconds and megabytes over what grows, beside a line in proportion to the work."""
    axes_names = list(dict.fromkeys(point.axis for point in points))
    figure = Figure(figsize=(3.4 * len(axes_names), 6), dpi=120, layout="constrained")
    grid = figure.subplots(2, len(axes_names), squeeze=False)
    for place, name in enumerate(axes_names):
        chosen = [point for point in points if point.axis == name]
        values = [point.value for point in chosen]
        power = 2 if name.startswith("pixels") else 1
        for row, unit in ((0, "seconds"), (1, "megabytes")):
            axes = grid[row, place]
            heights = [max(getattr(point, unit), LEAST[unit]) for point in chosen]
            axes.plot(values, heights, marker="o", color=OURS_COLOUR)
            work = [heights[-1] * (value / values[-1]) ** power for value in values]
            axes.plot(values, work, color=THEIRS, linestyle=":", label="in proportion to the work")
            axes.set(xscale="log", yscale="log", xlabel=name, ylabel=unit)
            axes.set_xticks(values, [short(value) for value in values])
            axes.minorticks_off()
            axes.yaxis.set_major_formatter("{x:g}")
            axes.set_ylim(min(heights) / 2, max(heights) * 2)
            bare(axes)
    grid[0, 0].legend(frameon=False, fontsize=8)
    figure.savefig(path)


def short(value: int) -> str:
    for size, letter in ((1_000_000, "M"), (10_000, "k")):
        if value >= size:
            return f"{value // (1000 if letter == 'k' else size)}{letter}"
    return str(value)


def bare(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
