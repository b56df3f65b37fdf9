"""A network and the files made of it, run alike: pictures in, detections out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssd.export.quiet import quiet
from ssd.export.writing import INPUT
from ssd.models import SSD
from ssd.ops.detecting import detect
from ssd.records import Detections, Predictions

Run = Callable[[Tensor], dict[str, Tensor]]  # (B, 3, H, W) uint8 to outputs by their names


def run_network(network: SSD, detecting: dict[str, Any] | None) -> Run:
    """PyTorch, in the form in which evaluate.py and predict.py compute. detecting: the arguments of
    `detect`; None for the raw head"""
    network = network.to(memory_format=torch.channels_last)

    def run(images: Tensor) -> dict[str, Tensor]:
        predictions = network(images.contiguous(memory_format=torch.channels_last))
        if detecting is None:
            return {**predictions._asdict(), "anchors": network.anchors}
        return detect(predictions, network.anchors, **detecting)._asdict()

    return torch.inference_mode()(run)


def open_onnx(path: Path) -> Run:
    """In ONNX Runtime on the CPU, with as many threads as PyTorch takes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: Tensor) -> dict[str, Tensor]:
        found = session.run(names, {INPUT: images.numpy()})
        return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}

    return run


def open_torch_export(path: Path) -> Run:
    """As PyTorch loads it, without this project."""
    with quiet():
        module = torch.export.load(path).module()
    return torch.inference_mode()(module)


def detections(outputs: dict[str, Tensor], detecting: dict[str, Any]) -> Detections:
    """What a file found, or what `detect` makes of the raw head that it gave."""
    if "logits" in outputs:
        predictions = Predictions(outputs["logits"], outputs["offsets"])
        return detect(predictions, outputs["anchors"], **detecting)
    return Detections(**outputs)


OPEN = {"onnx": open_onnx, "torch_export": open_torch_export}  # by format
