"""Logging never changes training."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from pytorch_lightning.loggers import TensorBoardLogger
from test_config import composed
from test_examples import data_module
from tiny import Painter, equal, fit, state_of
from torch import Tensor

from ssd.callbacks.final_validation import ValidateAtEnd
from ssd.callbacks.metrics_file import MetricsFile

STEPS = 7
WATCHING = ("throughput", "progress", "examples", "augmented", "histograms", "log_every_seconds")


def watching(run_dir: Path) -> list[pl.Callback]:
    """Every callback that looks on, and saving, at every step."""
    group = "callbacks=[default,histograms,log_every_seconds]"
    options = ["histograms.every_n_steps=1", "log_every_seconds.seconds=0", "last.keep=3"]
    overrides = [group, *(f"callbacks.{option}" for option in options)]
    cfg = composed("train", [f"run_dir={run_dir}", "save_every=2", *overrides])
    return [instantiate(cfg.callbacks[name]) for name in (*WATCHING, "best", "last")]


def learned(folder: Path, *callbacks: pl.Callback, **options: Any) -> dict[str, Tensor]:
    module, data = Painter(), data_module(folder, "ssd")
    pl.seed_everything(1, verbose=False)
    fit(module, ValidateAtEnd(), *callbacks, datamodule=data, max_steps=STEPS, **options)
    return state_of(module)


def test_a_run_that_logs_all_there_is_learns_the_same_bit_by_bit(tmp_path: Path) -> None:
    logger = [MetricsFile(tmp_path, keep_until=None), TensorBoardLogger(tmp_path, name="tb")]
    watched = learned(tmp_path, *watching(tmp_path), logger=logger)
    alone = learned(tmp_path / "alone", log_every_n_steps=50)
    assert len([*(tmp_path / "examples").iterdir()]) == 3
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1 + STEPS
    assert equal(watched, alone)


class Dice(pl.Callback):
    def on_train_batch_end(self, *_: Any) -> None:
        torch.rand(1)


def test_a_callback_that_draws_a_random_number_would_be_found_out(tmp_path: Path) -> None:
    assert not equal(learned(tmp_path / "a"), learned(tmp_path / "b", Dice()))
