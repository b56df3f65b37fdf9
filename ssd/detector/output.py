"""The folder that predict.py writes: never over something else, and an earlier run's if asked."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssd.detector.sources import Sources
from ssd.errors import ConfigError
from ssd.report.annotations import FORMATS
from ssd.report.results import write_json

PICTURES, RESULTS = "pictures", "results.json"
WRITTEN = (PICTURES, *FORMATS, RESULTS)
OTHERS = ("checkpoints", "metrics.csv", "train.log", "evaluate.log", "doctor.log", "export.log",
          "benchmark.log")  # fmt: skip
VERB = "predict"  # in results.json, what wrote it


def check_own(folder: Path) -> None:
    """Refuse the folder of a run of another verb, also of one that has not come to its results."""
    if there := [name for name in OTHERS if (folder / name).exists()]:
        raise ConfigError(
            f"output={folder}: is another run's, with {', '.join(there)}; give another folder"
        )


def check_output(folder: Path, sources: Sources, source: str, overwrite: bool) -> None:
    """Refuse a folder whose files would be lost, or be pictures of the next run."""
    if sources.grown and folder.resolve().is_relative_to(sources.grown.resolve()):
        raise ConfigError(
            f"output={folder}: lies in source={source}, whose pictures the drawn ones would be in "
            "the next run; give output= another folder"
        )
    there = [name for name in WRITTEN if (folder / name).exists()]
    if not there:
        return
    if not is_ours(folder):
        raise ConfigError(f"output={folder}: holds {', '.join(there)}; give another folder")
    if not overwrite:
        raise ConfigError(
            f"output={folder}: holds the results of an earlier run; give another folder, or "
            "overwrite=true, which puts the new ones in their place"
        )


def is_ours(folder: Path) -> bool:
    """Whether an earlier run of predict.py wrote what is there."""
    try:
        return json.loads((folder / RESULTS).read_text())["verb"] == VERB
    except (OSError, ValueError, KeyError, TypeError):
        return False


def begin(folder: Path) -> None:
    """Remove what an earlier run wrote; the folder is ours from here on."""
    write_json(folder / RESULTS, {"verb": VERB, "finished": False}, indent=1)
    for name in WRITTEN[:-1]:
        shutil.rmtree(folder / name, ignore_errors=True)


def end(folder: Path, results: Mapping[str, Any]) -> None:
    write_json(folder / RESULTS, {"verb": VERB, "finished": True, **results}, indent=1)
