"""Callbacks in real runs of a tiny detector: the checkpoints that a run keeps."""

import contextlib
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from tiny import BATCHES, IMAGES, Kill, KillInValidation, Tiny, collate, fit, pair, step_of
from torch import Tensor
from torch.utils.data import DataLoader

from ssd.errors import ConfigError
from ssd.records import Batch


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


class Epochs(Tiny):
    """Epochs of two batches; notes which batch of which epoch each step was."""

    def __init__(self, validates: bool) -> None:
        super().__init__(validates=validates)
        self.steps: dict[int, tuple[int, int]] = {}

    def train_dataloader(self) -> DataLoader:
        return DataLoader(range(2 * IMAGES), IMAGES, collate_fn=collate)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        self.steps[self.global_step] = (self.current_epoch, index)
        return super().training_step(batch, index)


@pytest.mark.parametrize("validates", [False, True])
@pytest.mark.parametrize("stops", [(2, 4, 6, 8), (3, 6, 12), (6, 12, 18), (7, 8, 9, 14, 16)])
def test_a_run_that_is_stopped_often_trains_each_epoch_once(
    tmp_path: Path, stops: tuple[int, ...], validates: bool
) -> None:
    steps: dict[int, tuple[int, int]] = {}
    for stop in (*stops, None):
        module, last = Epochs(validates), tmp_path / "last.ckpt"
        callbacks = [*pair(tmp_path, every=1), *([Kill(stop)] if stop else [])]
        with pytest.raises(RuntimeError, match="killed") if stop else contextlib.nullcontext():
            ckpt_path = last if last.exists() else None
            fit(module, *callbacks, max_steps=20, ckpt_path=ckpt_path, val_check_interval=7)
        steps |= module.steps
    assert steps == {step: (step // 2, step % 2) for step in range(20)}


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


# saving by the clock, and keeping several


class Clock(pl.Callback):
    """A clock that `minutes` pass on with every batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, minutes: float) -> None:
        self.now, self.seconds = 0.0, 60 * minutes
        monkeypatch.setattr("ssd.callbacks.checkpoints.time", self)

    def monotonic(self) -> float:
        return self.now

    def on_train_batch_start(self, *_: Any) -> None:
        self.now += self.seconds


class Saves(pl.Callback):
    """At which steps checkpoints were written."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_save_checkpoint(self, trainer: pl.Trainer, *_: Any) -> None:
        self.steps.append(trainer.global_step)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_saves_come_when_their_minutes_have_passed_since_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves, clock = Saves(), Clock(monkeypatch, minutes=2)
    last = pair(tmp_path, every=5, every_minutes=5)[0]
    fit(Tiny(validates=False), last, saves, clock, max_steps=12)
    assert saves.steps == [3, 5, 8, 10, 12]


def test_without_steps_and_minutes_validations_and_the_end_are_saved(tmp_path: Path) -> None:
    saves = Saves()
    fit(Tiny(), pair(tmp_path, every=None)[0], saves, max_steps=9)
    assert saves.steps == [4, 8, 9]


def test_no_save_falls_between_the_batches_of_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves, clock = Saves(), Clock(monkeypatch, minutes=1)
    last = pair(tmp_path, every=None, every_minutes=3)[0]  # in the middle of step 2
    fit(Tiny(validates=False), last, saves, clock, max_steps=4, accumulate_grad_batches=2)
    assert saves.steps == [2, 4]


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    fit(Tiny(validates=False), *pair(tmp_path, every=3, keep=3), max_steps=14)
    steps = {path.name: step_of(path) for path in tmp_path.iterdir()}
    assert steps == {"last.ckpt": 14, "step_14.ckpt": 14, "step_12.ckpt": 12, "step_9.ckpt": 9}


def test_a_resumed_run_goes_on_pruning(tmp_path: Path) -> None:
    fit(Tiny(validates=False), *pair(tmp_path, every=2, keep=2), max_steps=8)
    last = tmp_path / "last.ckpt"
    fit(Tiny(validates=False), *pair(tmp_path, every=2, keep=2), max_steps=12, ckpt_path=last)
    assert names(tmp_path) == ["last.ckpt", "step_10.ckpt", "step_12.ckpt"]


def test_one_checkpoint_of_every_so_many_hours_stays_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(steps: int, ckpt_path: Path | None) -> None:
        clock = Clock(monkeypatch, minutes=30)
        last = pair(tmp_path, every=1, keep=2, keep_every_hours=2)[0]
        fit(Tiny(validates=False), last, clock, max_steps=steps, ckpt_path=ckpt_path)

    run(9, None)
    assert names(tmp_path)[:2] == ["kept_4.ckpt", "kept_8.ckpt"]
    run(14, tmp_path / "last.ckpt")  # hours go on where they were
    kept = ["kept_12.ckpt", "kept_4.ckpt", "kept_8.ckpt"]
    assert names(tmp_path) == [*kept, "last.ckpt", "step_13.ckpt", "step_14.ckpt"]
    assert [step_of(tmp_path / name) for name in kept] == [12, 4, 8]


@pytest.mark.parametrize("option", ["every_minutes", "keep", "keep_every_hours"])
def test_nothing_can_be_kept_or_timed_by_zero(tmp_path: Path, option: str) -> None:
    with pytest.raises(ConfigError, match=f"callbacks.last.{option}=0: give"):
        pair(tmp_path, **{option: 0})
