"""Write a checkpoint for other runtimes: `python export.py checkpoint=RUN`, see
conf/export.yaml."""

import logging
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from ssd import cli
from ssd.errors import ConfigError

log = logging.getLogger("ssd.export")

make = partial(instantiate, _convert_="all")  # no object ever sees a config


@hydra.main(version_base="1.3", config_path="conf", config_name="export")
@cli.one_line_errors
def export(cfg: DictConfig) -> Path:
    # here, so that --help and tab completion need not wait for torch
    from ssd.data.progress import progress
    from ssd.export import comparing, running, sidecar
    from ssd.export.options import check_options, target_file
    from ssd.weights.checkpoints import build_network, find_checkpoint
    from ssd.weights.loading import load_checkpoint

    cli.at_least(cfg, {"pictures": 1, "calibration_images": 1})
    path = find_checkpoint(Path(cfg.checkpoint).expanduser())
    checkpoint = load_checkpoint(path)
    described = checkpoint["ssd"]
    wanted = {name: value for name, value in cli.plain(cfg.detecting).items() if value is not None}
    detecting = {**described["detecting"], **wanted}
    check_options(cfg.format, cfg.nms, cfg.int8, cfg.opset, cfg.batch_size, detecting)
    target = target_file(cfg.output, cfg.run_dir, cfg.format, cfg.int8)
    runner = cfg.format == "onnx" and cfg.nms
    sidecar.check_replaceable(target, runner)
    network = build_network(checkpoint)
    compared, calibration = gather(cfg, path, described)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
        made = write(cfg, Path(folder), network, detecting, calibration)
        exported = running.OPEN[cfg.format](made)
        with progress("comparing") as show:
            found = comparing.compare(
                running.run_network(network, detecting if cfg.nms else None),
                exported,
                compared,
                described["classes"],
                detecting,
                [cfg.batch_size] if cfg.batch_size else [1, 3],
                show,
            )
        size = made.stat().st_size
        log.info("%s", comparing.table(found, size))
        comparing.check(found, limits(cfg))
        about = sidecar.describe_file(
            described,
            detecting,
            exported(compared.images[:1].repeat(cfg.batch_size or 1, 1, 1, 1)),
            cfg.batch_size,
            format=cfg.format,
            opset=cfg.opset if cfg.format == "onnx" else None,
            int8={"calibration_images": len(calibration.images)} if cfg.int8 else None,
            bytes=size,
            checkpoint={"path": str(path), "sha256": sidecar.sha256(path)},
            step=checkpoint["global_step"],
            compared_with_pytorch=found,
        )
        sidecar.place(made, about, runner, target=target)
    return target


def gather(cfg: DictConfig, path: Path, described: dict[str, Any]) -> tuple[Any, Any]:
    """The pictures to compare on, and those to calibrate int8 with, if it is asked for."""
    from ssd.data.images.folders import image_files
    from ssd.data.progress import progress
    from ssd.export.pictures import pictures_of_dataset, pictures_of_files

    size, run = tuple(described["image_size"]), cli.run_config(path)
    if cfg.source is not None:
        if cfg.int8 or cfg.get("data"):
            raise ConfigError(f"source={cfg.source} has no truths and no splits; give data= alone")
        with progress("pictures") as show:
            return pictures_of_files(image_files(cfg.source), size, cfg.pictures, show), None
    if run is None and not cfg.get("data"):
        raise ConfigError(
            f"{path} lies in no run folder, and an export is compared on pictures: give data=…, or "
            "source=FOLDER"
        )
    data = make(
        cli.data_config(cfg, run, path, described["classes"]),
        classes=described["classes"],
        augmentation=None,
        image_size=size,
        seed=0,
    )
    data.scored = None if cfg.int8 else cfg.split  # int8 takes training pictures too
    if not cfg.get("data"):
        data.keep_splits(path.parent.parent)
    data.prepare_data()
    for stage in {cfg.split, "train"} if cfg.int8 else {cfg.split}:
        if not data.annotations[stage].ids:
            raise ConfigError(f"the data set has no images of the {stage} split")
    datasets = {stage: data.dataset(stage, training=False) for stage in (cfg.split, "train")}
    with progress("pictures") as show:
        compared = pictures_of_dataset(datasets[cfg.split], cfg.pictures, show)
        if not cfg.int8:
            return compared, None
        if compared.annotations.difficult.all():  # true of none
            raise ConfigError(
                f"int8 is held to its mAP, and pictures={cfg.pictures} of split={cfg.split} hold "
                "no objects but difficult ones; give more pictures, or another split"
            )
        return compared, pictures_of_dataset(datasets["train"], cfg.calibration_images, show)


def write(
    cfg: DictConfig, folder: Path, network: Any, detecting: dict[str, Any], calibration: Any
) -> Path:
    """The file, in a folder of its own."""
    from ssd.export import quantising, writing

    inside = {name: value for name, value in detecting.items() if name != "union_margin"}
    inside = {"activation": "softmax", **inside} if cfg.nms else None
    if cfg.format == "torch_export":
        made = folder / "made.pt2"
        writing.write_torch_export(network, inside, cfg.batch_size, made)
        return made
    made = folder / "head.onnx"
    writing.write_onnx_head(network, cfg.batch_size, cfg.opset, made)
    if cfg.int8:
        head, made = made, folder / "int8.onnx"
        quantising.quantise(head, made, calibration.images, cfg.batch_size or 1)
    if inside:
        head, made, ending = made, folder / "made.onnx", folder / "detecting.onnx"
        writing.write_onnx_detecting(network, inside, cfg.batch_size, cfg.opset, ending)
        writing.join_onnx(head, ending, made)
    return made


def limits(cfg: DictConfig) -> Any:
    from ssd.export.comparing import Limits

    if cfg.int8:
        return Limits(None, None, None, cfg.max_map_drop)
    return Limits(
        cfg.max_score_difference,
        cfg.max_box_difference,
        cfg.max_without_partner,
        cfg.max_map_drop,
    )


if __name__ == "__main__":
    cli.run(export)
