"""A report's figures and curves in TensorBoard and W&B."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger

from ssd.callbacks.pictures import send
from ssd.ops.precision import Curve
from ssd.report.assessment import Assessment
from ssd.report.charts import Chart
from ssd.report.figures.style import pixels

THRESHOLDS = 101  # of TensorBoard's curves, from 0 to 1


def send_report(
    trainer: pl.Trainer, found: Assessment, drawn: Mapping[str, Chart], page: Path
) -> None:
    """The figures as pictures; to TensorBoard precision and recall as numbers, too; to W&B the
    whole page."""
    for name, chart in drawn.items():
        send(trainer, f"{found.stage}_report/{name}", pixels(chart.png))
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            for name, curve in zip(found.classes, found.scored.curves, strict=True):
                if curve.num_truths and len(curve.scores):
                    values = dict(zip(COUNTS, counted(curve), strict=True))
                    tag = f"{found.stage}_precision_recall/{name}"
                    logger.experiment.add_pr_curve_raw(
                        tag, **values, global_step=trainer.global_step, num_thresholds=THRESHOLDS
                    )
        if isinstance(logger, WandbLogger):
            from wandb import Html  # an extra, which a WandbLogger proves to be there

            html = Html(page, inject=False)
            logger.log_metrics({f"{found.stage}_report": html}, trainer.global_step)


COUNTS = (
    *("true_positive_counts", "false_positive_counts", "true_negative_counts"),
    *("false_negative_counts", "precision", "recall"),
)


def counted(curve: Curve) -> np.ndarray:
    """(6, THRESHOLDS) COUNTS of the detections with a score of at least each threshold. There is no
    true negative: nobody counts the places where rightly nothing was found."""
    scores = curve.scores.double().numpy()
    kept = np.searchsorted(-scores, -np.linspace(0, 1, THRESHOLDS), side="right")
    recall = np.append(0.0, curve.recall.numpy())[kept]
    precision = np.append(1.0, curve.precision.numpy())[kept]
    right = recall * curve.num_truths
    # without a right one all are wrong; of difficult objects are neither, which does not show then
    wrong = np.where(precision > 0, right / np.maximum(precision, 1e-12) - right, kept)
    return np.stack([right, wrong, 0 * right, curve.num_truths - right, precision, recall])
