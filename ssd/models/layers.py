"""Layers that torch and torchvision lack."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Pixels to what the backbone expects: uint8 RGB in, (pixel - mean) / std in float32 out.

    The first layer of every network, so training, evaluation, prediction and export cannot differ.
    mean, std: of each channel, in units of the pixel, 0 to 255
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            column = torch.tensor(values, dtype=torch.float32).view(3, 1, 1)
            self.register_buffer(name, column, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std  # uint8 becomes float32 on the way


class L2Norm(nn.Module):
    """Feature vectors of unit length, times a learned scale per channel (paper, section 3.1).

    Computed in float32 whatever the precision around it: the sum over 512 squares loses too much in
    half.
    """

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), float(scale)))

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            unit = nn.functional.normalize(features.float(), dim=1, eps=1e-10)
            return unit * self.scale.view(-1, 1, 1)
