"""What an error says to a user: one line, and the exit code that goes with it."""

import difflib
import re
import signal

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException

from ssd.cli.configuration import all_keys
from ssd.errors import ConfigError

CONFIG, OTHER = 2, 1  # exit codes
SIGNALLED = 128  # and the number of the signal
INTERRUPTED, TERMINATED = SIGNALLED + signal.SIGINT, SIGNALLED + signal.SIGTERM
PROCESSES = {  # what torch says of other processes that a run has, and what it comes from
    r"signal: Bus error": "a data worker found no shared memory; give more of /dev/shm "
    "(docker run --shm-size=1g), or data.num_workers=0",
    r"DataLoader worker .*(?:exited|killed)": "a data worker died, most often for want of memory: "
    "data.num_workers=1 takes less, and 0 shows an error of its own",
    r"DataLoader timed out": "no batch came for data.timeout seconds: a disk or a network that "
    "hangs",
    r"Timed out waiting \d+ms for|Application timeout caused": "another process of "
    "this run did not answer for trainer.strategy.timeout: it hangs, or its share takes longer",
    r"Too many open files|items of ancdata": "too many open files; ulimit -n 4096 in this shell, "
    "or data.num_workers=0",
}
# packages of requirements-extras.txt that options use
EXTRAS = ("gradio", "onnx", "onnxruntime", "onnxscript", "timm", "wandb")


def unwrapped(error: BaseException) -> BaseException:
    """The error that a constructor raised, without Hydra's story around it."""
    while isinstance(error, InstantiationException) and error.__cause__:
        error = error.__cause__
    return error


def is_users(error: BaseException) -> bool:
    """Whether a message is enough: the others are faults of the program and show a traceback."""
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    known = (ValueError, OSError, HydraException, OmegaConfBaseException, MisconfigurationException)
    found = is_secondary(error) or process_fault(error) or missing_package(error)
    return isinstance(error, known) or bool(found)


def process_fault(error: BaseException) -> str | None:
    """What became of the processes that load data, or of those of other devices."""
    if not isinstance(error, RuntimeError | OSError) or str(error).startswith("Caught "):
        return None
    text = f"{error} {error.__cause__}"  # torch may say how it died in the one or the other
    return next((why for said, why in PROCESSES.items() if re.search(said, text)), None)


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
    if why := process_fault(error):
        return f"{why} ({str(error).strip().splitlines()[0]})"
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
