"""Score a checkpoint, or two beside each other: `python evaluate.py checkpoint=RUN`, see
conf/evaluate.yaml."""

import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig

from ssd import cli
from ssd.errors import ConfigError

log = logging.getLogger("ssd.evaluate")

make = partial(instantiate, _convert_="all")  # no object ever sees a config


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
@cli.one_line_errors
def evaluate(cfg: DictConfig) -> None:
    # here, so that --help and tab completion need not wait for torch
    from ssd.memory import keep_freed_memory
    from ssd.weights.checkpoints import find_checkpoint
    from ssd.weights.loading import load_checkpoint

    cli.at_least(cfg, {"bootstrap": 0})
    given = one_or_two(cfg.checkpoint)
    if len(given) == 2 and not cfg.report:
        raise ConfigError("report=false: the comparison of two checkpoints is its report")
    paths = [find_checkpoint(Path(one).expanduser()) for one in given]
    checkpoints = [load_checkpoint(path) for path in paths]
    check_classes(paths, [checkpoint["ssd"]["classes"] for checkpoint in checkpoints])
    trainer = make(
        cfg.trainer,
        precision=cli.choose_precision(cfg.precision, cfg.trainer.accelerator),
        callbacks=list(make(cfg.callbacks).values()),
        logger=False,
        default_root_dir=cfg.run_dir,
    )
    if cfg.keep_memory and trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    modules, about = [], []
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        start = time.monotonic()
        module = build_module(cfg, path, checkpoint)
        data = build_data(cfg, paths[0], checkpoint)
        with cli.children_run_this_job():
            trainer.test(module, data, verbose=False)
        modules.append(module)
        about.append(
            {
                "checkpoint": str(path),
                "step": checkpoint["global_step"],
                "precision": trainer.precision,
                "wall_seconds": time.monotonic() - start,
            }
        )
    if trainer.is_global_zero:
        write(cfg, cli.names_apart(paths), modules, about)


def one_or_two(checkpoint: str | ListConfig) -> list[str]:
    given = [*checkpoint] if isinstance(checkpoint, ListConfig) else [checkpoint]
    if len(given) not in (1, 2):
        raise ConfigError(f"checkpoint={given}: give one, or two to be compared, as in [A,B]")
    return given


def check_classes(paths: Sequence[Path], classes: Sequence[list[str]]) -> None:
    if classes[0] != classes[-1]:
        raise ConfigError(
            f"checkpoint=[{paths[0]},{paths[1]}]: they were trained on other classes, the first on "
            f"{classes[0]}, the second on {classes[1]}; only scores of the same can be compared"
        )


def build_data(cfg: DictConfig, path: Path, checkpoint: dict[str, Any]) -> Any:
    """The data to score on, as `data=` says or the run that the checkpoint at `path` is of, in the
    size that `checkpoint` takes."""
    described = checkpoint["ssd"]
    data = make(
        cli.data_config(cfg, cli.run_config(path), path, described["classes"]),
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
    return data


def build_module(cfg: DictConfig, path: Path, checkpoint: dict[str, Any]) -> Any:
    """The module to score, of a checkpoint that lies at `path`."""
    from ssd.module import SSDModule
    from ssd.weights.checkpoints import build_network

    run, described = cli.run_config(path), checkpoint["ssd"]
    wanted = {name: value for name, value in cli.plain(cfg.detecting).items() if value is not None}
    return SSDModule(
        network=build_network(checkpoint),
        loss=make(cfg.get("loss") or (run.loss if run else None)),
        detecting={**described["detecting"], **wanted},
        classes=described["classes"],
        model=described["model"],
        optimizer=None,
        scheduler=None,
        recipe={},
    )


def write(
    cfg: DictConfig, names: Sequence[str], modules: Sequence[Any], about: Sequence[dict[str, Any]]
) -> None:
    """The results of one checkpoint, or those of two in folders of their names beside what tells
    them apart."""
    from ssd.report.comparison import difference_results, verdicts, write_comparison
    from ssd.report.page import PAGE
    from ssd.report.results import write_json

    run_dir = Path(cfg.run_dir)
    folders = [run_dir] if len(names) == 1 else [run_dir / name for name in names]
    found = [write_one(cfg, *each) for each in zip(folders, names, modules, about, strict=True)]
    if len(found) == 2:
        write_json(run_dir / "results.json", difference_results(*found), indent=1)
        write_comparison(run_dir, *found)
        for line in verdicts(*found):
            log.info("%s", line)
    if cfg.report:
        log.info("report: %s", run_dir / PAGE)
    else:
        (run_dir / PAGE).unlink(missing_ok=True)  # an earlier one says other numbers


def write_one(cfg: DictConfig, folder: Path, name: str, module: Any, about: dict[str, Any]) -> Any:
    """What was found of a checkpoint, in files; returns its assessment, if a report is wanted."""
    from ssd.report.assessment import assess, more_results
    from ssd.report.page import write_report
    from ssd.report.results import write_results

    folder.mkdir(exist_ok=True)
    scored = module.scored()
    scores = {
        name.replace("test/", f"{cfg.split}/"): value for name, value in module.scores.items()
    }
    if not cfg.report:
        write_results(folder, scores | about, scored)
        return None
    facts = {key: about[key] for key in ("checkpoint", "step")} | module.described()
    found = assess(scored, name, cfg.split, facts, cfg.bootstrap)
    write_results(folder, scores | about | more_results(found), scored)
    write_report(folder, found)
    return found


if __name__ == "__main__":
    cli.run(evaluate)
