"""The verbs, run as a user runs them, and what they leave."""

import csv
import json
import runpy
import sys
from pathlib import Path

from ssd.weights.checkpoints import read_checkpoint

ROOT = Path(__file__).parent.parent
SMALL = [
    "data=voc",
    "model.image_size=64",
    "model.width=0.5",
    "data.batch_size=4",
    "data.num_workers=0",
    "augmentation=none",
    "trainer=cpu",
    "precision=32-true",
    "trainer.log_every_n_steps=1",
    "val_every=2",
    "save_every=2",
    "trainer.max_steps=4",
    "scheduler=constant",
    "report=false",
]


def run(verb: str, *overrides: str) -> int:
    """The verb's exit code; in this process, which saves the seconds of a new one's imports."""
    before = sys.argv
    sys.argv = [str(ROOT / f"{verb}.py"), *overrides]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def last(folder: Path) -> dict:
    return read_checkpoint(folder / "checkpoints" / "last.ckpt")
