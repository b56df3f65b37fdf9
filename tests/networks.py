"""The networks of conf/model, without what takes a download or a GPU."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

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
