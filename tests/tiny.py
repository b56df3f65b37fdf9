"""A detector that trains in milliseconds, for tests of callbacks in real runs."""

import csv
import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ssd.callbacks.best_checkpoint import BestCheckpoint
from ssd.callbacks.checkpoints import LastCheckpoint
from ssd.callbacks.final_validation import ValidateAtEnd
from ssd.callbacks.progress import Progress
from ssd.checkpointing import SafeCheckpointIO
from ssd.records import Batch, Detections
from ssd.weights.checkpoints import FORMAT

BATCHES = 6  # of an epoch
IMAGES = 2  # of a batch


class Tiny(pl.LightningModule):
    """Counts its validations; its score is what `scores` says of each."""

    classes = ("cat", "dog")

    def __init__(self, scores: tuple[float, ...] = (0.5,), validates: bool = True) -> None:
        super().__init__()
        self.network = nn.Linear(1, 1)
        self.scores = iter(scores)
        self.score = 0.0
        self.validated_at: list[int] = []
        self.validates = validates

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss = self.network(batch["boxes"][:, 0, :1]).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, index: int) -> Detections:
        return Detections(batch["boxes"], torch.full((IMAGES, 1), 0.9), batch["labels"])

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking:
            return
        self.validated_at.append(self.global_step)
        self.score = next(self.scores, self.score)
        self.log("val/map", self.score)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["ssd"] = {"format": FORMAT}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(range(BATCHES * IMAGES), IMAGES, collate_fn=collate)

    def val_dataloader(self) -> DataLoader | list:
        return DataLoader(range(4), IMAGES, collate_fn=collate) if self.validates else []


def collate(indices: list[int]) -> Batch:
    size = len(indices)
    return {
        "images": torch.full((size, 3, 32, 48), 128, dtype=torch.uint8),
        "boxes": torch.tensor([[[0.1, 0.1, 0.6, 0.9]]]).repeat(size, 1, 1),
        "labels": torch.ones(size, 1, dtype=torch.int64),
        "difficult": torch.zeros(size, 1, dtype=torch.bool),
        "indices": torch.tensor(indices),
    }


def fit(
    module: Tiny,
    *callbacks: pl.Callback,
    ckpt_path: Path | None = None,
    datamodule: pl.LightningDataModule | None = None,
    **options: Any,
) -> pl.Trainer:
    settings = {
        "accelerator": "cpu",
        "logger": False,
        "val_check_interval": 4,
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 1,
        "log_every_n_steps": 1,
        "enable_model_summary": False,
        "enable_progress_bar": any(isinstance(c, Progress) for c in callbacks),
        "enable_checkpointing": any("Checkpoint" in type(c).__name__ for c in callbacks),
    }
    settings = {**settings, "plugins": SafeCheckpointIO(), **options}
    trainer = pl.Trainer(callbacks=[*callbacks], **settings)
    trainer.fit(module, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def step_of(path: Path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


class Kill(pl.Callback):
    """Ends the run as a crash would, or as a cluster does."""

    def __init__(self, step: int, sends: signal.Signals | None = None) -> None:
        self.step, self.sends = step, sends

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            if self.sends is None:
                raise RuntimeError("killed")
            signal.raise_signal(self.sends)


class KillInValidation(pl.Callback):
    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 8:
            raise RuntimeError("killed")


def pair(folder: Path, every: int = 3, **options: Any) -> tuple[pl.Callback, ...]:
    """Both checkpoints, best.ckpt and last.ckpt, and a validation at the end."""
    settings = {"every_minutes": None, "keep": 1, "keep_every_hours": None, **options}
    last = LastCheckpoint(folder, every_n_train_steps=every, **settings)
    return last, BestCheckpoint(folder, monitor="val/map", mode="max"), ValidateAtEnd()


class Network(nn.Module):
    """Two layers, a norm between them, and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Linear(3, 4, bias=False)  # a norm follows
        self.norm = nn.BatchNorm1d(4)
        self.heads = nn.Linear(4, 1)
        self.register_buffer("anchors", torch.tensor([0.1, 0.7]), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.heads(self.norm(self.features(inputs)).relu())


class Learner(Tiny):
    """A `Network` whose inputs are a pure function of step and batch, however often it resumes."""

    def __init__(self, make_optimizer: Any = None, **options: Any) -> None:
        super().__init__(**options)
        torch.manual_seed(0)
        self.network = Network()
        self.make_optimizer = make_optimizer or (lambda weights: torch.optim.SGD(weights, lr=0.1))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(100 * self.global_step + index)
        inputs = torch.randn(8, 3, generator=generator)
        loss = (self.network(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.make_optimizer(self.network.parameters())


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights, buffers included."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in tensors}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two states are equal bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Recorder(pl.Callback):
    """What the weights were after every optimizer step, and in every validation."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if not trainer.fit_loop._should_accumulate():
            self.steps.append(state_of(module))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any
    ) -> None:
        self.validated.append(state_of(module))

    on_test_batch_end = on_validation_batch_end


class Painter(Tiny):
    """Learns from real images, with dropout: whatever else draws random numbers changes it."""

    train_dataloader = val_dataloader = (
        pl.LightningModule.train_dataloader
    )  # a data module has them

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Conv2d(3, 4, 8, stride=8), nn.Dropout(), nn.Flatten(), nn.LazyLinear(1)
        )
        self.network(torch.zeros(1, 3, 32, 32))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss = (self.network(batch["images"] / 255) - 1).square().mean()
        self.log("train/loss", loss)
        return loss
