"""Callbacks in real runs of a tiny detector: the moving average of the weights."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from tiny import KillInValidation, Learner, Recorder, equal, fit, pair, state_of
from torch import Tensor

from ssd.callbacks.averaging import MovingAverage
from ssd.errors import ConfigError

COUNTER = "network.norm.num_batches_tracked"


def tensorflows(
    start: dict[str, Tensor], steps: list[dict[str, Tensor]], decay: float, warm_up: bool
) -> dict[str, Tensor]:
    """shadow -= (1 - decay) * (shadow - variable), tf.train.ExponentialMovingAverage."""
    shadow = {name: value.double() for name, value in start.items()}
    for step, weights in enumerate(steps, start=1):
        now = min(decay, (1 + step) / (10 + step)) if warm_up else decay
        for name, value in weights.items():
            shadow[name] -= (1 - now) * (shadow[name] - value)
    return shadow


def average(decay: float = 0.9, warm_up: bool = False) -> MovingAverage:
    return MovingAverage(decay=decay, warm_up=warm_up)


def saved(path: Path, key: str = "state_dict") -> dict[str, Tensor]:
    return torch.load(path, weights_only=True)[key]


def persistent(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a checkpoint has of a state."""
    return {name: value for name, value in state.items() if not name.endswith("anchors")}


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(("decay", "warm_up"), [(0.9, False), (0.35, True), (0.999, True)], ids=str)
def test_the_average_is_tensorflows(decay: float, warm_up: bool, parts: int) -> None:
    module, recorder = Learner(), Recorder()
    start = state_of(module)
    fit(
        module, recorder, average(decay, warm_up), max_steps=12, accumulate_grad_batches=parts,
        val_check_interval=8,
    )  # fmt: skip
    assert len(recorder.steps) == 12
    wanted = tensorflows(start, recorder.steps, decay, warm_up)
    for name, value in state_of(module).items():
        if name != COUNTER:
            torch.testing.assert_close(value.double(), wanted[name], rtol=1e-5, atol=1e-6)


def test_integers_and_constants_are_not_averaged() -> None:
    module = Learner()
    anchors = module.network.anchors.clone()
    fit(module, average(), max_steps=7)
    state = state_of(module)
    assert state[COUNTER] == 7
    assert torch.equal(state["network.anchors"], anchors)


def test_the_average_is_scored_and_the_weights_go_on(tmp_path: Path) -> None:
    averaged, plain = Recorder(), Recorder()
    module = Learner()
    start = state_of(module)
    fit(module, averaged, average(), max_steps=8, num_sanity_val_steps=0)
    fit(Learner(), plain, max_steps=8, num_sanity_val_steps=0)
    assert all(map(equal, averaged.steps, plain.steps))
    for step, scored in ((4, averaged.validated[0]), (8, averaged.validated[-1])):
        wanted = tensorflows(start, plain.steps[:step], 0.9, warm_up=False)
        name = "network.heads.weight"
        torch.testing.assert_close(scored[name].double(), wanted[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
def test_a_checkpoint_holds_the_average_and_the_weights(tmp_path: Path, name: str) -> None:
    module, recorder = Learner(scores=(0.1, 0.2, 0.3)), Recorder()
    fit(module, *pair(tmp_path), recorder, average(), max_steps=10)
    assert equal(saved(tmp_path / name), persistent(state_of(module)))
    current = saved(tmp_path / name, "current_model_state")
    assert equal(current, persistent(recorder.steps[-1]))


def test_a_checkpoint_saved_after_the_last_step_holds_the_weights_too(tmp_path: Path) -> None:
    recorder = Recorder()
    fit(Learner(validates=False), pair(tmp_path, every=99)[0], recorder, average(), max_steps=5)
    current = saved(tmp_path / "last.ckpt", "current_model_state")
    assert equal(current, persistent(recorder.steps[-1]))


def test_an_error_in_a_validation_leaves_the_weights_in_the_module() -> None:
    module, recorder = Learner(), Recorder()
    with pytest.raises(RuntimeError, match="killed"):
        fit(module, recorder, average(), KillInValidation(), max_steps=10)
    assert not equal(recorder.validated[-1], recorder.steps[-1])
    assert equal(state_of(module), recorder.steps[-1])


class Scored(Learner):
    def test_step(self, *args: Any) -> Any:
        return self.validation_step(*args)

    test_dataloader = Learner.val_dataloader


def test_a_test_after_the_fit_scores_the_saved_average(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    module, recorder = Scored(scores=(0.9, 0.1)), Recorder()
    trainer = fit(module, *pair(tmp_path), recorder, average(), max_steps=8)
    best = tmp_path / "best.ckpt"
    trainer.test(module, ckpt_path=best, weights_only=True, verbose=False)
    assert equal(persistent(recorder.validated[-1]), saved(best))
    assert not equal(saved(best), saved(best, "current_model_state"))
    assert not [warning for warning in recwarn if "WeightAveraging" in str(warning.message)]


def test_a_second_fit_starts_a_new_average() -> None:
    module, callback, recorder = Learner(), average(), Recorder()
    fit(module, callback, max_steps=9)
    start = state_of(module)
    fit(module, recorder, callback, max_steps=5)
    wanted = tensorflows(start, recorder.steps, 0.9, warm_up=False)
    name = "network.heads.weight"
    found = state_of(module)[name].double()
    torch.testing.assert_close(found, wanted[name], rtol=1e-5, atol=1e-6)


class Stop(pl.Callback):
    """Ends a run as if from outside, after its regular save."""

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 7:
            raise RuntimeError("killed")


def test_a_resumed_run_goes_on_with_both(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit(Learner(), *pair(whole), average(0.999, True), max_steps=11)
    with pytest.raises(RuntimeError, match="killed"):
        fit(Learner(), *pair(killed), average(0.999, True), Stop(), max_steps=11)
    last = killed / "last.ckpt"
    fit(Learner(), *pair(killed), average(0.999, True), max_steps=11, ckpt_path=last)
    for key in ("state_dict", "current_model_state"):
        assert equal(saved(whole / "last.ckpt", key), saved(last, key))


def test_averaging_that_begins_at_a_resume_starts_from_the_checkpoint(tmp_path: Path) -> None:
    fit(Learner(), *pair(tmp_path), max_steps=6)
    last = tmp_path / "last.ckpt"
    start, module, recorder = saved(last), Learner(), Recorder()
    fit(module, recorder, average(), max_steps=9, ckpt_path=last)
    wanted = tensorflows(start, [*map(persistent, recorder.steps)], 0.9, warm_up=False)
    name = "network.features.weight"
    found = state_of(module)[name].double()
    torch.testing.assert_close(found, wanted[name], rtol=1e-5, atol=1e-6)


def test_a_decay_of_one_would_never_move() -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.averaging\.decay=1"):
        average(decay=1)
