"""Callbacks in real runs of a tiny detector: two stages of training."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from tiny import Kill, Learner, Recorder, equal, fit, pair, state_of
from torch import Tensor

from ssd.callbacks.freezing import FreezeUntil
from ssd.errors import ConfigError

OPTIMIZERS = [
    partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1),
    partial(torch.optim.AdamW, lr=0.1, weight_decay=0.1),
    partial(torch.optim.RMSprop, lr=0.1, momentum=0.9, weight_decay=0.1),
]


def heads_until(step: int) -> FreezeUntil:
    return FreezeUntil(trainable=["heads"], step=step)


def frozen_part(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if "heads" not in name}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda factory: factory.func.__name__)
def test_before_the_step_only_the_selected_weights_change(optimizer: Any) -> None:
    module, recorder = Learner(optimizer), Recorder()
    start = state_of(module)
    fit(module, recorder, heads_until(3), max_steps=5)
    for state in recorder.steps[:3]:
        assert equal(frozen_part(state), frozen_part(start))
    changed = {name for name in start if not torch.equal(recorder.steps[2][name], start[name])}
    assert changed == {"network.heads.weight", "network.heads.bias"}


def test_from_the_step_on_all_weights_change() -> None:
    module, recorder = Learner(), Recorder()
    fit(module, recorder, heads_until(3), max_steps=4)
    before, after = recorder.steps[2:4]
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == {"network.anchors"}
    assert module.network.norm.training


def test_a_validation_does_not_wake_frozen_norms() -> None:
    module = Learner()
    fit(module, heads_until(9), max_steps=6, val_check_interval=2)
    assert module.network.norm.num_batches_tracked == 0


@pytest.mark.parametrize("step", [2, 5, 6, 8])
def test_a_resumed_run_is_in_the_stage_of_its_step(tmp_path: Path, step: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    make = partial(Learner, OPTIMIZERS[1])
    fit(make(), *pair(whole), heads_until(step), max_steps=10)
    with pytest.raises(RuntimeError, match="killed"):
        fit(make(), *pair(killed), heads_until(step), Kill(7), max_steps=10)
    last = killed / "last.ckpt"
    fit(make(), *pair(killed), heads_until(step), max_steps=10, ckpt_path=last)
    states = [torch.load(path / "last.ckpt", weights_only=True) for path in (whole, killed)]
    assert equal(*(state["state_dict"] for state in states))


def test_ddp_must_know_of_weights_without_gradient() -> None:
    trainer = pl.Trainer(accelerator="cpu", strategy="ddp", logger=False)
    with pytest.raises(ConfigError, match=r"trainer.strategy.find_unused_parameters=true"):
        heads_until(3).setup(trainer, Learner(), "fit")
    knowing = pl.Trainer(
        accelerator="cpu", strategy="ddp_find_unused_parameters_true", logger=False
    )
    heads_until(3).setup(knowing, Learner(), "fit")


def test_weights_that_the_optimizer_lacks_are_an_error() -> None:
    module = Learner(lambda weights: torch.optim.SGD([*weights][:2], lr=0.1))
    with pytest.raises(ConfigError, match="leave out trainable"):
        fit(module, heads_until(3), max_steps=4)
