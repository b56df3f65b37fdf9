"""The configuration that train.py would compose, for scripts beside it."""

import contextlib
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from ssd.models.ssd import SSD

ROOT = Path(__file__).parent.parent


def compose(*overrides: str) -> DictConfig:
    within_a_verb = GlobalHydra.instance().is_initialized()
    found = contextlib.nullcontext()
    if not within_a_verb:
        found = hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3")
    with found:
        return hydra.compose("train", list(overrides))


def ssd300(num_classes: int) -> SSD:
    """SSD300 on VGG-16 with torchvision's anchors, and random weights."""
    cfg = compose("experiment=ssd_torchvision", "model.pretrained=false")
    return instantiate(cfg.model, num_classes=num_classes, _convert_="all")
