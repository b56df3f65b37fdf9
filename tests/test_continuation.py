"""A run that was stopped, anywhere and often, ends with the bits of one that was not."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from test_datamodule import DEFAULTS, DOG
from test_transforms import SETTINGS
from tiny import Painter, fit, pair
from torch import Tensor
from voc import write_voc

from ssd.callbacks.averaging import MovingAverage
from ssd.callbacks.metrics_file import MetricsFile
from ssd.callbacks.randomness import SeedSteps
from ssd.data.transforms import Augmentation
from ssd.datamodule import DetectionDataModule
from ssd.records import Batch
from ssd.weights.checkpoints import read_checkpoint
from ssd.weights.resuming import find_resume, step_of

STEPS = 10  # 3 in an epoch
KEPT = ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers")
HOOKS = (
    "on_fit_start",
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_before_zero_grad",
    "on_train_batch_end",
    "on_save_checkpoint",
    "on_validation_start",
    "on_validation_batch_start",
    "on_validation_batch_end",
    "on_validation_epoch_end",
    "on_validation_end",
    "on_train_epoch_end",
    "on_train_end",
)


class KilledError(Exception):
    """Ends a run as a kill does: nothing saves on its way."""


class KillAt(pl.Callback):
    """Kills in one hook, the first time that it comes at each of these steps."""

    def __init__(self, hook: str, *steps: int) -> None:
        self.steps = [*steps]
        setattr(self, hook, self.strike)

    def strike(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step in self.steps:
            self.steps.remove(trainer.global_step)
            raise KilledError


class Student(Painter):
    """Learns with everything that a run has: momentum, a schedule, dropout, a score."""

    def on_validation_epoch_end(self) -> None:
        self.log("val/map", self.network[0].weight.sin().mean())

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=STEPS)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Seen(pl.Callback):
    """The images of every batch of every step, and what was made of them."""

    def __init__(self) -> None:
        self.batches: dict[tuple[int, int], list] = {}

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Batch, i: int) -> None:
        images = hashlib.sha256(batch["images"].contiguous().numpy().tobytes()).hexdigest()
        found = [batch["indices"].tolist(), images]
        assert self.batches.setdefault((trainer.global_step, i), found) == found


class Run:
    """A run in its folder, which goes on where it was stopped however often it is started."""

    def __init__(self, folder: Path, data: Path, **options: Any) -> None:
        self.folder, self.data, self.options = folder, data, options
        self.seen = Seen()

    def start(self, *callbacks: pl.Callback) -> None:
        self.folder.mkdir(exist_ok=True)
        resumed = find_resume("latest", self.folder)
        step = step_of(resumed) if resumed else None
        torch.seed()  # by chance: nothing is to depend on it
        average = MovingAverage(decay=0.9, warm_up=True)
        saving = pair(self.folder / "checkpoints", every=2, keep=2)
        fit(
            Student(), *saving, average, SeedSteps(seed=0), self.seen, *callbacks,
            datamodule=self.loaders(), ckpt_path=resumed, max_steps=STEPS, num_sanity_val_steps=0,
            logger=MetricsFile(self.folder, keep_until=step),
            accumulate_grad_batches=self.options.get("parts", 1),
            val_check_interval=4 * self.options.get("parts", 1), use_distributed_sampler=False,
        )  # fmt: skip

    def loaders(self) -> DetectionDataModule:
        settings = {**DEFAULTS, "val_split": "val", "num_workers": self.options.get("workers", 0)}
        return DetectionDataModule(
            str(self.data), augmentation=Augmentation(**SETTINGS), **settings
        )

    def until_it_ends(self, *callbacks: pl.Callback) -> int:
        """Start it again and again. returns: how often it was killed"""
        for kills in range(20):
            try:
                self.start(*callbacks)
            except KilledError:
                continue
            return kills
        raise AssertionError("it never ends")

    @property
    def left(self) -> dict[str, Any]:
        """All that it learned, scored and wrote."""
        found = {"metrics": (self.folder / "metrics.csv").read_text(), "seen": self.seen.batches}
        for name in ("best", "last"):
            checkpoint = read_checkpoint(self.folder / "checkpoints" / f"{name}.ckpt")
            found |= {f"{name} {key}": checkpoint[key] for key in (*KEPT, "global_step")}
        return found


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, at any depth."""
    if isinstance(one, dict):
        return [*one] == [*other] and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


def differences(one: Run, other: Run) -> list[str]:
    ours, theirs = one.left, other.left
    ours["seen"] = sorted(ours["seen"].items())
    theirs["seen"] = sorted(theirs["seen"].items())
    return [name for name in ours if not same(ours[name], theirs[name])]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = {f"i{k:02d}": [("cat", 1 + k, 1, 20 + k, 30), DOG] for k in range(14)}
    splits = {"train": images, "val": {"v": [DOG], "w": [DOG]}, "test": {"t": [DOG]}}
    return write_voc(tmp_path_factory.mktemp("data") / "voc", splits)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("whole"), data)
    run.start()
    return run


@pytest.mark.parametrize("hook", HOOKS)
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(
    whole: Run, data: Path, tmp_path: Path, hook: str
) -> None:
    run = Run(tmp_path / "run", data)
    assert run.until_it_ends(KillAt(hook, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)) > 0
    assert differences(run, whole) == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", ["fsync", "replace", "link"])
def test_a_kill_inside_a_save_changes_nothing(
    whole: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, after: bool
) -> None:
    real, count = getattr(os, call), iter(range(1000))
    dead = {0, 2, 4, 5, 8, 11, 14}  # of its calls

    def killed(*arguments: Any) -> Any:
        strikes = next(count) in dead
        if strikes and not after:
            raise KilledError
        result = real(*arguments)
        if strikes:
            raise KilledError
        return result

    run = Run(tmp_path / "run", data)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, killed)
        kills = run.until_it_ends()
    assert differences(run, whole) == []
    assert kills > 2


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_no_bit_also_not_over_kills(
    whole: Run, data: Path, tmp_path: Path, workers: int
) -> None:
    run = Run(tmp_path / "run", data, workers=workers)
    assert run.until_it_ends(KillAt("on_after_backward", 5)) == 1
    assert differences(run, whole) == []


def test_a_run_taken_up_from_its_best_checkpoint_ends_with_the_same_bits(
    whole: Run, data: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", data)
    with pytest.raises(KilledError):
        run.start(KillAt("on_train_batch_start", 5))
    for file in (run.folder / "checkpoints").glob("*.ckpt"):
        if file.name != "best.ckpt":
            file.unlink()
    assert run.until_it_ends() == 0
    assert differences(run, whole) == []


def test_accumulated_parts_go_on_between_two_steps(data: Path, tmp_path: Path) -> None:
    whole, stopped = Run(tmp_path / "whole", data, parts=2), Run(tmp_path / "run", data, parts=2)
    whole.start()
    assert stopped.until_it_ends(KillAt("on_train_batch_end", 1, 4, 7)) == 3
    assert differences(stopped, whole) == []


class StopAtBatch(pl.Callback):
    """Asks the run to stop, over and over, as Lightning's timer does."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.should_stop |= trainer.fit_loop.epoch_loop.total_batch_idx >= self.batch


def test_a_run_whose_time_is_up_ends_the_step_that_it_is_in(data: Path, tmp_path: Path) -> None:
    whole, stopped = Run(tmp_path / "whole", data, parts=2), Run(tmp_path / "run", data, parts=2)
    whole.start()
    stopped.start(StopAtBatch(6))  # the first of step 3's two parts
    assert step_of(stopped.folder / "checkpoints" / "last.ckpt") == 4
    stopped.start()
    assert same(stopped.left["last state_dict"], whole.left["last state_dict"])
