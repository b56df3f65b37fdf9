"""Score a checkpoint: `python evaluate.py checkpoint=RUN`, see conf/evaluate.yaml."""

import time
from functools import partial
from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from ssd import cli
from ssd.errors import ConfigError

make = partial(instantiate, _convert_="all")  # no object ever sees a config


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
@cli.one_line_errors
def evaluate(cfg: DictConfig) -> None:
    # here, so that --help and tab completion need not wait for torch
    from ssd.memory import keep_freed_memory
    from ssd.module import SSDModule
    from ssd.report.results import write_results
    from ssd.weights.checkpoints import build_network, find_checkpoint
    from ssd.weights.loading import load_checkpoint

    start = time.monotonic()
    path = find_checkpoint(Path(cfg.checkpoint).expanduser())
    checkpoint = load_checkpoint(path)
    described = checkpoint["ssd"]
    run = cli.run_config(path)
    data = make(
        cli.data_config(cfg, run, path, described["classes"]),
        classes=described["classes"],
        augmentation=None,
        image_size=tuple(described["image_size"]),
        seed=0,
    )
    data.scored = cfg.split
    if not cfg.get("data"):
        data.keep_splits(path.parent.parent)
    data.prepare_data()
    if not data.annotations[cfg.split].ids:
        raise ConfigError(f"split={cfg.split}: the data set that is scored on has none")
    wanted = {name: value for name, value in cli.plain(cfg.detecting).items() if value is not None}
    module = SSDModule(
        network=build_network(checkpoint),
        loss=make(cfg.get("loss") or (run.loss if run else None)),
        detecting={**described["detecting"], **wanted},
        classes=described["classes"],
        model=described["model"],
        optimizer=None,
        scheduler=None,
        recipe={},
    )
    trainer = make(
        cfg.trainer,
        precision=cli.choose_precision(cfg.precision, cfg.trainer.accelerator),
        callbacks=list(make(cfg.callbacks).values()),
        logger=False,
        default_root_dir=cfg.run_dir,
    )
    if cfg.keep_memory and trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    with cli.children_run_this_job():
        trainer.test(module, data, verbose=False)
    if trainer.is_global_zero:
        metrics = {
            name.replace("test/", f"{cfg.split}/"): value for name, value in module.scores.items()
        }
        about = {
            "checkpoint": str(path),
            "step": checkpoint["global_step"],
            "precision": trainer.precision,
            "wall_seconds": time.monotonic() - start,
        }
        write_results(Path(cfg.run_dir), metrics | about, module.scored())


if __name__ == "__main__":
    cli.run(evaluate)
