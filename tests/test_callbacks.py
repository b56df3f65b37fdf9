"""Callbacks in real runs of a tiny detector."""

import csv
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ssd.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from ssd.callbacks.examples import ExampleDetections
from ssd.callbacks.final_validation import ValidateAtEnd
from ssd.callbacks.metrics_file import MetricsFile
from ssd.callbacks.progress import Progress
from ssd.callbacks.throughput import Throughput
from ssd.records import Batch, Detections

BATCHES = 6  # of an epoch
IMAGES = 2  # of a batch


class Tiny(pl.LightningModule):
    """Counts its validations; its score is what `scores` says of each."""

    classes = ("cat", "dog")

    def __init__(self, scores: tuple[float, ...] = (0.5,), validates: bool = True) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.scores = iter(scores)
        self.score = 0.0
        self.validated_at: list[int] = []
        self.validates = validates

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss = self.layer(batch["boxes"][:, 0, :1]).square().mean()
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
    module: Tiny, *callbacks: pl.Callback, ckpt_path: Path | None = None, **options: Any
) -> Any:
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
    trainer = pl.Trainer(callbacks=[*callbacks], **{**settings, **options})
    trainer.fit(module, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def step_of(path: Path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


# the last step


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_steps": 10}, [4, 8, 10]),
        ({"max_steps": 8}, [4, 8]),
        ({"max_epochs": 3}, [4, 8, 12, 16, 18]),
        ({"max_epochs": 1, "min_epochs": 1}, [4, 6]),
        ({"max_steps": 5, "accumulate_grad_batches": 2, "val_check_interval": 8}, [4, 5]),
    ],
    ids=str,
)
def test_a_run_validates_once_at_its_last_step(options: dict[str, Any], steps: list[int]) -> None:
    module = Tiny()
    fit(module, ValidateAtEnd(), **options)
    assert module.validated_at == steps


def test_a_run_without_validation_ends_at_its_last_step() -> None:
    assert fit(Tiny(validates=False), ValidateAtEnd(), max_steps=5).global_step == 5


def test_a_run_that_time_ends_validates_at_its_last_step() -> None:
    module = Tiny()
    trainer = fit(module, ValidateAtEnd(), max_steps=10**6, max_time={"seconds": 0.3})
    assert module.validated_at[-1] == trainer.global_step
    assert len(module.validated_at) == len(set(module.validated_at))


# checkpoints


def pair(folder: Path, every: int = 3) -> tuple[pl.Callback, ...]:
    best = BestCheckpoint(folder, monitor="val/map", mode="max")
    return LastCheckpoint(folder, every_n_train_steps=every), best, ValidateAtEnd()


def test_the_last_checkpoint_is_the_newest_although_the_score_only_got_worse(
    tmp_path: Path,
) -> None:
    fit(Tiny((0.9, 0.5, 0.1)), *pair(tmp_path), max_steps=10)
    assert (step_of(tmp_path / "best.ckpt"), step_of(tmp_path / "last.ckpt")) == (4, 10)


def test_a_score_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    fit(Tiny((float("nan"), 0.1, float("nan"))), *pair(tmp_path), max_steps=10)
    assert step_of(tmp_path / "best.ckpt") == 8
    fit(Tiny((float("nan"),) * 3), *pair(tmp_path / "none"), max_steps=10)
    assert not (tmp_path / "none" / "best.ckpt").exists()


def test_the_last_checkpoint_is_the_newest_without_validation(tmp_path: Path) -> None:
    fit(Tiny(validates=False), *pair(tmp_path), max_steps=10)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    assert step_of(tmp_path / "last.ckpt") == 10


def test_the_last_checkpoint_knows_the_best_score_of_its_own_validation(tmp_path: Path) -> None:
    fit(Tiny((0.9,)), *pair(tmp_path), max_steps=4)
    states = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]
    assert [float(state["best_model_score"]) for state in states.values()] == [pytest.approx(0.9)]


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


def test_the_last_checkpoint_follows_the_steps(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        fit(Tiny(), *pair(tmp_path, every=7), Kill(step=15), max_steps=20, val_check_interval=12)
    assert step_of(tmp_path / "last.ckpt") == 14


def test_a_resumed_run_repeats_no_validation(tmp_path: Path) -> None:
    fit(Tiny(), *pair(tmp_path), max_steps=8)
    module = Tiny()
    fit(module, *pair(tmp_path), max_steps=14, ckpt_path=tmp_path / "last.ckpt")
    assert module.validated_at == [12, 14]


class Batches(pl.Callback):
    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        self.seen.append((trainer.current_epoch, args[-1]))


@pytest.mark.parametrize("steps", [4, 5, 12])
def test_a_longer_run_goes_on_with_the_next_batch(tmp_path: Path, steps: int) -> None:
    fit(Tiny(), *pair(tmp_path), max_steps=steps)
    batches = Batches()
    last = tmp_path / "last.ckpt"
    fit(Tiny(), *pair(tmp_path), batches, max_steps=steps + 4, ckpt_path=last)
    assert batches.seen == [divmod(step, BATCHES) for step in range(steps, steps + 4)]


def test_a_run_killed_in_a_validation_makes_up_for_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        fit(Tiny(), *pair(tmp_path, every=2), KillInValidation(), max_steps=10)
    module = Tiny()
    fit(module, *pair(tmp_path, every=2), max_steps=10, ckpt_path=tmp_path / "last.ckpt")
    assert module.validated_at == [8, 10]


def test_sigterm_loses_no_step(tmp_path: Path) -> None:
    with pytest.raises(SIGTERMException):
        fit(Tiny(), *pair(tmp_path, every=9), Kill(6, signal.SIGTERM), max_steps=10)
    assert step_of(tmp_path / "last.ckpt") == 7


def test_a_resumed_run_keeps_the_best_score_in_a_copied_folder(tmp_path: Path) -> None:
    fit(Tiny((0.9,)), *pair(tmp_path / "run"), max_steps=5)
    (tmp_path / "run").rename(tmp_path / "copy")
    callbacks = pair(tmp_path / "copy", every=2)
    last = tmp_path / "copy" / "last.ckpt"
    fit(Tiny((0.2,)), *callbacks, max_steps=10, ckpt_path=last)
    best = callbacks[1]
    assert best.best_model_score == pytest.approx(0.9)
    assert Path(best.best_model_path) == tmp_path / "copy" / "best.ckpt"
    assert (step_of(tmp_path / "copy" / "best.ckpt"), step_of(last)) == (4, 10)


def test_a_run_from_another_runs_checkpoint_finds_its_own_best(tmp_path: Path) -> None:
    fit(Tiny((0.9,)), *pair(tmp_path / "a"), max_steps=5)
    last = tmp_path / "a" / "last.ckpt"
    fit(Tiny((0.2, 0.3)), *pair(tmp_path / "b"), max_steps=10, ckpt_path=last)
    assert step_of(tmp_path / "b" / "best.ckpt") == 10


# metrics.csv


def test_the_metrics_file_has_a_row_a_step_and_a_column_a_metric(tmp_path: Path) -> None:
    module = Tiny((0.25, 0.5))
    fit(module, ValidateAtEnd(), max_steps=5, logger=MetricsFile(tmp_path, keep_until=None))
    table = rows(tmp_path / "metrics.csv")
    assert [row["step"] for row in table] == ["0", "1", "2", "3", "4"]
    assert [row["val/map"] for row in table] == ["", "", "", "0.25", "0.5"]
    assert all(row["train/loss"] for row in table)


def test_the_metrics_file_continues_at_the_resumed_step(tmp_path: Path) -> None:
    def run(folder: Path, steps: int, resumed: bool = False, kill: int = -1) -> None:
        torch.manual_seed(0)
        logger = MetricsFile(folder, keep_until=6 if resumed else None)
        path = folder / "last.ckpt" if resumed else None
        callbacks = (*pair(folder), Kill(kill))
        fit(Tiny(), *callbacks, max_steps=steps, logger=logger, ckpt_path=path)

    run(tmp_path / "whole", steps=11)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "killed", steps=11, kill=8 - 1)
    run(tmp_path / "killed", steps=11, resumed=True)
    whole, killed = ((tmp_path / name / "metrics.csv").read_text() for name in ("whole", "killed"))
    assert whole == killed


def test_a_longer_run_goes_on_counting_after_the_last_step(tmp_path: Path) -> None:
    for steps, start in ((5, None), (9, 5)):
        path = None if start is None else tmp_path / "last.ckpt"
        logger = MetricsFile(tmp_path, keep_until=start)
        fit(Tiny(), *pair(tmp_path), max_steps=steps, logger=logger, ckpt_path=path)
    assert [int(row["step"]) for row in rows(tmp_path / "metrics.csv")] == [*range(9)]


def test_a_new_run_replaces_the_metrics_file(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,epoch,old\n7,0,1.0\n")
    MetricsFile(tmp_path, keep_until=None).log_metrics({"epoch": 0, "new": 1.5}, step=0)
    assert (tmp_path / "metrics.csv").read_text() == "step,epoch,new\n0,0,1.5\n"


def test_a_line_that_a_kill_cut_off_does_not_survive_a_resume(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,epoch,a\n0,0,1.0\n1,0,2.")
    MetricsFile(tmp_path, keep_until=2).log_metrics({"epoch": 0, "a": 3.0}, step=2)
    assert (tmp_path / "metrics.csv").read_text() == "step,epoch,a\n0,0,1.0\n2,0,3.0\n"


# progress, throughput, examples


def test_a_log_file_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    fit(Tiny(), Progress(monitor="val/map", every_seconds=1000), ValidateAtEnd(), max_steps=5)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step")]
    assert len(lines) == 2
    assert lines[0].startswith("step 4/5, loss ")
    assert "val/map 0.500" in lines[0]
    assert lines[0].endswith(" left")


def test_a_terminal_gets_one_bar_over_the_whole_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(Tiny(), *pair(tmp_path), max_steps=7)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bar = Progress(monitor="val/map", every_seconds=1000)
    fit(Tiny(), *pair(tmp_path), bar, max_steps=14, ckpt_path=tmp_path / "last.ckpt")
    text = capsys.readouterr().err
    assert "training:  50%" in text
    assert "training: 100%" in text
    assert "14/14" in text


class SlowValidation(pl.Callback):
    def on_validation_batch_end(self, *_: Any) -> None:
        time.sleep(0.3)


def test_throughput_leaves_out_validation_and_the_warm_up() -> None:
    throughput = Throughput(warm_up=2)
    fit(Tiny(), throughput, SlowValidation(), max_steps=6)
    assert throughput.images == (6 - 2) * IMAGES
    assert throughput.seconds < 0.3
    assert throughput.images_per_second == throughput.images / throughput.seconds


def test_throughput_is_a_metric(tmp_path: Path) -> None:
    logger = MetricsFile(tmp_path, keep_until=None)
    fit(Tiny(), Throughput(warm_up=1), max_steps=6, log_every_n_steps=3, logger=logger)
    rates = [row["train/images_per_second"] for row in rows(tmp_path / "metrics.csv")]
    assert len([rate for rate in rates if rate and float(rate) > 0]) == 2


def test_examples_of_the_newest_validations_are_kept(tmp_path: Path) -> None:
    examples = ExampleDetections(tmp_path, count=3, keep=2, score=0.3)
    logger = TensorBoardLogger(tmp_path, name="tb")
    fit(Tiny(), examples, ValidateAtEnd(), max_steps=10, logger=logger)
    names = sorted(path.name for path in (tmp_path / "examples").iterdir())
    assert names == ["step_000008.png", "step_000010.png"]
    width, height = Image.open(tmp_path / "examples" / names[0]).size
    assert width > 4 * 480
    assert height > 2 * 320
    assert b"examples" in next((tmp_path / "tb").rglob("events*")).read_bytes()
