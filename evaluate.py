"""Score a checkpoint: `python evaluate.py checkpoint=RUN`, see conf/evaluate.yaml."""

import time
from functools import partial
from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ssd import cli
from ssd.errors import ConfigError

make = partial(instantiate, _convert_="all")  # no object ever sees a config


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
@cli.one_line_errors
def evaluate(cfg: DictConfig) -> None:
    # here, so that --help and tab completion need not wait for torch
    from ssd.module import SSDModule
    from ssd.report.results import write_results
    from ssd.weights.checkpoints import build_network, find_checkpoint, read_checkpoint

    start = time.monotonic()
    path = find_checkpoint(Path(cfg.checkpoint).expanduser())
    checkpoint = read_checkpoint(path)
    described = checkpoint["ssd"]
    data = make(
        data_config(cfg, path, described["classes"]),
        classes=described["classes"],
        augmentation=None,
        image_size=tuple(described["image_size"]),
        seed=0,
    )
    data.test_stage = cfg.split
    data.prepare_data()
    wanted = {name: value for name, value in cli.plain(cfg.detecting).items() if value is not None}
    module = SSDModule(
        network=build_network(checkpoint),
        loss=make(cfg.loss),
        detecting={**described["detecting"], **wanted},
        classes=described["classes"],
        model=described["model"],
        optimizer=None,
        scheduler=None,
    )
    trainer = make(
        cfg.trainer,
        precision=cli.choose_precision(cfg.precision, cfg.trainer.accelerator),
        callbacks=list(make(cfg.callbacks).values()),
        logger=False,
        default_root_dir=cfg.run_dir,
    )
    with cli.children_run_this_job():
        trainer.test(module, data, verbose=False)
    if trainer.is_global_zero:
        metrics = {
            name.replace("test/", f"{cfg.split}/"): float(value)
            for name, value in trainer.callback_metrics.items()
        }
        about = {
            "checkpoint": str(path),
            "step": checkpoint["global_step"],
            "precision": trainer.precision,
            "wall_seconds": time.monotonic() - start,
        }
        write_results(Path(cfg.run_dir), metrics | about, module.scored())


def data_config(cfg: DictConfig, checkpoint: Path, classes: list[str]) -> DictConfig:
    """The data set to score on: `data=`, or that of the run folder that the checkpoint lies in."""
    data = cfg.get("data")
    if data is None:
        file = checkpoint.parent.parent / ".hydra" / "config.yaml"
        if not file.is_file():
            raise ConfigError(
                f"{checkpoint} lies in no run folder; say what to score it on: data=…"
            )
        data = OmegaConf.load(file).data
    if data.classes is not None and list(data.classes) != classes:
        raise ConfigError(
            f"data.classes={list(data.classes)}, but the checkpoint was trained on {classes}"
        )
    return data


if __name__ == "__main__":
    cli.run(evaluate)
