"""Callbacks in real runs of a tiny detector: histograms of weights and gradients."""

from pathlib import Path

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import Learner, Recorder, fit

from ssd.callbacks.freezing import FreezeUntil
from ssd.callbacks.histograms import Histograms
from ssd.errors import ConfigError


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"histograms": 0}).Reload()


def test_every_parameter_has_histograms_of_weight_and_gradient(tmp_path: Path) -> None:
    module, recorder = Learner(), Recorder()
    logger = TensorBoardLogger(tmp_path, name="", version="")
    fit(module, recorder, Histograms(every_n_steps=2), max_steps=5, logger=logger)
    found = events(tmp_path)
    names = [name for name, _ in module.named_parameters()]
    wanted = {f"{kind}/{name}" for kind in ("weights", "gradients") for name in names}
    assert set(found.Tags()["histograms"]) == wanted
    histograms = found.Histograms("weights/network.features.weight")
    assert [histogram.step for histogram in histograms] == [2, 4]
    weight = recorder.steps[3]["network.features.weight"]
    assert histograms[1].histogram_value.max == pytest.approx(float(weight.max()))


def test_the_gradients_are_those_of_the_step(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="", version="")
    options = {"accumulate_grad_batches": 2, "gradient_clip_val": 1e-3}
    fit(Learner(), Histograms(every_n_steps=1), max_steps=3, logger=logger, **options)
    found = events(tmp_path)
    gradients = [tag for tag in found.Tags()["histograms"] if tag.startswith("gradients/")]
    squares = [found.Histograms(tag)[-1].histogram_value.sum_squares for tag in gradients]
    assert sum(squares) ** 0.5 == pytest.approx(1e-3, rel=1e-2)


def test_frozen_weights_have_no_gradients_to_show(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="", version="")
    freezing = FreezeUntil(trainable=["heads"], step=9)
    fit(Learner(), freezing, Histograms(every_n_steps=1), max_steps=2, logger=logger)
    tags = events(tmp_path).Tags()["histograms"]
    assert {tag for tag in tags if tag.startswith("gradients/")} == {
        "gradients/network.heads.weight",
        "gradients/network.heads.bias",
    }


def test_numbers_without_end_do_not_stop_a_run(tmp_path: Path) -> None:
    module = Learner()
    with torch.no_grad():
        module.network.heads.weight[0, 0] = float("inf")
    logger = TensorBoardLogger(tmp_path, name="", version="")
    assert fit(module, Histograms(every_n_steps=1), max_steps=2, logger=logger).global_step == 2


def test_histograms_need_a_place_to_go(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="logger=tensorboard"):
        fit(Learner(), Histograms(every_n_steps=2), max_steps=2, logger=CSVLogger(tmp_path))
