"""Dropout, and whatever else a network draws, as a function of the step."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch


class SeedSteps(pl.Callback):
    """Seeds torch before every batch from (seed, optimizer step, batch, device): a run that goes on
    from a checkpoint draws what it would have drawn, and so it does whatever drew before it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int
    ) -> None:
        key = (self.seed, trainer.global_step, index, trainer.global_rank)
        # 32 bits, mixed: torch's generator on a CPU takes no more of a seed
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
