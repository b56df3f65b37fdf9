"""What lies beside an export and says what it is, and the program that runs it."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from ssd.errors import ConfigError
from ssd.export.options import PACKAGES
from ssd.export.writing import BATCH, INPUT
from ssd.report.results import installed, write_json

FORMAT = 1  # of the sidecar
RUNNER = "run_onnx.py"
MEANINGS = {
    "logits": "of every anchor and class; class 0 is the background",
    "offsets": "from every anchor to its box: shift of the center in tenths of the anchor's sides, "
    "logarithm of the sides' ratios in fifths",
    "anchors": "center x, center y, width and height in fractions of the picture",
    "boxes": "x1, y1, x2, y2 in fractions of the picture, best first; 0 for none",
    "scores": "falling; 0 for none",
    "labels": "1 for the first of classes; 0 for none",
}


def describe_file(
    described: dict[str, Any],
    detecting: dict[str, Any],
    outputs: dict[str, Tensor],
    batch_size: int | None,
    **more: Any,
) -> dict[str, Any]:
    """The sidecar. described: the "ssd" part of the checkpoint; detecting: the arguments of
    `ops.detecting.detect`; outputs: of one run of the file, for their names and shapes"""
    batch = batch_size or BATCH
    return {
        "sidecar": FORMAT,
        "classes": described["classes"],
        "image_size": described["image_size"],  # height, width
        "channels": "RGB",
        "resize": "bilinear, antialiased, as Pillow's; to image_size, whatever the ratio of sides",
        "normalisation": {"inside": True, **described["normalisation"]},
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "shape": [batch, 3, *described["image_size"]],
        },
        "outputs": [
            {
                "name": name,
                "dtype": str(column.dtype).removeprefix("torch."),
                "shape": list(column.shape) if name == "anchors" else [batch, *column.shape[1:]],
                "meaning": MEANINGS[name],
            }
            for name, column in outputs.items()
        ],
        "detecting": detecting,
        **more,
        "versions": {name: installed(name) for name in ("torch", "torchvision", *PACKAGES)},
    }


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def beside(target: Path) -> Path:
    """Where the sidecar of a file lies."""
    return target.with_name(f"{target.name}.json")


def check_replaceable(target: Path, runner: bool) -> None:
    """Refuse to write over what no export wrote. runner: whether one is written"""
    ours = is_sidecar(beside(target))
    files = {target: ours, beside(target): ours}
    if runner:
        files[target.with_name(RUNNER)] = is_runner(target.with_name(RUNNER))
    for path, replaceable in files.items():
        if path.exists() and not replaceable:
            raise ConfigError(
                f"output={target} would overwrite {path}, which no export wrote; move it away, or "
                "give output= in another folder"
            )


def is_sidecar(path: Path) -> bool:
    try:
        said = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and "sidecar" in said


def is_runner(path: Path) -> bool:
    """Also one of before or after this release, by the first line."""
    try:
        first = path.read_text().partition("\n")[0]
    except (OSError, ValueError):
        return False
    return first == Path(__file__).with_name(RUNNER).read_text().partition("\n")[0]


def place(made: Path, sidecar: dict[str, Any], runner: bool, target: Path) -> None:
    """The file, its sidecar and its runner, each of them whole; the file comes last."""
    about = made.parent / "sidecar.json"
    write_json(about, sidecar, indent=1)
    if runner:
        shutil.copyfile(Path(__file__).with_name(RUNNER), made.parent / RUNNER)
        os.replace(made.parent / RUNNER, target.with_name(RUNNER))
    os.replace(about, beside(target))
    os.replace(made, target)
