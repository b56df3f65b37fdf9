"""ImageNet weights for backbones, fetched once from those who keep them."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import WeightsEnum

# What the libraries raise where the network is missing, and for a file with a wrong checksum
FAILURES = (OSError, HTTPException, RuntimeError)
OFF = "or set model.pretrained=false"


@contextmanager
def fetching(what: str, cure: str) -> Iterator[None]:
    """One line where weights cannot be had. cure: how to get them without this machine's network"""
    try:
        yield
    except FAILURES as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(
            f"model.pretrained=true needs {what}, which cannot be fetched ({cause}); {cure}, {OFF}"
        ) from error


def imagenet_weights(weights: WeightsEnum) -> dict[str, Tensor]:
    """torchvision's state dict, from its cache or fetched into it; checked against the checksum in
    its name either way, and read without running anything that a file may hold."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    checksum = re.search(r"-([0-9a-f]{8,})\.", file.name)[1]
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with fetching(weights.url, f"put that file into {file.parent}"):
            torch.hub.download_url_to_file(weights.url, str(file), checksum)
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if not found.startswith(checksum):
        raise OSError(
            f"model.pretrained=true: {file} has not the checksum {checksum} of its name but "
            f"{found[: len(checksum)]}; remove it to fetch it again, {OFF}"
        )
    return torch.load(file, map_location="cpu", weights_only=True)
