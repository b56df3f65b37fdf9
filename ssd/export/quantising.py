"""int8 by ONNX Runtime's static quantisation."""

from pathlib import Path

from torch import Tensor

from ssd.export.pictures import batches
from ssd.export.quiet import quiet
from ssd.export.writing import INPUT

# What a backbone and its heads compute in. The others stay in float32: the normalisation of pixels,
# L2 norms, and what makes detections of the heads' numbers.
OPERATIONS = ["Conv", "Relu", "Clip", "Add", "MaxPool", "AveragePool", "GlobalAveragePool"]


def quantise(source: Path, path: Path, images: Tensor, batch_size: int) -> None:
    """An ONNX file whose convolutions compute in int8: QDQ nodes, activations u8, weights s8 with a
    scale for each channel, ranges from the least to the most that `images` gave.

    images: (I, 3, H, W) uint8; batch_size: pictures that `source` takes at once
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = batches(images, [batch_size])

        def get_next(self) -> dict | None:
            batch = next(self.images, None)
            return None if batch is None else {INPUT: batch.numpy()}

    with quiet():
        quantize_static(
            source,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATIONS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
