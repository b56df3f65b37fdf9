"""Train a detector, then score its best checkpoint: `python train.py`, see conf/train.yaml."""

import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ssd import cli
from ssd.errors import ConfigError

log = logging.getLogger("ssd.train")

make = partial(instantiate, _convert_="all")  # no object ever sees a config


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@cli.one_line_errors
@cli.alone_in_its_folder
def train(cfg: DictConfig) -> float | None:
    """Returns the best validation score by `monitor`, for sweepers; None without validation."""
    # here, so that --help and tab completion need not wait for torch
    import pytorch_lightning as pl

    from ssd.callbacks.loggers import outlived
    from ssd.callbacks.metrics_file import MetricsFile
    from ssd.checkpointing import SafeCheckpointIO
    from ssd.memory import keep_freed_memory
    from ssd.models.ssd import side_pair
    from ssd.report.curves import plot_curves
    from ssd.report.results import earlier_results, write_results
    from ssd.weights.checkpoints import FOLDER, LAST, find_checkpoint
    from ssd.weights.resuming import check_resume, find_resume, set_later_aside

    start = time.monotonic()
    least = {"seed": 0, "val_every": 1, "optimizer.lr": 0, "trainer.log_every_n_steps": 1}
    cli.at_least(cfg, {**least, "bootstrap": 0})
    if cfg.save_every is not None:
        cli.at_least(cfg, {"save_every": 1})
    if cfg.trainer.max_steps == 0:
        raise ConfigError("trainer.max_steps=0 trains nothing; -1 is no limit but max_epochs")
    run_dir = Path(cfg.run_dir)
    resumed = find_resume(cfg.resume, run_dir)

    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    data = make(
        cfg.data,
        augmentation=make(cfg.augmentation),
        image_size=side_pair(cfg.model.image_size),
        seed=cfg.seed,
    )
    if cfg.resume is not None:
        data.keep_splits(run_gone_on_with(resumed, run_dir))
    data.prepare_data()
    callbacks = make(cfg.callbacks)
    check_callbacks(callbacks, cfg)
    module = build_module(cfg, data.classes, recipe_of(cfg, callbacks), resumed)
    module.check_monitor(cfg.monitor)
    own = {"classes": module.classes, "model": module.model, **module.recipe}
    step = check_resume(resumed, own) if resumed else None
    trainer = make(
        cfg.trainer,
        precision=cli.choose_precision(cfg.precision, cfg.trainer.accelerator),
        val_check_interval=cfg.val_every * cfg.trainer.accumulate_grad_batches,
        callbacks=list(callbacks.values()),
        plugins=SafeCheckpointIO(),
        logger=[MetricsFile(run_dir, keep_until=step), *outlived(make(cfg.logger).values())],
        default_root_dir=run_dir,
    )
    for logger in trainer.loggers:
        logger.log_hyperparams(cli.plain(cfg))
    if cfg.keep_memory and trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    announce(trainer, data, module)
    if trainer.is_global_zero:
        data.write_splits(run_dir)
    if resumed:
        log.info("resumed at step %d from %s", step, resumed)
        if trainer.is_global_zero:
            set_later_aside(run_dir, step)

    with cli.children_run_this_job():
        trainer.fit(module, data, ckpt_path=resumed, weights_only=True)
        if trainer.global_step == step and not any((run_dir / FOLDER).glob("*.ckpt")):
            raise ConfigError(
                f"resume={resumed}: has all of its {step} steps; raise trainer.max_steps"
            )
        earlier = earlier_results(run_dir, step) if trainer.global_step == step else {}
        if "wall_seconds" in earlier:
            log.info("nothing left to do: the run has had its %d steps, and has its results", step)
            return best_score(callbacks)
        validated = len(data.annotations["val"].ids) > 0
        best = find_checkpoint(run_dir) if validated else run_dir / FOLDER / LAST
        throughput = callbacks.get("throughput")
        results = {
            "images_per_second": throughput and throughput.images_per_second,
            **earlier,
            **module.scores,
            "steps": trainer.global_step,
            "best_checkpoint": str(best.relative_to(run_dir)),
            "seed": cfg.seed,
            "precision": trainer.precision,
        }
        if trainer.is_global_zero:  # also for the case that the test fails
            plot_curves(run_dir / "metrics.csv", run_dir / "curves.png")
            write_results(run_dir, results, scored=None)
        if data.test_split:
            trainer.test(module, data, ckpt_path=best, weights_only=True, verbose=False)
    if trainer.is_global_zero:
        results |= {**module.scores, "wall_seconds": time.monotonic() - start}
        stage = "test" if data.test_split else "val"
        write_what_was_found(cfg, trainer, module, stage, results)
    return best_score(callbacks)


def write_what_was_found(
    cfg: DictConfig, trainer: Any, module: Any, stage: str, results: dict[str, Any]
) -> None:
    """Write results.json, with what belongs to it, of the test or else of the last validation."""
    from ssd.callbacks.reports import send_report
    from ssd.report.assessment import assess, more_results
    from ssd.report.page import PAGE, write_report
    from ssd.report.results import write_results

    run_dir = Path(cfg.run_dir)
    if f"{stage}/map" not in module.scores:  # no such split, or a run whose end came before this
        write_results(run_dir, results, scored=None)
        return
    scored = module.scored()
    if not cfg.report:
        write_results(run_dir, results, scored)
        return
    weights = results["best_checkpoint"] if stage == "test" else "those of the last step"
    about = {"weights": weights, "steps": results["steps"], **module.described()}
    found = assess(scored, run_dir.absolute().name, stage, about, cfg.bootstrap)
    write_results(run_dir, results | more_results(found), scored)
    send_report(trainer, found, write_report(run_dir, found), run_dir / PAGE)
    log.info("report: %s", run_dir / PAGE)


def best_score(callbacks: dict[str, Any]) -> float | None:
    score = callbacks["best"].best_model_score if "best" in callbacks else None
    return None if score is None else float(score)


def run_gone_on_with(resumed: Path | None, run_dir: Path) -> Path:
    """The run folder that a checkpoint lies in, or this one."""
    folder = resumed.absolute().parent.parent if resumed else run_dir
    return folder if (folder / ".hydra").is_dir() else run_dir


def build_module(
    cfg: DictConfig, classes: list[str], recipe: dict[str, Any], resumed: Path | None
) -> Any:
    """The module to train, with the weights that it starts from."""
    from ssd.module import SSDModule
    from ssd.optim.parameters import freeze, make_optimizer
    from ssd.weights.warm_start import warm_start

    whole = cfg.init.checkpoint and not cfg.init.exclude and cfg.init.missing == "error"
    known = resumed or whole  # all weights come from a file, so none are fetched
    fetched = {"pretrained": False} if known and "pretrained" in cfg.model else {}
    network = make(cfg.model, num_classes=len(classes) + 1, **fetched)
    if resumed and cfg.init.checkpoint:
        log.info("resume wins: init.checkpoint=%s is not read", cfg.init.checkpoint)
    elif cfg.init.checkpoint is not None:
        model = model_arguments(cfg.model)
        log.info("\n".join(warm_start(network, classes, model, **cli.plain(cfg.init))))
    elif cfg.init.exclude or cfg.init.rename or cfg.init.missing != "error":
        raise ConfigError("init.exclude, rename and missing are of no use without init.checkpoint=")
    freeze(network, recipe["trainable"])
    cli.compile_network(network, cfg.compile)
    loss = make(cfg.loss)
    return SSDModule(
        network=network,
        loss=loss,
        detecting={**cli.plain(cfg.detecting), "activation": loss.activation},
        classes=classes,
        model=model_arguments(cfg.model),
        optimizer=partial(
            make_optimizer,
            factory=make(cfg.optimizer),
            lr_factors=recipe["lr_factors"] or {},
            no_decay=recipe["no_decay"],
        ),
        scheduler=make(cfg.scheduler),
        recipe={**recipe, "activation": loss.activation},
    )


def model_arguments(model: DictConfig) -> dict[str, Any]:
    """The name of the network in `ssd.models` and its arguments, as plain data."""
    arguments = cli.plain(model)
    return {"name": arguments.pop("_target_").rpartition(".")[2], **arguments}


def recipe_of(cfg: DictConfig, callbacks: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint's optimizer state and weights depend on, as plain data."""
    from ssd.callbacks.averaging import MovingAverage

    chosen = OmegaConf.masked_copy(cfg, ["trainable", "lr_factors", "no_decay"])
    return {
        "optimizer": cfg.optimizer._target_,
        "averaging": any(isinstance(c, MovingAverage) for c in callbacks.values()),
        **cli.plain(chosen),
    }


def check_callbacks(callbacks: dict[str, Any], cfg: DictConfig) -> None:
    """Refuse a run that keeps nothing, and one that freezes weights which have learned nothing."""
    from ssd.callbacks.checkpoints import LastCheckpoint
    from ssd.callbacks.freezing import FreezeUntil

    if not any(isinstance(callback, LastCheckpoint) for callback in callbacks.values()):
        given = ",".join(callbacks)
        raise ConfigError(f"callbacks: no checkpoint is kept; add default, as in [default,{given}]")
    freezes = any(isinstance(callback, FreezeUntil) for callback in callbacks.values())
    learned = cfg.init.checkpoint is not None or cfg.resume or cfg.model.get("pretrained")
    if (freezes or cfg.trainable is not None) and not learned:
        raise ConfigError(
            "callbacks.freezing and trainable= freeze weights that have learned nothing; give "
            "init.checkpoint=, a file or a run folder"
        )


def announce(trainer: Any, data: Any, module: Any) -> None:
    """Say what will be trained on what, and for how long, in steps and in epochs."""
    from ssd.module import total_steps

    images = {stage: len(columns.ids) for stage, columns in data.annotations.items()}
    boxes = len(data.annotations["train"].labels)
    log.info(
        "%d training, %d validation, %d test images; %d training boxes of %d classes: %s",
        *images.values(), boxes, len(data.classes), ", ".join(data.classes),
    )  # fmt: skip
    height, width = module.network.image_size
    log.info(
        "%s at %dx%d: %.1f million weights, %d anchors; on %d %s",
        module.model["name"], height, width,
        sum(weight.numel() for weight in module.network.parameters()) / 1e6,
        len(module.network.anchors), trainer.world_size,
        trainer.strategy.root_device.type,
    )  # fmt: skip
    steps = total_steps(trainer, int(data.steps_per_epoch))
    if steps < float("inf"):
        epochs = steps / max(1, int(data.steps_per_epoch))
        log.info("%d steps of %d images, %.1f epochs", steps, data.batch_size, epochs)


if __name__ == "__main__":
    cli.run(train)
