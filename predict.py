"""Detect on pictures or a video: `python predict.py checkpoint=RUN source=DIR`, see
conf/predict.yaml."""

import logging
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from ssd import cli

log = logging.getLogger("ssd.predict")

OPTIONS = (
    *("score", "iou_threshold", "nms", "flip", "tiles", "tile_overlap", "tile_whole"),
    "batch_size",
)
NAMED = 10  # classes and unreadable pictures on the screen; results.json names all


@hydra.main(version_base="1.3", config_path="conf", config_name="predict")
@cli.one_line_errors
def predict(cfg: DictConfig) -> None:
    # here, so that --help and tab completion need not wait for torch
    import torch

    from ssd.detector import load, output
    from ssd.detector.sources import find_sources
    from ssd.memory import keep_freed_memory
    from ssd.report.annotations import check_formats, write

    cli.at_least(cfg, {"num_workers": 1})
    folder, formats = Path(cfg.run_dir), list(cfg.formats)
    output.check_own(folder)
    sources = find_sources(str(cfg.source))
    output.check_output(folder, sources, str(cfg.source), cfg.overwrite)
    detector = load(str(cfg.checkpoint), str(cfg.device), str(cfg.precision))
    chosen = cli.plain(cfg)
    options = detector.options(**{key: chosen[key] for key in OPTIONS})
    check_formats(formats, sources.names, detector.classes, sources.video)
    if detector.device.type == "cpu":
        # more threads than cores wait for each other, spinning: ten times slower on two cores
        torch.set_num_threads(max(1, torch.get_num_threads() - cfg.num_workers))
        if cfg.keep_memory:
            keep_freed_memory()
    output.begin(folder)
    start = time.monotonic()
    drawings = folder / output.PICTURES if cfg.draw else None
    found, unreadable, undrawn = gather(detector, options, sources, drawings, cfg.num_workers)
    write(folder, formats, found, detector.classes, None if sources.video else sources.base)
    seconds = time.monotonic() - start
    summary = summarised(found, detector.classes, seconds)
    about = {
        "checkpoint": detector.checkpoint,
        "source": str(cfg.source),
        **{key: chosen[key] for key in OPTIONS},
        "device": str(detector.device),
        "precision": detector.precision,
        "unreadable": unreadable,
        "undrawn": undrawn,
    }
    output.end(folder, summary | about)
    tell(summary, unreadable, undrawn, "frame" if sources.video else "picture")
    if not found:
        cli.end_with(1)


def gather(
    detector: Any, options: Any, sources: Any, drawings: Path | None, workers: int
) -> tuple[list[Any], dict[str, str], dict[str, str]]:
    """What was found in each picture or frame; why others could not be read, and why some could not
    be drawn, by their names."""
    from ssd.data.progress import progress
    from ssd.detector.running import Undrawn, Unreadable, over_files, over_video

    over = over_video if sources.video else over_files
    found, unreadable, undrawn = [], {}, {}
    with progress("frames" if sources.video else "pictures") as show:
        for one in over(detector, options, sources, drawings, workers, show):
            if not isinstance(one, Unreadable | Undrawn):
                found.append(one)
                continue
            lost = undrawn if isinstance(one, Undrawn) else unreadable
            lost[one.name] = one.why
            if len(lost) <= NAMED:
                log.warning("%s: %s", "not drawn" if lost is undrawn else "passed over", one.why)
    return found, unreadable, undrawn


def summarised(found: list[Any], classes: list[str], seconds: float) -> dict[str, Any]:
    counts = Counter(label for one in found for label in one.labels.tolist())
    return {
        "images": len(found),
        "detections": {name: counts[label] for label, name in enumerate(classes, start=1)},
        "wall_seconds": seconds,
        "images_per_second": len(found) / seconds,
    }


def tell(
    summary: dict[str, Any], unreadable: dict[str, str], undrawn: dict[str, str], what: str
) -> None:
    """What was done, in a line or two."""
    if unreadable:
        log.warning("%s could not be read", counted(len(unreadable), what))
    if undrawn:
        log.warning("%s could not be drawn", counted(len(undrawn), what))
    counts = Counter({name: count for name, count in summary["detections"].items() if count})
    named = [f"{count} {name}" for name, count in counts.most_common(NAMED)]
    named += [f"{len(counts) - NAMED} classes more"] * (len(counts) > NAMED)
    log.info(
        "%s, %s%s; %.1f %ss a second",
        counted(summary["images"], what),
        counted(counts.total(), "detection"),
        f" ({', '.join(named)})" if named else "",
        summary["images_per_second"],
        what,
    )


def counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def at_home(word: str) -> str:
    """output=~/x as a shell would have it that expands ~ there; else Hydra makes a folder `~`."""
    key, given, value = word.partition("=")
    if not given or key not in ("output", "hydra.run.dir"):
        return word
    quote = value[:1] if value[:1] in ("'", '"') else ""
    return f"{key}={quote}{os.path.expanduser(value.removeprefix(quote))}"


if __name__ == "__main__":
    sys.argv[1:] = map(at_home, sys.argv[1:])
    cli.run(predict)
