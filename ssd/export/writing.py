"""A network as a file for other runtimes."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssd.export.detecting import (
    Detecting,
    rank_by_keys,
    rank_in_order,
    suppress_by_onnx,
    suppress_by_torchvision,
)
from ssd.export.quiet import quiet
from ssd.models import SSD

INPUT = "images"
RAW = ("logits", "offsets", "anchors")
DETECTIONS = ("boxes", "scores", "labels")
BATCH = "batch"  # the name of its dimension where any number of pictures is taken


class RawHead(nn.Module):
    """What the network says of every anchor, and the anchors."""

    def __init__(self, network: SSD) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        logits, offsets = self.network(images)
        return dict(zip(RAW, (logits, offsets, self.network.anchors.clone()), strict=True))


class Detector(nn.Module):
    """Pictures to detections."""

    def __init__(self, head: RawHead, detecting: Detecting) -> None:
        super().__init__()
        self.head = head
        self.detecting = detecting

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.detecting(**self.head(images))


def write_torch_export(
    network: SSD, detecting: dict[str, Any] | None, batch_size: int | None, path: Path
) -> None:
    """A file for `torch.export.load`.

    detecting: the arguments of `Detecting`, but its forms; None for the raw head
    batch_size: pictures that it takes at once; None for any number
    """
    module = RawHead(network)
    if detecting:
        module = Detector(
            module, Detecting(**detecting, rank=rank_by_keys, suppress=suppress_by_torchvision)
        )
    images = pictures_like(network, batch_size)
    shapes = None if batch_size else ({0: torch.export.Dim(BATCH, min=1)},)
    with quiet(), torch.no_grad():
        torch.export.save(
            torch.export.export(module.eval(), (images,), dynamic_shapes=shapes), path
        )


def write_onnx_head(network: SSD, batch_size: int | None, opset: int, path: Path) -> None:
    """The raw head as an ONNX file. batch_size: as above"""
    images = pictures_like(network, batch_size)
    write_onnx(RawHead(network), (images,), [INPUT], RAW, batch_size, opset, path)


def write_onnx_detecting(
    network: SSD, detecting: dict[str, Any], batch_size: int | None, opset: int, path: Path
) -> None:
    """What makes detections of the raw head, as an ONNX file of its own."""
    head = RawHead(network)
    with torch.no_grad():
        predictions = tuple(head(pictures_like(network, batch_size)).values())
    module = Detecting(**detecting, rank=rank_in_order, suppress=suppress_by_onnx)
    write_onnx(module, predictions, RAW, DETECTIONS, batch_size, opset, path)


def write_onnx(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: tuple[str, ...] | list[str],
    output_names: tuple[str, ...],
    batch_size: int | None,
    opset: int,
    path: Path,
) -> None:
    batch = torch.export.Dim(BATCH, min=1)
    batched = [None if name == "anchors" else {0: batch} for name in input_names]
    with quiet(), torch.no_grad():
        torch.onnx.export(
            module.eval(),
            inputs,
            path,
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=None if batch_size else tuple(batched),
            input_names=input_names,
            output_names=output_names,
            external_data=False,
            verbose=False,
        )


def join_onnx(head: Path, detecting: Path, path: Path) -> None:
    """The raw head and what makes detections of it, as one ONNX file."""
    import onnx

    first, second = onnx.load(head), onnx.load(detecting)
    second = onnx.compose.add_prefix(
        second, "detecting/", rename_inputs=False, rename_outputs=False
    )
    second.ir_version = first.ir_version
    joined = onnx.compose.merge_models(first, second, [(name, name) for name in RAW])
    del joined.graph.value_info[:]  # shapes that were true of the pictures of the export alone
    onnx.checker.check_model(joined, full_check=True)
    onnx.save(joined, path)


def pictures_like(network: SSD, batch_size: int | None) -> Tensor:
    """Noise of the input's shape; of two pictures where any number may come, as one is a size that
    torch.export takes for a fact."""
    shape = (batch_size or 2, 3, *network.image_size)
    return torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
