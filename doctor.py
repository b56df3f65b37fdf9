"""Look at a data set before training: `python doctor.py data=auto data.root=DIR`, see
conf/doctor.yaml."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from ssd import cli

log = logging.getLogger("ssd.doctor")

make = partial(instantiate, _convert_="all")  # no object ever sees a config


@hydra.main(version_base="1.3", config_path="conf", config_name="doctor")
@cli.one_line_errors
def doctor(cfg: DictConfig) -> None:
    # here, so that --help and tab completion need not wait for torch
    from ssd.data.images.pixels import damaged
    from ssd.data.progress import progress
    from ssd.doctor import html, page
    from ssd.doctor.fixing import check_target, write_copy
    from ssd.report.results import write_json

    data = read(cfg)
    if cfg.fix is not None:
        check_target(Path(cfg.fix).expanduser(), [part.root for part in data.parts])
    files = [file for columns in data.annotations.values() for file in columns.files]
    with progress("pixels") as show:
        broken = damaged(files, show)
    for file, message in broken.items():
        data.report.fault("bad_image", message, file)
    found = examine(cfg, data)
    folder = Path(cfg.run_dir)
    log.info("%s", page.page(found))
    write_json(folder / "doctor.json", found.content(), indent=1)
    html.write_doctors_page(folder / "doctor.html", found, draw(found, data, broken))
    if cfg.fix is not None:
        out, faults = Path(cfg.fix).expanduser(), found.faults
        write_copy(out, data.annotations, data.classes, broken, faults)
    if found.faults or found.same_pictures():
        cli.end_with(1)


def read(cfg: DictConfig) -> Any:
    """The data as training would have it, but every fault collected and none raised."""
    from ssd.data.checks import Report
    from ssd.models.ssd import side_pair

    data = make(
        cfg.data,
        augmentation=make(cfg.augmentation),
        image_size=side_pair(cfg.model.image_size),
        seed=cfg.seed,
    )
    data.report = Report(data.report.policies, collect=True)
    data.prepare_data()
    return data


def examine(cfg: DictConfig, data: Any) -> Any:
    """Everything but the pictures."""
    from ssd.data.progress import progress
    from ssd.doctor.advice import advise
    from ssd.doctor.copies import find_copies
    from ssd.doctor.findings import Findings
    from ssd.doctor.fitting import fit
    from ssd.doctor.reach import reach
    from ssd.doctor.statistics import describe

    stages, classes = data.annotations, data.classes
    statistics = {stage: describe(columns, classes) for stage, columns in stages.items()}
    with progress("copies") as show:
        copies = find_copies({stage: columns.files for stage, columns in stages.items()}, show)
    fetched = {"pretrained": False} if "pretrained" in cfg.model else {}
    # with a class at least: a network that finds nothing is none, though it has the anchors
    network = make(cfg.model, num_classes=max(1, len(classes)) + 1, **fetched)
    matching = {
        "iou_threshold": cfg.loss.iou_threshold,
        "own_anchors": cfg.loss.own_anchors,
        "train_difficult": cfg.data.train_difficult,
    }
    reached = reach(stages["train"], classes, network.anchors, network.image_size, **matching)
    finer = cfg.model.finer_levels
    fitted = None
    if cfg.fit and reached["boxes"]:
        print("fitting anchors", file=sys.stderr)
        fitted = fit(stages["train"], classes, network, finer, **matching)
    faults = data.report.faults
    return Findings(
        roots=[str(part.root) for part in data.parts],
        classes=classes,
        made=data.made,
        statistics=statistics,
        faults=faults,
        notes=dict(data.report.notes),
        copies=copies,
        model=cfg.model._target_.rpartition(".")[2],
        reach=reached,
        fit=fitted,
        advice=advise(statistics, reached, faults, copies, data.batch_size, finer, fitted),
    )


def draw(found: Any, data: Any, broken: dict[str, str]) -> Any:
    """The pictures of the page."""
    from ssd.doctor import pictures

    twice = [one for stage in found.statistics.values() for one in stage["duplicates"]["examples"]]
    return pictures.Pictures(
        faulty=pictures.faulty(found.faults),
        duplicated=pictures.duplicated(twice, broken, data.classes),
        leaks=pictures.leaks(found.copies, found.roots),
        missed=pictures.missed(found.reach["worst"], broken, data.classes),
        augmented=pictures.augmented(data.dataset("train", training=True), broken, data.classes),
    )


if __name__ == "__main__":
    cli.run(doctor)
