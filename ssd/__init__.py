"""SSD: Single Shot MultiBox Detector (Liu et al., 2016, arXiv:1512.02325)."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssd.detector import Detector


def load(path: str | os.PathLike[str], device: str = "auto", precision: str = "auto") -> "Detector":
    """The detector of a run folder or a checkpoint file: see `ssd.detector.load`."""
    from ssd.detector import load  # here, so that `import ssd` costs nothing

    return load(path, device, precision)
