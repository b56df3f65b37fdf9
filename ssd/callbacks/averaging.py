"""The moving average of the weights: what is scored, saved for use and exported."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn

from ssd.errors import ConfigError


class MovingAverage(WeightAveraging):
    """Moves an average of the weights a little towards them after every optimizer step.

        average += (1 - decay) * (weights - average)

    as TensorFlow's ExponentialMovingAverage: it starts at the weights that the fit starts from.
    warm_up: at step t, which counts from 1, decay is at most (1 + t) / (10 + t), so that the
    average soon forgets where it started; False: `decay` throughout

    Validation scores the average. A checkpoint has it as its "state_dict"; the weights themselves,
    which training and a resume go on with, are its "current_model_state". After the fit the module
    holds the average. Running statistics of norms are averaged too, as in TF-slim.
    """

    def __init__(self, decay: float, warm_up: bool) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ConfigError(f"callbacks.averaging.decay={decay}: give at least 0, less than 1")
        self.decay = decay
        self.warm_up = warm_up
        self.swapped = False  # whether the module holds the average now

    def decay_at(self, step: int) -> float:
        return min(self.decay, (1 + step) / (10 + step)) if self.warm_up else self.decay

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        self._average_model = None  # of an earlier fit, which an error ended
        super().setup(trainer, module, stage)
        self._latest_update_step = trainer.global_step
        self.swapped = False

    def on_load_checkpoint(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.state.fn == "fit":  # else it is right as it is, but Lightning warns
            super().on_load_checkpoint(trainer, *args)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step > self._latest_update_step:  # not between the parts of one step
            move(self._average_model.module, module, 1 - self.decay_at(trainer.global_step))
            self._latest_update_step = trainer.global_step

    def on_train_end(self, *_: Any) -> None:
        """Lightning's would lose the weights here, before the last checkpoint is saved."""

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._copy_average_to_current(module)
        self._average_model = None  # what comes after the fit neither swaps nor restores it

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if self.swapped:  # a checkpoint may be saved on the way out
            self._swap_models(module)

    def _swap_models(self, module: pl.LightningModule) -> None:
        super()._swap_models(module)
        self.swapped = not self.swapped


@torch.no_grad()
def move(average: nn.Module, module: nn.Module, weight: float) -> None:
    """Move the tensors of `average` that share of the way to those of `module`; copy integers.

    No tensor is looked at, so a GPU need not wait; equal ones stay as they are, bit by bit.
    """
    pairs = [*zip(tensors(average), tensors(module), strict=True)]
    floats = [pair for pair in pairs if pair[0].is_floating_point()]
    torch._foreach_lerp_([pair[0] for pair in floats], [pair[1] for pair in floats], weight)
    for mean, current in pairs:
        if not mean.is_floating_point():
            mean.copy_(current)


def tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())
