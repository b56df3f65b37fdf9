"""The figures of docs/how_it_works.md, made by the functions that train and detect.

    python docs/figures.py RUN [--output FOLDER]

RUN is the folder of a run on drawn shapes, as `python train.py hydra.run.dir=RUN` leaves it after
minutes on a CPU. The picture is one of its validation split, drawn anew: no data is read.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from docs.figure_parts import (  # noqa: E402
    COLOURS,
    DPI,
    INCHES,
    QUALITY,
    cycled,
    dataset,
    drawn,
    finish,
    outline,
    panels,
    show,
)
from ssd import models  # noqa: E402
from ssd.data.shapes import CLASSES  # noqa: E402
from ssd.models import SSD  # noqa: E402
from ssd.models.box_losses import l1, smooth_l1  # noqa: E402
from ssd.models.class_losses import Softmax, SoftmaxFocal, background_losses  # noqa: E402
from ssd.ops.boxes import decode, to_xyxy  # noqa: E402
from ssd.ops.detecting import class_scores, detect  # noqa: E402
from ssd.ops.matching import UNMATCHED, match  # noqa: E402
from ssd.ops.mining import per_image  # noqa: E402
from ssd.records import Annotations, Predictions, Sample  # noqa: E402
from ssd.weights.checkpoints import build_network, find_checkpoint, read_checkpoint  # noqa: E402

SCORE = 0.3  # from which an anchor is drawn
IOU = 0.5  # loss.iou_threshold
RATIO, MINIMUM = 3, 3  # loss.mining
PLACES = {
    words: words
    for words in (
        "augmentation=flip",
        "augmentation=none augmentation.zoom_out=1",
        "augmentation=none augmentation/crop=overlap",
        "augmentation=none augmentation/crop=large",
        "augmentation=none augmentation/crop=covering",
    )
}
CHANGES = ("brightness", "contrast", "saturation", "hue")
PAINTS = {
    f"augmentation.{kept}": " ".join(
        ["augmentation=none augmentation.colour=1"]
        + [f"augmentation.{other}=0" for other in CHANGES if other != kept]
    )
    for kept in CHANGES
} | {"augmentation.swap_channels": "augmentation=none augmentation.swap_channels=1"}
WHOLE = {name: name for name in ("augmentation=mild", "augmentation=ssd", "augmentation=balancap")}
DRAWS = 5  # of each augmentation


def anchors_of_cells(network: SSD, sample: Sample) -> Figure:
    """The centers of the cells of every level, and all anchors of one or two of them."""
    levels = list(zip(network.pyramid.levels, network.pyramid.cells, strict=True))
    parts = network.anchors.split(
        [rows * columns * len(at.shapes) for at, (rows, columns) in levels]
    )
    figure, axes = panels(2, -(-len(levels) // 2), 7.5)
    for ax, (level, (rows, columns)), part in zip(axes, levels, parts, strict=False):
        show(ax, sample, f"{rows}x{columns} cells, {len(level.shapes)} anchors each: {len(part):,}")
        cells = part.view(rows, columns, -1, 4)
        ax.plot(*cells[:, :, 0, :2].reshape(-1, 2).T, ".", color="black", markersize=4)
        ax.plot(*cells[:, :, 0, :2].reshape(-1, 2).T, ".", color="white", markersize=2)
        chosen = ((rows // 2, columns // 2),)
        if rows > 3:
            chosen = ((rows // 4, columns // 4), (3 * rows // 4, 3 * columns // 4))
        for row, column in chosen:
            for box, colour in zip(
                to_xyxy(cells[row, column]), cycled(len(level.shapes)), strict=True
            ):
                outline(ax, box, colour)
    for ax in axes[len(levels) :]:
        ax.set_axis_off()
    shapes = levels[0][0].shapes
    lines = [Line2D([], [], color=colour, linewidth=3) for colour in cycled(len(shapes))]
    figure.legend(
        lines,
        [f"{width:.0f}x{height:.0f}" for width, height in shapes],
        title="pixels on the first level",
        loc="outside lower center",
        ncols=6,
        fontsize=8,
        title_fontsize=8,
        frameon=False,
    )
    return figure


def matched(network: SSD, sample: Sample, own_anchors: bool) -> Tensor:
    """(A,) which object each anchor has to find."""
    boxes = sample["boxes"].unsqueeze(0)
    return match(boxes, boxes[..., 2] > 0, network.anchors, IOU, own_anchors)[0]


def matches(network: SSD, sample: Sample) -> Figure:
    """The objects; the anchors that overlap them; and those with an anchor of its own for each."""
    count = len(sample["boxes"])
    figure, axes = panels(1, 3, 2.75)
    show(axes[0], sample, f"\n{count} objects")
    for box, colour in zip(sample["boxes"], cycled(count), strict=True):
        outline(axes[0], box, colour)
    overlapping = matched(network, sample, own_anchors=False)
    for ax, found, how in zip(
        axes[1:],
        (overlapping, matched(network, sample, own_anchors=True)),
        (f"IoU from {IOU} on", "and one of its own for each (thick)"),
        strict=True,
    ):
        positive = found != UNMATCHED
        objects = len(found[positive].unique())
        show(ax, sample, f"{how}:\n{int(positive.sum())} anchors for {objects} objects")
        for place in positive.nonzero().flatten().tolist():
            width = 0.9 if found[place] == overlapping[place] else 2.5
            outline(ax, to_xyxy(network.anchors[place]), cycled(count)[found[place]], width)
    return figure


@torch.no_grad()
def predictions(network: SSD, sample: Sample) -> Predictions:
    return network.eval()(sample["image"].unsqueeze(0))


def hard_negatives(network: SSD, untrained: SSD, sample: Sample) -> Figure:
    """The negatives that mining picks, of a network before and after training."""
    figure, axes = panels(2, 2, 7.1)
    positive = matched(network, sample, own_anchors=True).unsqueeze(0) != UNMATCHED
    show(axes[0], sample, f"{int(positive.sum())} positive anchors")
    for box in to_xyxy(network.anchors[positive[0]]):
        outline(axes[0], box, COLOURS[3], width=0.9)
    sides = {"before training": untrained, "after training": network}
    for ax, (name, one), colour in zip(axes[1:], sides.items(), COLOURS, strict=False):
        losses = background_losses(predictions(one, sample).logits, "softmax")
        hard = per_image(losses, positive, RATIO, MINIMUM)
        show(ax, sample, f"{int(hard.sum())} hard negatives {name}")
        for box in to_xyxy(network.anchors[hard[0]]):
            outline(ax, box, colour, width=0.9)
        ranked = losses[~positive].sort(descending=True).values
        axes[3].plot(range(1, len(ranked) + 1), ranked, color=colour, label=name, linewidth=2)
    axes[3].axvspan(1, int(hard.sum()), color="0.85", label="chosen")
    axes[3].set(xscale="log", yscale="log", xlabel="negative anchors, the hardest first")
    finish(axes[3], "what each costs as background, -log p")
    for axis in (axes[3].xaxis, axes[3].yaxis):
        axis.set_major_formatter("{x:g}")
    return figure


def loss_curves() -> Figure:
    """What the class of an anchor and one of its offsets cost, by how wrong they are."""
    figure, (left, right) = panels(1, 2, 2.9)
    p = torch.linspace(0.005, 0.995, 200)
    logits = torch.stack([torch.zeros_like(p), torch.logit(p)], dim=1)
    objects = torch.ones(len(p), dtype=torch.int64)
    curves = (
        ("softmax", Softmax(label_smoothing=0), "-", COLOURS[4]),
        ("focal", SoftmaxFocal(alpha=0.25, background_alpha=0.75, gamma=2), "--", COLOURS[5]),
    )
    for name, cost, dashes, colour in curves:
        label = f"loss/classes={name}"
        left.plot(p, cost(logits, objects), dashes, color=colour, label=label, linewidth=2)
    left.set(xlabel="probability of the right class", ylim=(0, 5))
    finish(left, "an anchor on an object: its class")
    x = torch.linspace(-3, 3, 200)
    anchors = torch.tensor([[0.5, 0.5, 0.2, 0.2]]).expand(len(x), 4)
    offsets = torch.stack([x, *[torch.zeros_like(x)] * 3], dim=1)
    truth = to_xyxy(anchors)
    curves = (
        ("smooth_l1", smooth_l1(offsets, truth, anchors, beta=1), "-", COLOURS[4]),
        ("l1", l1(offsets, truth, anchors), "--", COLOURS[5]),
    )
    for name, costs, dashes, colour in curves:
        right.plot(x, costs, dashes, color=colour, label=f"loss/box={name}", linewidth=2)
    right.set(xlabel="error of one offset; of x, 1 is a tenth of the anchor's width")
    finish(right, "its box: each of the four offsets")
    return figure


def detections(network: SSD, sample: Sample) -> Figure:
    """Anchors of a high score, the boxes that they become, and those that suppression leaves."""
    figure, axes = panels(2, 2, 7.2)
    said = predictions(network, sample)
    scores, labels = class_scores(said.logits, "softmax")[0].max(dim=1)
    places = (scores >= SCORE).nonzero().flatten()
    anchors = network.anchors[places]
    titles = {
        f"{len(places)} anchors of a score from {SCORE} on": to_xyxy(anchors),
        "the boxes that their offsets make": to_xyxy(decode(said.offsets[0, places], anchors)),
    }
    for ax, (title, boxes) in zip(axes, titles.items(), strict=False):
        show(ax, sample, title)
        for box, label in zip(boxes, labels[places].tolist(), strict=True):
            outline(ax, box, COLOURS[label - 1], width=0.9)
    found = detect(
        said, network.anchors, score_threshold=SCORE, candidates_per_class=400,
        iou_threshold=0.45, detections_per_image=200, clip_boxes=True,
    )  # fmt: skip
    boxes, scores, labels = (column[0] for column in found)
    show(axes[2], sample, f"{len(boxes)} detections after suppression")
    for box, score, label in zip(boxes, scores.tolist(), labels.tolist(), strict=True):
        outline(axes[2], box, COLOURS[label - 1], text=f"{CLASSES[label - 1]} {score:.2f}")
    show(axes[3], sample, f"the {len(sample['boxes'])} objects that were drawn")
    for box, label in zip(sample["boxes"], sample["labels"].tolist(), strict=True):
        outline(axes[3], box, COLOURS[label - 1], text=CLASSES[label - 1])
    return figure


def augmentations(
    choices: dict[str, str], split: Annotations, size: tuple[int, int], boxes: bool = True
) -> Figure:
    """A row for each choice: the picture as it is, then as it is in `DRAWS` epochs.

    choices: words of a command line, by the title of their row; a key's is followed by its value
    """
    figure = Figure(figsize=(INCHES, 1.42 * len(choices)), dpi=DPI, layout="constrained")
    rows = figure.subfigures(len(choices), 1, squeeze=False)[:, 0]
    for row, (title, words) in zip(rows, choices.items(), strict=True):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            chosen = compose("train", words.split())
        key = title.removeprefix("augmentation.")
        value = f"={chosen.augmentation[key]}" if key in chosen.augmentation else ""
        row.suptitle(f"{title}{value}", x=0.008, ha="left", fontsize=7.5, family="monospace")
        images = dataset(split, size, instantiate(chosen.augmentation, _convert_="all"))
        keys = [0, *((epoch, 0) for epoch in range(DRAWS))]
        for ax, sample in zip(
            row.subplots(1, len(keys)), map(images.__getitem__, keys), strict=True
        ):
            show(ax, sample, "", border=0.02)
            for box, label in zip(sample["boxes"], sample["labels"].tolist(), strict=True):
                if boxes:
                    outline(ax, box, COLOURS[label - 1], width=1)
    return figure


def load(run: Path) -> tuple[SSD, SSD]:
    """A run's network, and one of the same kind that is new."""
    checkpoint = read_checkpoint(find_checkpoint(run))
    described = checkpoint["ssd"]
    if tuple(described["classes"]) != CLASSES:
        raise SystemExit(f"{run}: no run on drawn shapes; python train.py hydra.run.dir=RUN is one")
    torch.manual_seed(0)
    arguments = dict(described["model"])
    new = getattr(models, arguments.pop("name"))(num_classes=len(CLASSES) + 1, **arguments)
    return build_network(checkpoint), new


def figures(network: SSD, untrained: SSD, folder: Path) -> dict[str, Callable[[], Figure]]:
    """What draws each figure, by its name. folder: for the picture's file"""
    size, split = network.image_size, drawn(folder)
    sample = dataset(split, size, None)[0]
    return {
        "anchors": lambda: anchors_of_cells(network, sample),
        "matches": lambda: matches(network, sample),
        "negatives": lambda: hard_negatives(network, untrained, sample),
        "loss": loss_curves,
        "detections": lambda: detections(network, sample),
        "places": lambda: augmentations(PLACES, split, size),
        "colours": lambda: augmentations(PAINTS, split, size, boxes=False),
        "augmentations": lambda: augmentations(WHOLE, split, size),
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "figures")
    given = parser.parse_args(words)
    given.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, draw in figures(*load(given.run), Path(folder)).items():
            path = given.output / f"{name}.jpg"
            draw().savefig(path, pil_kwargs={"quality": QUALITY})
            print(path)


if __name__ == "__main__":
    main()
