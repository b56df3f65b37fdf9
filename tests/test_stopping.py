"""Signals in real runs of a tiny detector: where they end it, and how it goes on."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException
from tiny import BATCHES, Learner, Tiny, equal, fit, pair, rows, state_of, step_of

from ssd.callbacks.averaging import MovingAverage
from ssd.callbacks.metrics_file import MetricsFile
from ssd.callbacks.stopping import StopAtSignal

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.fixture(autouse=True)
def handlers(hears_ctrl_c: None) -> Iterator[None]:
    """Those of the other tests, whatever a run left."""
    before = {number: signal.getsignal(number) for number in (TERM, INT, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class KillIn(pl.Callback):
    """Sends signals from any hook, the n-th time that it comes after a step."""

    def __init__(self, hook: str, step: int, *sends: signal.Signals, at: int = 0) -> None:
        self.step, self.sends, self.left = step, sends, at
        setattr(self, hook, self.kill)

    def kill(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step >= self.step and self.sends:
            self.left -= 1
            if self.left < 0:
                sends, self.sends = self.sends, ()
                for number in sends:
                    signal.raise_signal(number)


def stopped(folder: Path, kill: pl.Callback, **options: Any) -> int:
    """The exit code of a run that a signal ends."""
    settings = {"max_steps": 10, **options}
    with pytest.raises(SIGTERMException) as raised:
        fit(Tiny(), *pair(folder, every=9), kill, StopAtSignal(), **settings)
    return raised.value.code


HOOKS = ["on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end"]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(("number", "code"), [(TERM, 143), (INT, 130)])
def test_a_signal_ends_a_run_after_the_step_at_work(
    tmp_path: Path, hook: str, number: signal.Signals, code: int
) -> None:
    assert stopped(tmp_path, KillIn(hook, 6, number)) == code
    assert step_of(tmp_path / "last.ckpt") == (6 if hook == "on_train_batch_end" else 7)


def test_sigterm_twice_is_sigterm(tmp_path: Path) -> None:
    assert stopped(tmp_path, KillIn("on_train_batch_start", 5, TERM, TERM)) == 143
    assert step_of(tmp_path / "last.ckpt") == 6


def test_the_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    kill = KillIn("on_before_optimizer_step", 6, INT, INT)
    with pytest.raises(SystemExit) as raised:
        fit(Tiny(), *pair(tmp_path, every=2), StopAtSignal(), kill, max_steps=10)
    assert isinstance(raised.value.__context__, KeyboardInterrupt)
    assert step_of(tmp_path / "last.ckpt") == 6


def test_a_signal_between_the_parts_of_a_step_waits_for_its_end(tmp_path: Path) -> None:
    kill = KillIn("on_train_batch_end", 2, TERM, at=1)
    assert stopped(tmp_path, kill, accumulate_grad_batches=2, val_check_interval=8) == 143
    assert step_of(tmp_path / "last.ckpt") == 3


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    signal.signal(INT, signal.SIG_IGN)
    kill = KillIn("on_train_batch_start", 2, INT)
    assert fit(Tiny(), *pair(tmp_path), StopAtSignal(), kill, max_steps=4).global_step == 4


def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (TERM, INT)]
    fit(Tiny(), *pair(tmp_path), StopAtSignal(), max_steps=2)
    assert [signal.getsignal(number) for number in (TERM, INT)] == before


def run(folder: Path, steps: int, *kills: pl.Callback, resumes: bool = False) -> Learner:
    scores = {"scores": (0.3, 0.2, 0.1)}
    module, last = Learner(**scores), folder / "checkpoints" / "last.ckpt"
    path = last if resumes else None
    logger = MetricsFile(folder, keep_until=step_of(last) if resumes else None)
    callbacks = *pair(folder / "checkpoints", every=50), MovingAverage(0.9, warm_up=True)
    callbacks += *kills, StopAtSignal()
    fit(module, *callbacks, max_steps=steps, ckpt_path=path, logger=logger)
    return module


PLACES = [("on_train_batch_start", step) for step in range(BATCHES * 2)]
PLACES += [("on_validation_batch_start", 8), ("on_validation_batch_end", 8)]
PLACES += [("on_validation_start", 4), ("on_validation_batch_start", 12)]


@pytest.mark.parametrize(("hook", "step"), PLACES)
def test_a_run_that_a_signal_ended_goes_on_to_the_same_end(
    tmp_path: Path, hook: str, step: int
) -> None:
    """An epoch has six steps; after every fourth is a validation."""
    whole = run(tmp_path / "whole", 14)
    with pytest.raises(SIGTERMException):
        run(tmp_path / "parts", 14, KillIn(hook, step, TERM))
    saved = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    assert step_of(saved) == (step + 1 if "train" in hook else step)
    resumed = run(tmp_path / "parts", 14, resumes=True)
    assert equal(state_of(whole), state_of(resumed))
    scored = [
        [(row["step"], row["train/loss"], bool(row["val/map"])) for row in rows(folder)]
        for folder in (tmp_path / "whole/metrics.csv", tmp_path / "parts/metrics.csv")
    ]
    assert scored[0] == scored[1]


def test_a_signal_in_the_last_validation_lets_the_resumed_run_make_it(tmp_path: Path) -> None:
    with pytest.raises(SIGTERMException):
        fit(Tiny(), *pair(tmp_path, every=3), StopAtSignal(),
            KillIn("on_validation_batch_start", 10, TERM), max_steps=10)  # fmt: skip
    module = Tiny()
    last = tmp_path / "last.ckpt"
    fit(module, *pair(tmp_path, every=3), max_steps=10, ckpt_path=last)
    assert module.validated_at[-1] == 10
