"""What can be asked of an export, and refusals of what cannot."""

import importlib
from pathlib import Path
from typing import Any

from ssd.errors import ConfigError

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2"}  # by format
OPSETS = range(18, 24)  # of ONNX: PyTorch's exporter writes no older ones
PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # that ONNX takes


def check_options(
    format: str,
    nms: bool,
    int8: bool,
    opset: int,
    batch_size: int | None,
    detecting: dict[str, Any],
) -> None:
    """detecting: the arguments of `ops.detecting.detect`"""
    if format not in SUFFIXES:
        raise ConfigError(f"format={format}: give {' or '.join(SUFFIXES)}")
    if int8 and format != "onnx":
        raise ConfigError(
            f"int8=true is ONNX Runtime's; format={format} has none, give format=onnx"
        )
    if opset not in OPSETS:
        raise ConfigError(f"opset={opset}: give {OPSETS.start} to {OPSETS.stop - 1}")
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ConfigError(f"batch_size={batch_size}: give a number from 1, or null for any")
    check_detecting(detecting)
    if nms and detecting.get("union_margin"):
        raise ConfigError(
            f"this checkpoint's detection adds detecting.union_margin={detecting['union_margin']} "
            "to unions, which no other runtime's suppression does; give nms=false, or "
            "detecting.union_margin=0 to do without"
        )
    if format == "onnx":
        for package in PACKAGES:
            importlib.import_module(package)


def check_detecting(detecting: dict[str, Any]) -> None:
    """detecting: as above"""
    for key in ("score_threshold", "iou_threshold"):
        value = detecting[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ConfigError(f"detecting.{key}={value}: give a number from 0 to 1")
    for key in ("candidates_per_class", "detections_per_image"):
        if type(detecting[key]) is not int or detecting[key] < 1:
            raise ConfigError(f"detecting.{key}={detecting[key]}: give a whole number from 1")


def target_file(output: str | None, run_dir: str, format: str, int8: bool) -> Path:
    """Where the export goes, in a folder that is there."""
    suffix = SUFFIXES[format]
    if output is None:
        return Path(run_dir) / f"detector{'_int8' if int8 else ''}{suffix}"
    path = Path(output).expanduser()
    if path.suffix != suffix or path.is_dir():
        raise ConfigError(f"output={output}: give a file that ends in {suffix}")
    if not path.parent.is_dir():
        raise ConfigError(f"output={output}: there is no folder {path.parent}")
    return path
