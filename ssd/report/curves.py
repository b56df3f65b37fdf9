"""The curves of a run, drawn from its metrics.csv."""

import csv
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Points = tuple[np.ndarray, np.ndarray]  # optimizer steps, values; both (points,)

PRECISIONS = {"map": "mAP .50:.95", "map_50": "mAP@.50", "map_voc07": "mAP VOC07"}


def plot_curves(metrics_csv: Path, output: Path) -> None:
    """Write a PNG of loss, mean average precision and learning rate over optimizer steps."""
    rows = read_rows(metrics_csv)
    figure = Figure(figsize=(10, 9), dpi=120, layout="constrained")
    loss, precision, rate = figure.subplots(3, 1, sharex=True, height_ratios=(4, 4, 1.5))
    draw_loss(loss, column(rows, "train/loss"), column(rows, "val/loss"))
    draw_precision(precision, rows)
    line(rate, column(rows, "train/lr"), color="tab:gray")
    rate.set(ylabel="learning rate", xlabel="optimizer steps")
    rate.set_xlim(left=0)
    for axes in (loss, precision, rate):
        finish(axes)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output)


def read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def column(rows: list[dict[str, str]], name: str) -> Points:
    """The finite values of a metric. The file counts steps from 0, people the steps done."""
    points = [(int(row["step"]) + 1, float(row[name])) for row in rows if row.get(name)]
    steps, values = np.array(points, dtype=float).reshape(-1, 2).T
    finite = np.isfinite(values)
    return steps[finite], values[finite]


def smoothed(values: np.ndarray) -> np.ndarray:
    """Mean over the nearest twentieth of the points: the whole run is known, nothing need lag."""
    if not len(values):
        return values
    window = np.ones(2 * (len(values) // 40) + 1)
    counts = np.convolve(np.ones(len(values)), window, mode="same")
    return np.convolve(values, window, mode="same") / counts


def draw_loss(axes: Axes, train: Points, val: Points) -> None:
    steps, values = train
    axes.plot(steps, values, color="tab:blue", alpha=0.25, linewidth=1)
    line(axes, (steps, smoothed(values)), label="train, smoothed", color="tab:blue")
    line(axes, val, label="validation", color="tab:orange")
    axes.set_ylabel("loss")
    both = np.concatenate([values, val[1]])
    if len(both) and both.min() > 0 and both.max() > 5 * both.min():
        axes.set_yscale("log")  # the first steps are many times the last
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(minor_ticks if both.max() < 50 * both.min() else "")


def minor_ticks(value: float, _: int) -> str:
    """Names the ticks 2, 3 and 5 of a decade: all nine would touch each other."""
    digit = round(value / 10 ** np.floor(np.log10(value)))
    return f"{value:g}" if digit in (2, 3, 5) else ""


def draw_precision(axes: Axes, rows: list[dict[str, str]]) -> None:
    for name, label in PRECISIONS.items():
        steps, values = points = column(rows, f"val/{name}")
        best = (
            f"{label}, best {values.max():.3f} at {steps[values.argmax()]:.0f}"
            if len(values)
            else ""
        )
        line(axes, points, label=best)
    axes.set_ylabel("validation mAP")
    axes.set_ylim(bottom=0)


def line(axes: Axes, points: Points, **style: str) -> None:
    """A line through points that are marked where they are few; nothing without points."""
    if len(points[0]):
        axes.plot(*points, marker="o" if len(points[0]) <= 60 else "", markersize=3.5, **style)


def finish(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False)
    if not axes.lines or not any(len(drawn.get_xdata()) for drawn in axes.lines):
        axes.text(0.5, 0.5, "nothing logged", transform=axes.transAxes, ha="center", color="gray")
        axes.set(yticks=[])
