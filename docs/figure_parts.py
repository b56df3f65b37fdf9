"""What the figures of docs/figures.py are made of: a picture, panels, boxes."""

from pathlib import Path
from typing import Any

import torch
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from ssd.data.dataset import DetectionDataset
from ssd.data.shapes import CLASSES, draw_picture
from ssd.data.transforms import Augmentation
from ssd.records import Annotations, Sample

INCHES, DPI, QUALITY = 7.0, 130, 75
# told apart by most eyes, colour-blind ones too: those of Okabe and Ito
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2")
BACKDROP = "#e8e8e8"  # where there is no picture
PICTURE = 47  # of the validation split
SEED = 2  # of its augmentations


def drawn(folder: Path) -> Annotations:
    """A split of one picture, whose file goes into `folder`."""
    picture, objects = draw_picture(0, "val", PICTURE)
    file = folder / "picture.png"
    Image.fromarray(picture[..., ::-1]).save(file)
    none = torch.zeros(len(objects), dtype=torch.bool)
    return Annotations(
        ids=["picture"],
        files=[str(file)],
        sizes=torch.tensor([picture.shape[1::-1]]),
        starts=torch.tensor([0, len(objects)]),
        boxes=torch.tensor([shape.box for shape, _ in objects], dtype=torch.float64),
        labels=torch.tensor([CLASSES.index(shape.name) + 1 for shape, _ in objects]),
        difficult=none,
        crowd=none,
    )


def dataset(
    split: Annotations, size: tuple[int, int], augmentation: Augmentation | None
) -> DetectionDataset:
    """What training reads. size: (height, width) of the network's input"""
    return DetectionDataset(
        split, size, augmentation, keep_difficult=True, keep_crowds=False, seed=SEED
    )


def panels(rows: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(INCHES, height), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(rows, columns).flat)


def show(axes: Axes, sample: Sample, title: str, border: float = 0.08) -> None:
    """A picture whose sides go from 0 to 1, with room around it for boxes that leave it."""
    image = sample["image"].permute(1, 2, 0).numpy()
    axes.imshow(image, extent=(0, 1, 1, 0), interpolation="nearest")
    axes.set(xlim=(-border, 1 + border), ylim=(1 + border, -border), xticks=[], yticks=[])
    axes.set_facecolor(BACKDROP)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=8.5)


def halo(width: float) -> list[Any]:
    """A dark edge, by which a line or a word shows on bright ground too."""
    return [patheffects.withStroke(linewidth=width, foreground="black")]


def outline(axes: Axes, box: Tensor, colour: str, width: float = 1.6, text: str = "") -> None:
    """A box, xyxy fractions, and a word over it or, where there is no room, in it."""
    x1, y1, x2, y2 = box.tolist()
    style = {
        "fill": False,
        "edgecolor": colour,
        "linewidth": width,
        "path_effects": halo(width + 1.2),
    }
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **style))
    if text:
        room = y1 > 0.06
        axes.text(
            max(x1, 0), y1 - 0.012 if room else y1 + 0.012, text,
            color="white", fontsize=7.5, va="bottom" if room else "top", path_effects=halo(2.5),
        )  # fmt: skip


def cycled(count: int) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(count)]


def finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=8.5)
    axes.tick_params(labelsize=7.5)
    axes.xaxis.label.set_size(8)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7.5, frameon=False)
