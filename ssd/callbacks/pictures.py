"""Pictures of images with boxes, in files and loggers."""

from collections.abc import Sequence

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from ssd.report.drawing import draw_boxes


def draw(
    image: Tensor,
    boxes: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    scores: Tensor | None = None,
) -> np.ndarray:
    """An image with its boxes. image: (3, H, W) uint8; boxes: (N, 4) xyxy, fractions of it."""
    high, wide = image.shape[1:]
    pixels = boxes.float().cpu().numpy() * (wide, high, wide, high)
    names = [classes[label - 1] for label in labels.tolist()]
    values = None if scores is None else scores.tolist()
    picture = image.permute(1, 2, 0).cpu().numpy()
    return draw_boxes(picture, pixels, names, labels.tolist(), values)


def send(trainer: pl.Trainer, name: str, picture: np.ndarray) -> None:
    """Show a picture in TensorBoard and W&B, where they are among the loggers."""
    step = trainer.global_step
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, step, dataformats="HWC")
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [picture], step=step)
