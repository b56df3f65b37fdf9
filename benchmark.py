"""Measure speed, part by part, beside torchvision: `python benchmark.py`, see
conf/benchmark.yaml."""

import importlib
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from ssd import cli
from ssd.errors import ConfigError

log = logging.getLogger("ssd.benchmark")

ALL, GROWTH = "all", "growth"
ON_IMAGES = {"input": "input_pipeline", "inference": "inference"}  # modules of benchmarks/
ALONE = {
    "loss": "loss",
    "training_step": "train_step",
    "detections": "detecting",
    "scoring": "scoring",
    "startup": "startup",
}
PARTS = (*ON_IMAGES, *ALONE, GROWTH)

make = partial(instantiate, _convert_="all")  # no object ever sees a config


@hydra.main(version_base="1.3", config_path="conf", config_name="benchmark")
@cli.one_line_errors
def benchmark(cfg: DictConfig) -> None:
    # here, so that --help and tab completion need not wait for torch
    from benchmarks import figures, growth
    from benchmarks.timing import lines, machine
    from ssd.report.results import write_json

    cli.at_least(cfg, {"rounds": 1})
    folder, parts = Path(cfg.run_dir), chosen(cfg.part)
    data = read(cfg) if ON_IMAGES.keys() & parts else None
    results = []
    for part in parts:
        for result in measured(part, cfg.rounds, data):
            results.append(result)
            log.info("%s", "\n".join(lines([result])))
            # after each, as what follows takes minutes and may fail
            content = {**machine(), "results": [result.content() for result in results]}
            write_json(folder / "benchmark.json", content, indent=1)
            figures.plot_ratios(results, folder / "benchmark.png")
    if GROWTH in parts:
        points = []
        for point in growth.measure():
            points.append(point)
            log.info("%s", growth.line(point))
        write_json(folder / "growth.json", [point._asdict() for point in points], indent=1)
        figures.plot_growth(points, folder / "growth.png")


def chosen(part: str | Sequence[str]) -> list[str]:
    """The parts that are asked for, in the order of PARTS."""
    wanted = [part] if isinstance(part, str) else list(part)
    for name in wanted:
        if name not in (*PARTS, ALL):
            raise ConfigError(f"part={name}: give {ALL}, or any of {', '.join(PARTS)}")
    return [name for name in PARTS if name in wanted or ALL in wanted]


def measured(part: str, rounds: int, data: Any) -> Iterator[Any]:
    """What a module of benchmarks/ measures; growth is another kind of thing."""
    if part in ON_IMAGES:
        module = importlib.import_module(f"benchmarks.{ON_IMAGES[part]}")
        yield from module.measure(rounds, data)
    elif part in ALONE:
        yield from importlib.import_module(f"benchmarks.{ALONE[part]}").measure(rounds)


def read(cfg: DictConfig) -> Any:
    """The data as training would have it, at SSD300's size."""
    augmentation = make(cfg.augmentation)
    data = make(cfg.data, augmentation=augmentation, image_size=(300, 300), seed=cfg.seed)
    data.prepare_data()
    return data


if __name__ == "__main__":
    cli.run(benchmark)
