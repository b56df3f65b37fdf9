"""What all figures of the report share: colours, sizes, axes, and what an empty one says."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ssd.report.drawing import printable

# Okabe and Ito's, told apart by people who see colours differently, in print too
BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000",
)  # fmt: skip
CHECKPOINTS = (BLUE, ORANGE)
CLASSES = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, BLACK)
DASHES = ("-", "--", "-.", ":")
INK, SOFT, FAINT = "#333333", "#767676", "#c8c8c8"
WIDTH = 5.6  # inches; a figure is as wide as half a page, and a phone shows its text
DPI = 200
LONGEST = 22  # letters of a name on an axis


def sized(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def bare(axes: Axes) -> None:
    """Axes without a box around them."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(colors=INK, labelsize=9)


def plot(height: float = 3.6, width: float = WIDTH) -> tuple[Figure, Axes]:
    """A figure of one plot."""
    figure = sized(width, height)
    axes = figure.subplots()
    bare(axes)
    return figure, axes


def png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def pixels(content: bytes) -> np.ndarray:
    """(H, W, 3) uint8 of a PNG, as loggers take it."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def say(axes: Axes, text: str) -> None:
    """What an axes without anything on it says."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=SOFT)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def short(name: str) -> str:
    """A name that an axis has room for; matplotlib reads $ as the start of a formula."""
    name = printable(name).replace("$", r"\$")
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def legend(axes: Axes, **options: object) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8.5, **options)


def number(value: float) -> str:
    """A share as people write it: .413, 1.00, and a dash for what does not exist."""
    if not np.isfinite(value):
        return "-"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:.2f}"


def signed(value: float) -> str:
    """A difference: +.012, -.003."""
    return f"+{number(value)}" if value >= 0 else number(value)
