"""The networks of conf/model, without what takes a download or a GPU."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torchvision.models import WeightsEnum

from ssd import models
from ssd.models import SSD

MODEL = Path(__file__).parent.parent / "conf" / "model"


def arguments(option: str, **changes: Any) -> dict[str, Any]:
    """What conf/model/<option>.yaml says, as a checkpoint keeps it, with weights that are new."""
    said = OmegaConf.to_container(OmegaConf.load(MODEL / f"{option}.yaml"))
    name = said.pop("_target_").rpartition(".")[2]
    new = {"pretrained": False} if "pretrained" in said else {}
    return {"name": name, **said, **new, **changes}


def make_network(option: str, num_classes: int = 21, **changes: Any) -> SSD:
    chosen = arguments(option, **changes)
    return getattr(models, chosen.pop("name"))(num_classes=num_classes, **chosen)


def publish(
    weights: dict[str, torch.Tensor],
    entry: WeightsEnum,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Put weights where torchvision fetches those of an entry from; returns the cache's file."""
    monkeypatch.setenv("TORCH_HOME", str(folder))
    torch.save(weights, folder / "weights.pth")
    checksum = hashlib.sha256((folder / "weights.pth").read_bytes()).hexdigest()[:8]
    source = (folder / "weights.pth").rename(folder / f"weights-{checksum}.pth")
    monkeypatch.setattr(entry.value, "url", source.as_uri())
    return folder / "hub" / "checkpoints" / source.name
