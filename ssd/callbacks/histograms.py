"""Histograms of weights and gradients."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from ssd.errors import ConfigError


class Histograms(pl.Callback):
    """Sends weights/<parameter> and gradients/<parameter> to TensorBoard and W&B.

    Every `every_n_steps` optimizer steps: the weights after the step, the gradients as the step
    used them, clipped for example. A frozen weight has no gradient, hence no histogram of it.
    """

    def __init__(self, every_n_steps: int) -> None:
        if every_n_steps < 1:
            raise ConfigError(f"callbacks.histograms.every_n_steps={every_n_steps}: give 1 or more")
        self.every_n_steps = every_n_steps
        self.sent_step = 0

    def setup(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        loggers = (TensorBoardLogger, WandbLogger)
        if not any(isinstance(logger, loggers) for logger in trainer.loggers):
            raise ConfigError(
                "callbacks=histograms has nowhere to write: give logger=tensorboard or logger=wandb"
            )

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.sent_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        due = step % self.every_n_steps == 0 and step > self.sent_step
        if due and trainer.is_global_zero:
            self.sent_step = step
            send(trainer, histograms(module))


def histograms(module: pl.LightningModule) -> dict[str, Tensor]:
    """The finite values, for a histogram holds no others, by the name of their histogram."""
    values = {}
    for name, weight in module.named_parameters():
        values[f"weights/{name}"] = weight.detach()
        if weight.grad is not None:
            values[f"gradients/{name}"] = weight.grad
    finite = {name: value[value.isfinite()].float().cpu() for name, value in values.items()}
    return {name: value for name, value in finite.items() if value.numel()}


def send(trainer: pl.Trainer, values: dict[str, Tensor]) -> None:
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            for name, value in values.items():
                logger.experiment.add_histogram(name, value, trainer.global_step)
        if isinstance(logger, WandbLogger):
            from wandb import Histogram  # an extra, which a WandbLogger proves to be there

            named = {name: Histogram(value.numpy()) for name, value in values.items()}
            logger.log_metrics(named, trainer.global_step)
