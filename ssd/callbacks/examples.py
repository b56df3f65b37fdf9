"""Pictures of what the detector finds while it learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from PIL import Image

from ssd.callbacks.pictures import draw, send
from ssd.records import Batch, Detections
from ssd.report.drawing import beside, sheet

COLUMNS = 2  # a tile is two pictures wide


class ExampleDetections(pl.Callback):
    """Draws the first images of the validation split, the truth left, the detections right.

    Writes run_dir/examples/step_<optimizer steps>.png, keeps the newest `keep` of them, and sends
    each to TensorBoard and W&B where they are among the loggers. `validation_step` must return
    its Detections; `module.classes` names the labels from 1.
    """

    def __init__(self, run_dir: str | Path, count: int, keep: int, score: float) -> None:
        self.folder = Path(run_dir) / "examples"
        self.count = count
        self.keep = keep
        self.score = score
        self.tiles: list[np.ndarray] = []

    def on_validation_start(self, *_: Any) -> None:
        self.tiles = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Detections,
        batch: Batch,
        *_: Any,
    ) -> None:
        missing = self.count - len(self.tiles)
        if trainer.is_global_zero and not trainer.sanity_checking and missing > 0:
            self.tiles += draw_batch(batch, outputs, module.classes, self.score, missing)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if not self.tiles:
            return
        titles = [f"truth | detections of score {self.score} and more"] * len(self.tiles)
        picture, self.tiles = sheet(self.tiles, COLUMNS, titles), []
        self.folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(self.folder / f"step_{trainer.global_step:06d}.png")
        files = sorted(self.folder.glob("step_*.png"), key=lambda file: file.stat().st_mtime_ns)
        for file in files[: -self.keep]:
            file.unlink()
        send(trainer, "examples", picture)


def draw_batch(
    batch: Batch, found: Detections, classes: list[str], score: float, count: int
) -> list[np.ndarray]:
    """The first `count` images of the batch, each beside itself."""
    tiles = []
    for row, image in enumerate(batch["images"][:count]):
        real = batch["labels"][row] > 0
        kept = (found.labels[row] > 0) & (found.scores[row] >= score)
        truth = draw(image, batch["boxes"][row][real], batch["labels"][row][real], classes)
        scores = found.scores[row][kept]
        detected = draw(image, found.boxes[row][kept], found.labels[row][kept], classes, scores)
        tiles.append(beside(truth, detected))
    return tiles
