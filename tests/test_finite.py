"""Steps whose loss or gradients are no numbers: who is named, what is kept, and how to see it
again."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision
from test_module import data_module, make_module, save_every, sgd, trainer, weights
from torch import Tensor
from verbs import SMALL, last, run
from voc import write_voc

from ssd.callbacks.finite import FILE, StopAtNonFinite
from ssd.errors import StepError
from ssd.module import SSDModule
from ssd.records import Batch, Predictions

BOX = ("dog", 11, 6, 50, 35)


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    images = {f"j{number}": [BOX] for number in range(7)} | {"k": [("cat", 1, 1, 20, 20)]}
    return write_voc(tmp_path / "voc", {"train": images, "test": {"t": [BOX]}})


def fit(data_root: Path, tmp_path: Path, module: SSDModule, **options: Any) -> None:
    stop = StopAtNonFinite(tmp_path, max_overflows=options.pop("max_overflows", 3))
    callbacks = [stop, *options.pop("callbacks", [])]
    run = trainer(tmp_path, callbacks=callbacks, **{"max_steps": 8, **options})
    run.fit(module, data_module(data_root))


def spoil_image(module: SSDModule, index: int) -> None:
    """Make the predictions for an image no numbers."""

    def hook(_: Any, inputs: tuple[Predictions, Batch, Tensor]) -> tuple[Any, ...]:
        (logits, offsets), batch, anchors = inputs
        bad = (batch["indices"] == index).view(-1, 1, 1)
        return Predictions(logits, torch.where(bad, torch.nan, offsets)), batch, anchors

    module.loss.register_forward_pre_hook(hook)


def spoil(module: SSDModule, steps: set[int]) -> str:
    """Make the gradient of a weight infinite at some steps. returns: the weight's name"""
    name, weight = next(iter(module.network.named_parameters()))
    weight.register_hook(lambda grad: grad / (0 if module.global_step in steps else 1))
    return name


def test_a_run_that_diverges_stops_before_anything_of_it_is_saved(
    data_root: Path, tmp_path: Path
) -> None:
    with pytest.raises(StepError, match=r"the loss is no number at step \d: train/loss_class nan"):
        fit(data_root, tmp_path, make_module(optimizer=sgd(lr=1e20)),
            callbacks=[save_every(tmp_path, 1)])  # fmt: skip
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == json.loads((tmp_path / FILE).read_text())["step"]
    assert all(value.isfinite().all() for value in state["state_dict"].values())


@pytest.mark.parametrize("parts", [1, 2])
def test_the_image_whose_loss_is_no_number_is_named_and_the_weights_stay(
    data_root: Path, tmp_path: Path, parts: int
) -> None:
    module = make_module()
    spoil_image(module, 4)
    before = weights(module).clone()
    message = r"train/loss_box nan.*; look at the images that alone have such a loss: j4\. "
    with pytest.raises(StepError, match=message):
        fit(data_root, tmp_path, module, accumulate_grad_batches=parts)
    assert torch.equal(weights(module), before)
    found = json.loads((tmp_path / FILE).read_text())
    assert (found["step"], found["images_with_such_a_loss"]) == (0, ["j4"])
    assert len(found["images"]) == 8


def test_the_weights_whose_gradients_are_no_numbers_are_named(
    data_root: Path, tmp_path: Path
) -> None:
    module = make_module()
    name = spoil(module, {2})
    with pytest.raises(StepError, match=r"gradients are no number at step 2: .* gradient norm inf"):
        fit(data_root, tmp_path, module)
    found = json.loads((tmp_path / FILE).read_text())
    assert found["gradients_that_are_no_numbers"] == [name]
    assert len(found["images"]) == 8


class Saves(pl.Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, run: pl.Trainer, *_: Any) -> None:
        if run.global_step == self.step:
            run.save_checkpoint(self.path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_not_waited_for_but_saves_nothing_of_a_failed_step(
    data_root: Path, tmp_path: Path
) -> None:
    for callbacks in ([], [Saves(3, tmp_path / "saved.ckpt")]):
        module = make_module()
        spoil(module, {2})
        with pytest.raises(StepError, match="gradients are no number at step 2"):
            fit(data_root, tmp_path, module, accelerator="gpu", callbacks=callbacks)
    assert not (tmp_path / "saved.ckpt").exists()


@pytest.mark.parametrize(("steps", "fails"), [({0, 1, 3, 4, 6}, False), ({1, 2, 3}, True)])
def test_half_precision_may_leave_out_steps_but_not_many_in_a_row(
    data_root: Path, tmp_path: Path, steps: set[int], fails: bool
) -> None:
    """A step that is left out is counted all the same."""
    module = make_module()
    spoil(module, steps)
    scaler = torch.amp.GradScaler("cpu", init_scale=1)  # at which no other gradient overflows
    half = MixedPrecision("16-mixed", "cpu", scaler)  # Trainer(precision=…) gives it to GPUs alone
    options = {"plugins": half, "max_overflows": 3}
    if fails:
        with pytest.raises(StepError, match="3 steps in a row were left out"):
            fit(data_root, tmp_path, module, **options)
    else:
        fit(data_root, tmp_path, module, **options)


def test_the_command_in_the_message_comes_to_the_same_message(root: Path, tmp_path: Path) -> None:
    words = [f"data.root={root}", f"hydra.run.dir={tmp_path}", "optimizer=sgd", "save_every=1"]
    words += ["optimizer.lr=1e20", "trainer.max_steps=40"]
    assert run("train", *SMALL, *words) == 1
    message = (tmp_path / "failed.txt").read_text()
    found = json.loads((tmp_path / FILE).read_text())
    assert last(tmp_path)["global_step"] == found["step"] > 0
    python, script, *overrides = shlex.split(found["replay"])
    assert (python, script) == ("python", "train.py")
    assert message.endswith(f"the same again: {found['replay']}\n")
    (tmp_path / FILE).unlink()
    assert run("train", *overrides) == 1
    assert (tmp_path / "failed.txt").read_text() == message
    assert json.loads((tmp_path / FILE).read_text()) == found
