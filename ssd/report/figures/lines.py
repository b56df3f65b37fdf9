"""A line for each class: precision over recall, F1 over the threshold."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssd.analysis.thresholds import OperatingPoint
from ssd.ops.precision import Curve
from ssd.report.figures.style import (
    CLASSES,
    DASHES,
    FAINT,
    INK,
    bare,
    legend,
    number,
    plot,
    say,
    short,
)

ENDS = 3  # of many classes the best and the worst have colours and names
FAR = 1.02  # an axis of shares ends a little beyond 1, so that a line along it is seen


def precision_recall(
    classes: Sequence[str], curves: Sequence[Curve], aps: Sequence[float]
) -> Figure:
    """aps: the area under each curve, to its name; nan where the class has no truths"""
    figure, axes = plot()
    ranked = [index for index in by_value(aps) if len(curves[index].scores)]
    for index, style in styles(ranked).items():
        label = f"{short(classes[index])}, AP {number(aps[index])}" if style["label"] else None
        recall, precision = steps(curves[index])
        axes.plot(recall, precision, **{**style, "label": label})
    finish(axes, "recall", "precision", ranked)
    return figure


def steps(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision, from the first detection down to the last."""
    recall, precision = curve.recall.numpy(), curve.precision.numpy()
    return np.append(0.0, recall), np.append(precision[:1], precision)


def f1_over_threshold(
    classes: Sequence[str], curves: Sequence[Curve], points: Sequence[OperatingPoint]
) -> Figure:
    """F1 of each class where detections with this score and more are kept; its best is marked."""
    figure, axes = plot()
    bests = [point["f1"] if np.isfinite(point["threshold"]) else np.nan for point in points]
    ranked = by_value(bests)
    for index, style in styles(ranked).items():
        point, curve = points[index], curves[index]
        label = f"{short(classes[index])}, best at {number(point['threshold'])}"
        axes.plot(
            curve.scores.numpy(), f1(curve), **{**style, "label": label if style["label"] else None}
        )
        axes.plot(point["threshold"], point["f1"], "o", color=style["color"], markersize=4)
    finish(axes, "score threshold", "F1", ranked)
    return figure


def f1(curve: Curve) -> np.ndarray:
    recall, precision = curve.recall.numpy(), curve.precision.numpy()
    return 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def by_value(values: Sequence[float]) -> list[int]:
    """Classes with a value, the greatest first."""
    return sorted((i for i, v in enumerate(values) if np.isfinite(v)), key=lambda i: -values[i])


def styles(ranked: Sequence[int]) -> dict[int, dict]:
    """How each class is drawn, those with colours last, on top. ranked: the best class first"""
    many = len(ranked) > len(CLASSES)
    marked = [*ranked[:ENDS], *ranked[-ENDS:]] if many else sorted(ranked)
    plain = {"color": FAINT, "linewidth": 0.8, "label": False}
    drawn = {index: plain for index in ranked if index not in marked}
    for place, index in enumerate(marked):
        dashes = DASHES[0] if not many or place < ENDS else DASHES[1]
        drawn[index] = {
            "color": CLASSES[place],
            "linestyle": dashes,
            "linewidth": 1.6,
            "label": True,
        }
    return drawn


def finish(axes: Axes, across: str, up: str, ranked: Sequence[int]) -> None:
    bare(axes)
    if not ranked:
        say(axes, "no class has both objects and detections")
        return
    axes.set(xlim=(0, FAR), ylim=(0, FAR))
    axes.set_xlabel(across, color=INK, fontsize=9)
    axes.set_ylabel(up, color=INK, fontsize=9)
    axes.grid(color=FAINT, alpha=0.5)
    if len(ranked) > len(CLASSES):
        axes.plot([], [], color=FAINT, label=f"the other {len(ranked) - 2 * ENDS}")
    legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
