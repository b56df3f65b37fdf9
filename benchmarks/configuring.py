"""The configuration that the verbs would compose, for scripts that are none."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

ROOT = Path(__file__).parent.parent


def compose(*overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return hydra.compose("train", list(overrides))
