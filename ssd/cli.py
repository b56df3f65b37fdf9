"""What every verb wears: user errors in one line with an exit code, and sweeps that survive DDP.

Imports nothing slow, so that --help and tab completion answer at once.
"""

import contextlib
import difflib
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from ssd.errors import ConfigError

log = logging.getLogger(__name__)

CONFIG, OTHER, INTERRUPTED, TERMINATED = 2, 1, 130, 143
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
EXTRAS = ("timm", "wandb")  # packages of requirements-extras.txt that options use
FAILED = "failed.txt"  # in the folder of a run that ended with an error
RANKS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")

failures: list[tuple[Path, int]] = []  # run folders that ended with an error, and their codes


def run(main: Callable[[], Any]) -> None:
    """Run a verb's Hydra main; leave with its exit code."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints what it makes of an error, and exits
    failures.clear()
    try:
        sys.argv[1:] = with_own_overrides(sys.argv[1:])
        main()
    except KeyboardInterrupt:
        stop(INTERRUPTED)
    except SystemExit as end:
        stop(signal_code(end))
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        print(f"error: {one_line(error)}{nearest_key(error)}", file=sys.stderr)
        sys.exit(CONFIG)
    if failures:
        if {"-m", "--multirun"} & set(sys.argv):
            print(f"failed: {', '.join(str(folder) for folder, _ in failures)}", file=sys.stderr)
        sys.exit(max(code for _, code in failures))


def with_own_overrides(words: list[str]) -> list[str]:
    """The command line of a resumed run: what the run was started with, then what is new."""
    given = dict(word.split("=", 1) for word in words if "=" in word)
    folder = given.get("hydra.run.dir", "").strip("'\"")
    stored = Path(folder) / ".hydra" / "overrides.yaml"
    if given.get("resume") != "latest" or not folder or not stored.is_file():
        return words
    old = [word for word in OmegaConf.load(stored) if word.split("=", 1)[0] not in given]
    if old:
        print(f"going on with {' '.join(old)}")
    return [*old, *words]


def stop(code: int | str | None) -> None:
    if code in (INTERRUPTED, TERMINATED):
        print("stopped by a signal; resume=latest with its hydra.run.dir goes on", file=sys.stderr)
    sys.exit(code)


def signal_code(end: SystemExit) -> int | str | None:
    """The exit code of a run that a signal ended; Lightning's own are 0 and 1."""
    if type(end).__name__ == "SIGTERMException":
        return TERMINATED
    return INTERRUPTED if isinstance(end.__context__, KeyboardInterrupt) else end.code


def quiet() -> None:
    """Hide what Lightning says that the verbs say shorter, or that nobody can act on."""
    import pytorch_lightning  # noqa: F401 - its import sets the levels below

    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*number of training batches .* smaller than.*",
        ".*Total length of `list` across ranks is zero.*",
        ".*in eval mode at the start of training.*",  # frozen ones; a table says what trains
        ".*recommended to use `self.log.*sync_dist=True.*",  # scores are the same on all ranks
    ):
        warnings.filterwarnings("ignore", message=message)


def one_line_errors(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """A task whose user errors are one line on the screen, with the traceback in the log file.

    Inside a sweep the run's folder is marked, and the rest of the sweep goes on.
    """

    @wraps(task)
    def guarded(cfg: DictConfig) -> Any:
        if os.environ.get("LOCAL_RANK", "0") != "0":  # one process of a run speaks
            logging.getLogger("ssd").setLevel(logging.ERROR)
        quiet()
        folder = Path(HydraConfig.get().runtime.output_dir)
        (folder / FAILED).unlink(missing_ok=True)
        try:
            result = task(cfg)
        except Exception as error:
            cause = unwrapped(error)
            line = f"{one_line(cause)}{nearest_key(cause)}"
            (folder / FAILED).write_text(f"{line}\n")
            if not is_users(cause):
                raise
            log.debug("traceback of the error below", exc_info=error)
            log.error("error: %s", line)
            # not raised: Hydra would print a second line, and a sweep would end with it
            failures.append((folder, exit_code(error, cause)))
            return None
        finally:
            finish_wandb()
        log.info("%s", folder)
        return result

    return guarded


def finish_wandb() -> None:
    """End W&B's run with ours, or the next run of a sweep would go on in it."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()


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
    return found[1] if found and isinstance(error, ImportError) else None


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


def all_keys() -> list[str]:
    """Dotted keys of the configuration as it is without the failing override."""
    name = Path(sys.argv[0]).stem
    folder = Path(sys.argv[0]).resolve().parent / "conf"
    groups = [word for word in sys.argv[1:] if re.fullmatch(r"[\w/]+=\w+", word)]
    for overrides in (groups, []):
        with (
            contextlib.suppress(HydraException, OmegaConfBaseException),
            hydra.initialize_config_dir(str(folder), version_base="1.3"),
        ):
            return list(dotted(hydra.compose(name, overrides)))
    return []


def dotted(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in cfg:
        yield f"{prefix}{key}"
        node = cfg._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            yield from dotted(node, f"{prefix}{key}.")


@contextlib.contextmanager
def children_run_this_job() -> Iterator[None]:
    """Make the processes that Lightning's DDP starts run this job of a sweep, and nothing else.

    Lightning starts them with this process's command line, and under -m that is the whole sweep:
    every rank would run its own, with its own folders and, where a sweeper draws, its own values
    (Lightning-AI/pytorch-lightning issues 2727 and 18175). They get this job's overrides and
    folder.
    """
    config = HydraConfig.get()
    argv = sys.argv
    before = {name: os.environ.get(name) for name in RANKS}
    if config.mode == RunMode.MULTIRUN:
        flags = [word for word in argv[1:] if word.startswith("--config-")]
        sys.argv = [argv[0], *flags, *config.overrides.task, "hydra.mode=RUN"]
        with read_write(config):
            config.run.dir = config.runtime.output_dir  # Lightning passes it on as hydra.run.dir
    try:
        yield
    finally:
        sys.argv = argv
        for name, value in before.items():  # the next job of the sweep starts from a clean slate
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        leave_process_group()
        forget_children()


def forget_children() -> None:
    """End what is left of a failed run's processes, and the thread that watches them.

    Lightning's watcher kills this process, and so the rest of a sweep, when a child has failed.
    """
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            for child in thread._child_processes:
                if sys.exc_info()[0]:
                    child.terminate()
                child.wait()
            thread._child_processes.clear()


def leave_process_group() -> None:
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A part of the configuration as dicts, lists and scalars: what a checkpoint may hold."""
    return OmegaConf.to_container(cfg, resolve=True)


def choose_precision(wanted: str, accelerator: str) -> str:
    """A run's precision; "auto" is bf16-mixed where the device computes in it, else 32-true."""
    import torch

    wanted = str(wanted)
    if wanted not in PRECISIONS:
        why = ": it would round anchors and constants" if wanted.endswith("-true") else ""
        raise ConfigError(f"precision={wanted}{why}; give one of {', '.join(PRECISIONS)}")
    on_gpu = torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda")
    if wanted == "16-mixed" and not on_gpu:
        raise ConfigError("precision=16-mixed needs a GPU; use bf16-mixed or 32-true")
    if wanted != "auto":
        return wanted
    capable = torch.cuda.is_bf16_supported(False) if on_gpu else has_bf16_units()
    return "bf16-mixed" if capable else "32-true"


def at_least(cfg: DictConfig, least: dict[str, float]) -> None:
    """Refuse numbers that are none or too small, by their keys."""
    for key, low in least.items():
        value = OmegaConf.select(cfg, key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= low:
            raise ConfigError(f"{key}={value}: give a number of at least {low}")


def has_bf16_units() -> bool:
    import torch

    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
