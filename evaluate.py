"""Score a checkpoint: `python evaluate.py checkpoint=RUN`, see conf/evaluate.yaml."""

import time
from functools import partial
from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ssd import cli
from ssd.errors import ConfigError

STAGES = ("train", "val", "test")

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
    run = run_config(path)
    data = make(
        data_config(cfg, run, path, described["classes"]),
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


def data_config(
    cfg: DictConfig, run: DictConfig | None, checkpoint: Path, classes: list[str]
) -> DictConfig:
    """The data set to score on: `data=`, or that of the run folder that the checkpoint lies in."""
    from ssd.data.naming import read_classes

    if cfg.split not in STAGES:
        raise ConfigError(f"split={cfg.split}: give one of {', '.join(STAGES)}")
    if not cfg.get("data"):
        return run_data(cfg, run, checkpoint)
    cfg.data_dir = cfg.data_dir or "data"  # as in train.yaml
    given = read_classes(cli.plain(cfg.data)["classes"])
    if given and given != classes:
        raise ConfigError(f"data.classes={given}, but the checkpoint was trained on {classes}")
    return cfg.data


def run_config(checkpoint: Path) -> DictConfig | None:
    """The configuration of the run folder that a checkpoint lies in, if it lies in one."""
    file = checkpoint.parent.parent / ".hydra" / "config.yaml"
    return OmegaConf.load(file) if file.is_file() else None


def run_data(cfg: DictConfig, run: DictConfig | None, checkpoint: Path) -> DictConfig:
    """The data group that a run was trained with; paths are relative to where it was started."""
    if run is None:
        raise ConfigError(f"{checkpoint} lies in no run folder; say on what to score it: data=…")
    if cfg.data_dir is not None:
        run.data_dir = str(Path(cfg.data_dir).absolute())
    hydra_file = checkpoint.parent.parent / ".hydra" / "hydra.yaml"
    started_in = Path(OmegaConf.load(hydra_file).hydra.runtime.cwd)
    for part in (run.data, *run.data.more):
        part.root = str(started_in / Path(part.root).expanduser())
    return run.data


if __name__ == "__main__":
    cli.run(evaluate)
