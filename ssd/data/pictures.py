"""Pictures made ready for a network: what it sees of each of their windows."""

import os
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from ssd.data.dataset import BLACK
from ssd.data.images.reading import read_image, to_rgb
from ssd.data.transforms import make_view, render
from ssd.ops.tiling import Tiling, Window, make_windows

Source = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor


class Picture(NamedTuple):
    """A picture and its windows as a network sees them."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    windows: list[Window]
    views: np.ndarray  # (windows, height, width, 3) uint8 RGB, of the network's input size

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[1], self.image.shape[0]


def make_picture(image: np.ndarray, image_size: tuple[int, int], tiling: Tiling | None) -> Picture:
    """image: (H, W, 3) uint8 RGB; image_size: (height, width) of the network's input"""
    size = image.shape[1], image.shape[0]
    windows = make_windows(size, tiling, image_size[::-1])
    views = [
        render(image, make_view(window, size, image_size, mirrored=False), image_size, BLACK)
        for window in windows
    ]
    return Picture(image, windows, np.stack(views))


def pixels_of(source: Source) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a path, read as everywhere; a PIL image, as it is and not turned by
    EXIF, so that boxes fit it; an (H, W, 3) uint8 RGB array; or a (3, H, W) uint8 tensor."""
    if isinstance(source, str | os.PathLike):
        return read_image(os.path.expanduser(source))
    if isinstance(source, Image.Image):
        return np.array(to_rgb(source))
    if isinstance(source, Tensor):
        what, shape, channels = f"a tensor {tuple(source.shape)} {source.dtype}", source.shape, 0
        right, wanted = str(source.dtype) == "torch.uint8", "(3, H, W) uint8 RGB"
    elif isinstance(source, np.ndarray):
        what, shape, channels = f"an array {source.shape} {source.dtype}", source.shape, 2
        right, wanted = source.dtype == np.uint8, "(H, W, 3) uint8 RGB"
    else:
        raise ValueError(
            f"an image is a path, a PIL image, an (H, W, 3) uint8 RGB array or a (3, H, W) uint8 "
            f"tensor, not {type(source).__name__}"
        )
    if not right or len(shape) != 3 or shape[channels] != 3 or 0 in shape:
        raise ValueError(f"{what} is no image: give {wanted}, or a list of such")
    if isinstance(source, Tensor):
        source = source.permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(source)
