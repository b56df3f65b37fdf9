"""Which class is taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from ssd.report.figures.style import BLUE, INK, WIDTH, bare, short, sized

NUMBERED = 24  # classes; the cells of more have no room for numbers
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", BLUE])


def confusion(classes: Sequence[str], counts: np.ndarray) -> Figure:
    """Rows the truth, columns the detection, darker the larger the cell's share of its row.

    counts: (C, C) int, of labels, the background first; it is drawn last
    """
    order = [*range(1, len(counts)), 0]
    counts = counts[np.ix_(order, order)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = len(counts)
    numbered = size <= NUMBERED + 1
    side = max(WIDTH, 0.42 * size) if numbered else max(WIDTH, 0.135 * size + 1.6)
    letters = 9 if size <= 10 else 7 if numbered else 5.5
    figure = sized(side, 0.92 * side)
    axes = figure.subplots()
    bare(axes)
    shades = PowerNorm(0.5, 0, 1)  # or a hundredth would be white
    axes.imshow(shares, cmap=SHADES, norm=shades, aspect="auto", interpolation="nearest")
    names = [short(name) for name in classes]
    axes.set_xticks(range(size), [*names, "nothing"], rotation=45 if size <= 10 else 90,
                    ha="right" if size <= 10 else "center", fontsize=letters)  # fmt: skip
    axes.set_yticks(range(size), [*names, "nothing"], fontsize=letters)
    axes.tick_params(length=0)
    axes.set_xlabel("detected as", color=INK, fontsize=9)
    axes.set_ylabel("truth", color=INK, fontsize=9)
    for edge in np.arange(size + 1) - 0.5:  # thin lines, so that an empty cell is one
        axes.axhline(edge, color="#e6e6e6", linewidth=0.5)
        axes.axvline(edge, color="#e6e6e6", linewidth=0.5)
    for row, column in zip(*np.nonzero(counts), strict=True):
        if numbered:
            text, dark = str(counts[row, column]), shares[row, column] > 0.3
            if size <= 10:
                text += f"\n{shares[row, column]:.0%}"
            axes.text(column, row, text, ha="center", va="center", fontsize=letters - 1,
                      color="white" if dark else INK)  # fmt: skip
    return figure
