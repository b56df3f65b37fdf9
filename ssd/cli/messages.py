"""What an error says to a user: one line, and the exit code that goes with it."""

import difflib
import re

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException

from ssd.cli.configuration import all_keys
from ssd.errors import ConfigError

CONFIG, OTHER, INTERRUPTED, TERMINATED = 2, 1, 130, 143  # exit codes
EXTRAS = ("timm", "wandb")  # packages of requirements-extras.txt that options use


def unwrapped(error: BaseException) -> BaseException:
    """The error that a constructor raised, without Hydra's story around it."""
    while isinstance(error, InstantiationException) and error.__cause__:
        error = error.__cause__
    return error


def is_users(error: BaseException) -> bool:
    """Whether a message is enough: the others are faults of the program and show a traceback."""
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    known = (ValueError, OSError, HydraException, OmegaConfBaseException, MisconfigurationException)
    return isinstance(error, known) or is_secondary(error) or missing_package(error) is not None


def missing_package(error: BaseException) -> str | None:
    """The package of a `_target_` that Hydra does not find, or that Lightning's logger lacks."""
    found = re.match(r"(?:Error loading|Requirement) '(\w+)", str(error))
    if found and isinstance(error, ImportError):
        return found[1]
    name = getattr(error, "name", None)
    return name if isinstance(error, ModuleNotFoundError) and name in EXTRAS else None


def is_secondary(error: BaseException) -> bool:
    """Whether a process only noticed that another of its run is gone."""
    return re.search(r"Connection (closed|reset) by peer", str(error)) is not None


def exit_code(error: BaseException, cause: BaseException) -> int:
    settings = (ConfigError, HydraException, OmegaConfBaseException)
    return CONFIG if isinstance(cause, settings) or cause is not error else OTHER


def one_line(error: BaseException) -> str:
    """The message on one line; of an error in a data worker, the worker's own message."""
    if is_secondary(error):
        return "another process of this run failed; its message is above"
    if missing_package(error) in EXTRAS:
        return f"{missing_package(error)} is missing: pip install -r requirements-extras.txt"
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if lines and lines[0].startswith("Caught ") and "DataLoader worker" in lines[0]:
        return re.sub(r"^[\w.]+: ", "", lines[-1])
    return " ".join(line for line in lines if not line.startswith(("full_key:", "object_type=")))


def nearest_key(error: BaseException) -> str:
    """A hint at the key that a mistyped override may have meant."""
    wrong = re.search(r"Could not override '([^']+)'", str(error))
    if not wrong:
        return ""
    near = difflib.get_close_matches(wrong[1], all_keys(), n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""
