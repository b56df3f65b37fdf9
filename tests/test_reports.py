"""A report in the loggers, read back from what they wrote."""

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from assessed import CAT, LEFT, assessed
from pytorch_lightning.loggers import WandbLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray
from test_evaluating import CLASSES, FIGURES, FOUND, OWN_FIGURES, TRUTHS
from verbs import results

from ssd.callbacks.reports import COUNTS, THRESHOLDS, counted, send_report
from ssd.ops.precision import Curve
from ssd.report.page import PAGE, write_report


@pytest.fixture(scope="module")
def events(trained: Path) -> EventAccumulator:
    return EventAccumulator(str(trained / "tensorboard")).Reload()


def test_tensorboard_has_the_scalars_of_training_and_test(
    trained: Path, events: EventAccumulator
) -> None:
    names = events.Tags()["scalars"]
    assert {"train/loss", "train/lr", "val/map", "test/map", "test/ap/cat"} <= {*names}
    assert len(events.Scalars("train/loss")) == 90
    assert events.Scalars("test/map")[-1].value == pytest.approx(results(trained)["test/map"])


def test_tensorboard_has_pictures_of_detections_and_of_the_report(events: EventAccumulator) -> None:
    figures = {f"test_report/{name}" for name in FIGURES | OWN_FIGURES}
    assert {"examples", "augmented", *figures} <= {*events.Tags()["images"]}
    image = events.Images("test_report/confusion")[-1]
    assert image.width >= 1000
    assert image.encoded_image_string.startswith(b"\x89PNG")


def test_tensorboard_has_curves_of_precision_and_recall(
    trained: Path, events: EventAccumulator
) -> None:
    assert {f"test_precision_recall/{name}" for name in CLASSES} <= {*events.Tags()["tensors"]}
    (event,) = events.Tensors("test_precision_recall/cat")
    values = make_ndarray(event.tensor_proto)
    assert values.shape == (len(COUNTS), THRESHOLDS)
    assert values[-1, 0] == 1  # recall of all detections: both cats and dogs are found


def test_counts_at_thresholds_are_those_of_the_detections() -> None:
    scores = torch.tensor([0.9, 0.8, 0.8, 0.3])
    right = torch.tensor([0.0, 1, 0, 1]).double()
    curve = Curve(right.cumsum(0) / 3, right.cumsum(0) / torch.arange(1, 5), scores, 3)
    values = dict(zip(COUNTS, counted(curve), strict=True))
    for place, threshold in enumerate(np.linspace(0, 1, THRESHOLDS)):
        kept = (scores.double() >= threshold).numpy()
        hits = int(right.numpy()[kept].sum())
        assert values["true_positive_counts"][place] == pytest.approx(hits)
        assert values["false_positive_counts"][place] == pytest.approx(kept.sum() - hits)
        assert values["false_negative_counts"][place] == pytest.approx(3 - hits)
        assert values["precision"][place] == pytest.approx(hits / kept.sum() if kept.any() else 1)


def test_wandb_gets_the_figures_and_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(save_dir=tmp_path, offline=True, project="ssd")
    trainer = pl.Trainer(logger=logger, accelerator="cpu", enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    found = assessed(tmp_path / "images", CLASSES, TRUTHS, FOUND)
    send_report(trainer, found, write_report(tmp_path, found), tmp_path / PAGE)
    wandb.finish()
    (run,) = tmp_path.glob("wandb/offline-run-*")
    media = run / "files" / "media"
    sent = {path.stem.rsplit("_", 2)[0] for path in media.rglob("*.png")}
    assert sent == FIGURES | OWN_FIGURES
    (page,) = media.rglob("*.html")
    assert page.read_text() == (tmp_path / PAGE).read_text()


def test_a_class_without_objects_has_no_curve(tmp_path: Path) -> None:
    logger = pl.loggers.TensorBoardLogger(tmp_path, name="", version="")
    trainer = pl.Trainer(logger=logger, accelerator="cpu", enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    found = assessed(tmp_path, CLASSES, [[(CAT, LEFT, False)]], [[(CAT, 0.5, LEFT)]])
    send_report(trainer, found, write_report(tmp_path, found), tmp_path / PAGE)
    logger.experiment.flush()
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["tensors"]
    assert [tag for tag in tags if "precision_recall" in tag] == ["test_precision_recall/cat"]
