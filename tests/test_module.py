"""The module in real Trainer runs on a few tiny images."""

import math
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from networks import arguments, make_network
from saved import DETECTING
from test_datamodule import DEFAULTS
from test_losses import multibox
from voc import write_voc

from ssd.callbacks.checkpoints import LastCheckpoint
from ssd.callbacks.final_validation import ValidateAtEnd
from ssd.callbacks.metrics_file import MetricsFile, read_rows
from ssd.datamodule import DetectionDataModule
from ssd.errors import ConfigError
from ssd.models.losses import MultiBoxLoss
from ssd.module import SSDModule
from ssd.ops.mining import over_batch
from ssd.optim.parameters import make_optimizer
from ssd.optim.schedules import constant, cosine
from ssd.weights.checkpoints import build_network, read_checkpoint

MODEL = arguments("small", image_size=64, width=0.5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image has three objects, three have one, and four none: parts of a batch differ."""
    box, small = ("dog", 11, 6, 50, 35), ("cat", 1, 1, 9, 9)
    images = {f"i{k}": [] for k in range(4)} | {f"j{k}": [box] for k in range(3)}
    images |= {"k": [box, small, ("cat", 40, 1, 60, 12)]}
    folder = tmp_path_factory.mktemp("voc")
    return write_voc(folder, {"train": images, "test": {"t": [box], "u": [], "v": [small]}})


def data_module(root: Path, **changes: object) -> DetectionDataModule:
    settings = {**DEFAULTS, "val_split": None, "batch_size": 8, "image_size": (64, 64), **changes}
    return DetectionDataModule(str(root), augmentation=None, **settings)


def freeze_statistics(network: torch.nn.Module) -> None:
    """Batch norm by running statistics: a batch is then the sum of its parts."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.0
            layer.track_running_stats = True
            layer.train = lambda mode=True, layer=layer: layer
            layer.training = False


def sgd(**changes: object) -> partial:
    """A factory of SGD over the whole network."""
    factory = partial(torch.optim.SGD, **{"lr": 1e-3, **changes})
    return partial(make_optimizer, factory=factory, lr_factors={}, no_decay=[])


def make_module(**changes: object) -> SSDModule:
    torch.manual_seed(0)
    network = make_network("small", 3, image_size=64, width=0.5)
    settings = {
        "network": network,
        "loss": multibox(),
        "detecting": DETECTING,
        "classes": ["cat", "dog"],
        "model": MODEL,
        "optimizer": sgd(),
        "scheduler": partial(constant, warmup_steps=0, warmup_factor=0.1),
        "recipe": {},
        **changes,
    }
    return SSDModule(**settings)


def trainer(folder: Path, **changes: object) -> pl.Trainer:
    settings = {
        "accelerator": "cpu",
        "devices": 1,
        "max_steps": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
    }
    if "callbacks" in changes:
        del settings["enable_checkpointing"]
    return pl.Trainer(**{**settings, **changes})


def save_every(folder: Path, steps: int) -> LastCheckpoint:
    return LastCheckpoint(folder, steps, every_minutes=None, keep=1, keep_every_hours=None)


def weights(module: SSDModule) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.network.parameters()])


def trained(
    root: Path, tmp_path: Path, loss: MultiBoxLoss | None = None, **changes: object
) -> SSDModule:
    module = make_module(loss=loss or multibox())
    freeze_statistics(module.network)
    trainer(tmp_path, **changes).fit(module.double(), data_module(root))
    return module


@pytest.mark.parametrize("divisor", ["positives", "images", "anchors"])
def test_accumulated_parts_equal_the_whole_batch(root: Path, tmp_path: Path, divisor: str) -> None:
    loss = multibox(normalise_by=divisor)
    whole = trained(root, tmp_path, loss)
    parts = trained(root, tmp_path, loss, accumulate_grad_batches=4)
    untrained = weights(make_module())
    assert (weights(whole) - untrained).abs().max() > 1e-6
    torch.testing.assert_close(weights(parts), weights(whole), atol=1e-7, rtol=0)


def test_what_is_logged_is_of_the_whole_step_in_parts_or_not(root: Path, tmp_path: Path) -> None:
    logged = []
    for parts in (1, 4):
        module = make_module()
        freeze_statistics(module.network)
        run = trainer(tmp_path, accumulate_grad_batches=parts, log_every_n_steps=1)
        run.fit(module, data_module(root))
        logged.append({name: float(value) for name, value in run.callback_metrics.items()})
    names = ("loss", "loss_decay", "positives", "accuracy", "accuracy_positives", "grad_norm", "lr")
    assert logged[0].keys() >= {f"train/{name}" for name in names}
    assert logged[1] == pytest.approx(logged[0], rel=1e-5)


def test_positives_and_accuracy_are_means_over_images_and_anchors(
    root: Path, tmp_path: Path
) -> None:
    module = make_module(optimizer=sgd(lr=0.0))
    run = trainer(tmp_path, log_every_n_steps=1)
    run.fit(module, data_module(root))
    batch = next(iter(module.trainer.train_dataloader))
    module.network.train()
    found = module.loss(module.network(batch["images"]), batch, module.network.anchors)
    logged = run.callback_metrics
    assert logged["train/positives"] == found["positives"] / 8
    anchors = 8 * len(module.network.anchors)
    assert float(logged["train/accuracy"]) == pytest.approx(
        float(found["right"] / anchors), abs=1e-3
    )


def test_the_weight_decays_share_is_half_of_it_times_the_squares(
    root: Path, tmp_path: Path
) -> None:
    module = make_module(optimizer=sgd(lr=0.0, weight_decay=0.02))
    run = trainer(tmp_path, log_every_n_steps=1)
    run.fit(module, data_module(root))
    expected = 0.01 * weights(module).square().sum()
    torch.testing.assert_close(run.callback_metrics["train/loss_decay"], expected)


def test_weights_that_are_frozen_have_no_share_in_the_decay(root: Path, tmp_path: Path) -> None:
    module = make_module(optimizer=sgd(lr=0.0, weight_decay=0.02))
    module.network.features.requires_grad_(False)
    run = trainer(tmp_path, log_every_n_steps=1)
    run.fit(module, data_module(root))
    heads = torch.cat([p.detach().flatten() for p in module.network.heads.parameters()])
    expected = 0.01 * heads.square().sum()
    torch.testing.assert_close(run.callback_metrics["train/loss_decay"], expected)


def test_negatives_mined_over_parts_of_a_step_are_said(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = make_module(loss=multibox(mining=partial(over_batch, ratio=3, minimum=3)))
    trainer(tmp_path, accumulate_grad_batches=2).fit(module, data_module(root))
    assert "works over each of the 2 parts of a step" in caplog.text


def test_the_rate_that_is_logged_is_the_optimizers_own(root: Path, tmp_path: Path) -> None:
    factors = {"features": 0.1, "heads": 3.0, "heads.0.classify": 1 / 3}
    module = make_module(optimizer=partial(sgd(), lr_factors=factors))
    run = trainer(tmp_path, log_every_n_steps=1)
    run.fit(module, data_module(root))
    assert float(run.callback_metrics["train/lr"]) == pytest.approx(1e-3)


def test_an_epoch_is_as_long_in_parts_as_in_one(root: Path, tmp_path: Path) -> None:
    lengths = []
    for parts in (1, 2):
        found = []
        module = make_module(scheduler=partial(noting, found))
        trainer(tmp_path, accumulate_grad_batches=parts).fit(
            module, data_module(root, batch_size=4)
        )
        lengths += found
    assert lengths == [2.0, 2.0]


def test_a_longer_schedule_holds_from_the_first_resumed_step(root: Path, tmp_path: Path) -> None:
    schedule = partial(cosine, final_factor=0.0, warmup_steps=0, warmup_factor=0.1)
    module = make_module(scheduler=schedule)
    save = save_every(tmp_path, 2)
    trainer(tmp_path, max_steps=2, callbacks=[save]).fit(module, data_module(root))
    run = trainer(tmp_path, max_steps=8, log_every_n_steps=1, callbacks=[FirstRate()])
    resumed = make_module(scheduler=schedule)
    run.fit(resumed, data_module(root), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert run.callbacks[0].rate == pytest.approx(1e-3 * (1 + math.cos(math.pi * 2 / 8)) / 2)


def test_a_resumed_run_takes_the_rate_that_it_is_given(root: Path, tmp_path: Path) -> None:
    save = save_every(tmp_path, 2)
    trainer(tmp_path, max_steps=2, callbacks=[save]).fit(make_module(), data_module(root))
    run, data = trainer(tmp_path, max_steps=5, callbacks=[FirstRate()]), data_module(root)
    resumed = make_module(optimizer=sgd(lr=3e-4))
    run.fit(resumed, data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert run.callbacks[0].rate == run.optimizers[0].param_groups[0]["lr"] == pytest.approx(3e-4)


def test_a_resumed_run_takes_the_weight_decay_that_it_is_given(root: Path, tmp_path: Path) -> None:
    save = save_every(tmp_path, 2)
    trainer(tmp_path, max_steps=2, callbacks=[save]).fit(make_module(), data_module(root))
    run, resumed = trainer(tmp_path, max_steps=3), make_module(optimizer=sgd(weight_decay=0.125))
    path = tmp_path / "last.ckpt"
    run.fit(resumed, data_module(root), ckpt_path=path, weights_only=True)
    assert run.optimizers[0].param_groups[0]["weight_decay"] == 0.125


def noting(found: list[float], optimizer: object, steps: int, steps_per_epoch: float) -> object:
    found.append(steps_per_epoch)
    return constant(optimizer, steps, steps_per_epoch, warmup_steps=0, warmup_factor=0.1)


class FirstRate(pl.Callback):
    rate = None

    def on_before_optimizer_step(self, *arguments: object) -> None:
        *_, optimizer = arguments
        self.rate = self.rate or optimizer.param_groups[0]["lr"]


def test_accumulation_in_half_precision_is_refused(root: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, accumulate_grad_batches=2)
    run.precision_plugin.precision = "16-mixed"
    with pytest.raises(ConfigError, match=r"accumulate_grad_batches=2 .* precision=16-mixed"):
        run.fit(make_module(), data_module(root))


def test_one_image_at_a_time_is_refused_where_a_norm_has_one_cell(
    root: Path, tmp_path: Path
) -> None:
    run = trainer(tmp_path, accumulate_grad_batches=8)  # of 8 images; the last map has 1x1 cells
    with pytest.raises(ConfigError, match=r"data\.batch_size=8 is one image at a time"):
        run.fit(make_module(), data_module(root))


def test_a_step_on_images_without_objects_changes_the_network(tmp_path: Path) -> None:
    box = ("dog", 1, 1, 9, 9)
    root = write_voc(tmp_path, {"train": {f"i{k}": [] for k in range(8)}, "test": {"t": [box]}})
    module = make_module()
    before = weights(module).clone()
    trainer(tmp_path).fit(module, data_module(root, classes=["cat", "dog"]))
    assert torch.isfinite(weights(module)).all()
    assert not torch.equal(weights(module), before)


def test_a_test_scores_every_image_by_all_three_rules(root: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.test(make_module(), data_module(root, batch_size=2), verbose=False)
    names = {name.removeprefix("test/") for name in run.callback_metrics}
    expected = {"map_voc07", "map_voc12", "map", "map_50", "map_75", "loss", "ap/cat", "ap/dog"}
    assert expected <= names


def test_the_validation_loss_is_the_loss_of_the_whole_split(root: Path, tmp_path: Path) -> None:
    losses = []
    for batch_size in (1, 3):
        run = trainer(tmp_path)
        run.test(make_module(), data_module(root, batch_size=batch_size), verbose=False)
        losses.append(run.callback_metrics["test/loss"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_checkpoint_is_enough_to_detect_the_same(root: Path, tmp_path: Path) -> None:
    run, module = trainer(tmp_path), make_module()
    run.fit(module, data_module(root))
    run.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = read_checkpoint(tmp_path / "a.ckpt")
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        ours, theirs = module.network.eval()(images), build_network(checkpoint)(images)
    torch.testing.assert_close(ours.logits, theirs.logits)
    assert checkpoint["ssd"]["classes"] == ["cat", "dog"]
    assert checkpoint["ssd"]["detecting"] == DETECTING


@pytest.mark.parametrize("limit", [{"max_steps": 6}, {"max_epochs": 3, "max_steps": -1}])
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_resumed_run_ends_with_the_same_bits(
    root: Path, tmp_path: Path, stop: int, limit: dict[str, int]
) -> None:
    """An epoch has two steps: the run stops within one, or at its end."""
    whole, first, second = make_module(), make_module(), make_module()
    trainer(tmp_path, **limit).fit(whole, data_module(root, batch_size=4))
    save = save_every(tmp_path, stop)
    trainer(tmp_path, max_steps=stop, callbacks=[save]).fit(first, data_module(root, batch_size=4))
    data, path = data_module(root, batch_size=4), tmp_path / "last.ckpt"
    trainer(tmp_path, **limit).fit(second, data, ckpt_path=path, weights_only=True)
    assert torch.equal(weights(whole), weights(second))


class Forms(pl.Callback):
    """Whether the optimizer of each step was fused."""

    def __init__(self) -> None:
        self.fused: list[bool] = []

    def on_before_optimizer_step(self, *arguments: object) -> None:
        self.fused.append(bool(arguments[-1].param_groups[0]["fused"]))


@pytest.mark.parametrize(
    ("options", "fused"),
    [
        ({}, True),
        ({"precision": "bf16-mixed"}, True),
        ({"gradient_clip_val": 1.0}, True),
        ({"precision": "bf16-mixed", "gradient_clip_val": 0}, True),
        ({"precision": "bf16-mixed", "gradient_clip_val": 1.0}, False),
    ],
    ids=str,
)
def test_steps_are_fused_but_where_mixed_precision_clips(
    root: Path, tmp_path: Path, options: dict[str, object], fused: bool
) -> None:
    forms = Forms()
    trainer(tmp_path, callbacks=[forms], **options).fit(make_module(), data_module(root))
    assert forms.fused == [fused]


@pytest.mark.parametrize(("first", "second"), [(False, None), (None, False)])
def test_a_resumed_run_takes_its_own_form_of_the_optimizer(
    root: Path, tmp_path: Path, first: bool | None, second: bool | None
) -> None:
    whole, begun, resumed = (
        make_module(optimizer=adam(fused=fused)) for fused in (first, first, second)
    )
    trainer(tmp_path, max_steps=4).fit(whole, data_module(root))
    trainer(tmp_path, max_steps=2, callbacks=[save_every(tmp_path, 2)]).fit(
        begun, data_module(root)
    )
    forms, path = Forms(), tmp_path / "last.ckpt"
    run = trainer(tmp_path, max_steps=4, callbacks=[forms])
    run.fit(resumed, data_module(root), ckpt_path=path, weights_only=True)
    assert forms.fused == [second is None] * 2
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=1e-4)


def adam(**keys: object) -> partial:
    factory = partial(torch.optim.Adam, lr=1e-4, **keys)
    return partial(make_optimizer, factory=factory, lr_factors={}, no_decay=[])


class StopAt(pl.Callback):
    """Stops the run at a step that nobody knew before."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, run: pl.Trainer, *_: object) -> None:
        run.should_stop = run.global_step == self.step


@pytest.mark.parametrize(
    "stopping", [{"max_steps": 3}, {"callbacks": [StopAt(3)]}], ids=["known", "unknown"]
)
def test_norms_of_the_step_that_a_run_ends_at_are_its_own(
    root: Path, tmp_path: Path, stopping: dict[str, object]
) -> None:
    """By a run that logs every step."""
    logged = []
    for options in ({"max_steps": 3, "log_every_n_steps": 1}, {"max_steps": 9, **stopping}):
        run = trainer(tmp_path, **{"log_every_n_steps": 2, **options})
        run.fit(make_module(optimizer=sgd(weight_decay=0.02)), data_module(root))
        logged.append({name: float(value) for name, value in run.callback_metrics.items()})
    assert logged[1] == pytest.approx(logged[0], rel=1e-4)


def test_what_is_logged_does_not_depend_on_how_often(root: Path, tmp_path: Path) -> None:
    tables = []
    for every in (1, 2):
        logger = MetricsFile(tmp_path / str(every), keep_until=None)
        options = {"max_steps": 5, "log_every_n_steps": every, "callbacks": [ValidateAtEnd()]}
        run = trainer(tmp_path, logger=logger, **options)
        run.fit(make_module(optimizer=sgd(weight_decay=0.02)), data_module(root))
        tables.append({row["step"]: row for row in read_rows(logger.path)})
    all_rows, some = tables
    assert some == {step: all_rows[step] for step in ("1", "3", "4")}


@pytest.mark.slow
def test_a_compiled_network_trains_the_same_and_keeps_its_names(root: Path, tmp_path: Path) -> None:
    plain, compiled = make_module(), make_module()
    compiled.network.compile(backend="aot_eager")
    for module in (plain, compiled):
        run = trainer(tmp_path, max_steps=2)
        run.fit(module, data_module(root))
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(weights(compiled), weights(plain), rtol=0, atol=1e-5)
    run.save_checkpoint(tmp_path / "a.ckpt")
    rebuilt = build_network(read_checkpoint(tmp_path / "a.ckpt"))
    assert rebuilt.state_dict().keys() == plain.network.state_dict().keys()
