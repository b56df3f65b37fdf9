"""Two stages of training in one run: some of the weights first, then all."""

import logging
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy

from ssd.errors import ConfigError
from ssd.optim.parameters import freeze, selected

log = logging.getLogger(__name__)


class FreezeUntil(pl.Callback):
    """Until optimizer step `step` only the weights of `trainable` train, then all.

    trainable: prefixes or patterns, see `ssd.optim.parameters.freeze`, of `module.network`

    The optimizer knows all weights from the start. Those that are frozen get no gradient, so it
    leaves them alone, decay included. Which stage it is depends on the step alone, so a resumed run
    is in the right one.
    """

    def __init__(self, trainable: Sequence[str], step: int) -> None:
        if step < 1:
            raise ConfigError(f"callbacks.freezing.step={step}: give at least 1")
        self.trainable = list(trainable)
        self.step = step
        self.frozen = False

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        names = [name for name, _ in module.network.named_parameters()]
        selected(names, self.trainable, "callbacks.freezing.trainable")
        strategy = trainer.strategy
        ddp = isinstance(strategy, DDPStrategy)
        # told nothing, DDP waits for the gradients of frozen weights
        if ddp and not strategy._ddp_kwargs.get("find_unused_parameters"):
            raise ConfigError(
                "callbacks=two_stage: on several devices DDP must know that some weights get no "
                "gradient; give trainer.strategy.find_unused_parameters=true"
            )

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        known = sum(len(group["params"]) for group in trainer.optimizers[0].param_groups)
        if known < len([*module.network.parameters()]):
            raise ConfigError(
                f"callbacks=two_stage: from step {self.step} on all weights train; leave out "
                "trainable, which freezes some for good"
            )
        if self.step >= trainer.estimated_stepping_batches:
            log.warning(
                "callbacks.freezing.step=%d lies beyond the run: the second stage never comes",
                self.step,
            )
        self.frozen = trainer.global_step < self.step
        if self.frozen:
            freeze(module.network, self.trainable)
            log.info("until step %d only %s train", self.step, ", ".join(self.trainable))

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any
    ) -> None:
        if self.frozen and trainer.global_step >= self.step:
            freeze(module.network, None)
            self.frozen = False
            log.info("from step %d on all weights train", self.step)
