"""A picture of what augmentation makes of the training images."""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from PIL import Image
from torch.utils.data import Dataset

from ssd.callbacks.pictures import draw, send
from ssd.report.drawing import sheet


class ExampleAugmentations(pl.Callback):
    """Draws the first training images with their boxes, each beside its augmented versions.

    Writes run_dir/examples/augmented.png when training starts, and sends it to TensorBoard and W&B
    where they are among the loggers. The versions are those of the first `draws` epochs: a sample
    of `DetectionDataset` is a pure function of its key, so nothing that training sees changes.
    """

    def __init__(self, run_dir: str | Path, count: int, draws: int) -> None:
        self.path = Path(run_dir) / "examples" / "augmented.png"
        self.count = count
        self.draws = draws

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        dataset = trainer.train_dataloader.dataset
        titles = ["as it is", *(f"epoch {epoch}" for epoch in range(self.draws))]
        rows = min(self.count, len(dataset))
        tiles = [tile for index in range(rows) for tile in self.row(dataset, index, module.classes)]
        picture = sheet(tiles, len(titles), titles * rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(self.path, compress_level=1)  # the usual 6 takes a second
        send(trainer, "augmented", picture)

    def row(self, dataset: Dataset, index: int, classes: list[str]) -> list[np.ndarray]:
        """One image as it is, then its augmented versions."""
        samples = [dataset[index], *(dataset[epoch, index] for epoch in range(self.draws))]
        return [draw(s["image"], s["boxes"], s["labels"], classes) for s in samples]
