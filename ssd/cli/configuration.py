"""The configuration of a run: its keys and the kinds of their values, and parts as plain data."""

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssd.errors import ConfigError

LIGHTNINGS = ("trainer.", "logger.")  # takes several kinds of values under one key


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A part of the configuration as dicts, lists and scalars: what a checkpoint may hold."""
    return OmegaConf.to_container(cfg, resolve=True)


def at_least(cfg: DictConfig, least: dict[str, float]) -> None:
    """Refuse numbers that are none or too small, by their keys."""
    for key, low in least.items():
        value = OmegaConf.select(cfg, key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= low:
            raise ConfigError(f"{key}={value}: give a number of at least {low}")


def choose_precision(wanted: str, accelerator: str) -> str:
    """A run's precision; "auto" is bf16-mixed where the device computes in it, else 32-true."""
    import torch

    from ssd.devices import find_precision

    on_gpu = torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda")
    return find_precision(str(wanted), "cuda" if on_gpu else "cpu")


def check_kinds(cfg: DictConfig) -> None:
    """Refuse, in what the command line gives, text for a number, or one value for a list."""
    words = HydraConfig.get().overrides.task
    default = composed([word for word in words if is_choice(word)])
    for key in (word.partition("=")[0] for word in words if not is_choice(word)):
        if default is None or key.startswith(LIGHTNINGS):
            continue
        usual = OmegaConf.select(default, key, throw_on_resolution_failure=False)
        given = OmegaConf.select(cfg, key, throw_on_resolution_failure=False)
        wanted = kind(usual)
        if wanted and kind(given) != wanted and not may_be(given, wanted):
            raise ConfigError(f"{key}={given}: give {wanted}, as in {key}={usual}")


def compile_network(network: Any, wanted: Any) -> None:
    """Compile a network in place, so its weights keep their names; Lightning wants that before its
    Trainer. wanted: None or False for no compiling; True, or the arguments of torch.compile"""
    if wanted is None or wanted is False:
        return
    if wanted is not True and not isinstance(wanted, DictConfig):
        raise ConfigError(f"compile={wanted}: give true, or arguments, {{mode:reduce-overhead}}")
    try:
        network.compile(**({} if wanted is True else plain(wanted)))
    except (TypeError, RuntimeError) as error:  # torch's checks of the arguments
        raise ConfigError(f"compile={wanted}: {str(error).strip().splitlines()[0]}") from error


def kind(value: Any) -> str | None:
    """What a value is, where that is more than some text."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, ListConfig) else None


def may_be(given: Any, wanted: str) -> bool:
    """Whether a number may be left out, or be several: its target knows."""
    several = isinstance(given, ListConfig | DictConfig)
    return wanted == "a number" and (given is None or several)


def is_choice(word: str) -> bool:
    """Whether an override chooses an option of a group."""
    return (conf_folder() / word.partition("=")[0]).is_dir()


def conf_folder() -> Path:
    return Path(sys.argv[0]).resolve().parent / "conf"


def composed(choices: list[str]) -> DictConfig | None:
    """The verb's configuration with these options alone; None where it cannot be composed."""
    running = GlobalHydra.instance().is_initialized()  # within a task, or before it
    folder = str(conf_folder())
    start = (
        contextlib.nullcontext() if running else initialize_config_dir(folder, version_base="1.3")
    )
    with contextlib.suppress(HydraException, OmegaConfBaseException), start:
        return compose(Path(sys.argv[0]).stem, choices)
    return None


def all_keys() -> list[str]:
    """Dotted keys of the configuration as it is without the failing override."""
    choices = [word for word in sys.argv[1:] if re.fullmatch(r"[\w/]+=\w+", word)]
    cfg = composed(choices) or composed([])
    return [] if cfg is None else list(dotted(cfg))


def dotted(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in cfg:
        yield f"{prefix}{key}"
        node = cfg._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            yield from dotted(node, f"{prefix}{key}.")
