"""How every verb runs: user errors in one line with an exit code, and resumes that keep their own.

Imports nothing slow, so that --help and tab completion answer at once.
"""

import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssd.cli.configuration import check_kinds
from ssd.cli.distributed import is_first_process, requeue, within_torchrun
from ssd.cli.locking import FolderTakenError
from ssd.cli.messages import (
    CONFIG,
    INTERRUPTED,
    OTHER,
    SIGNALLED,
    TERMINATED,
    exit_code,
    is_users,
    nearest_key,
    one_line,
    unwrapped,
)
from ssd.errors import ConfigError, StepError, resume_command

log = logging.getLogger(__name__)

FAILED = "failed.txt"  # in the folder of a run that ended with an error

failures: list[tuple[Path, int]] = []  # run folders that ended with an error, and their codes
stopped: list[Path] = []  # the run folder that a signal ended


def run(main: Callable[[], Any]) -> None:
    """Run a verb's Hydra main; leave with its exit code."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints what it makes of an error, and exits
    failures.clear()
    stopped.clear()
    kept = configuration_of(given_folder(sys.argv[1:]))
    try:
        sys.argv[1:] = within_torchrun(with_own_overrides(sys.argv[1:]))
        main()
    except KeyboardInterrupt:
        stop(INTERRUPTED)
    except SystemExit as end:
        stop(signal_code(end))
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        print(f"error: {one_line(error)}{nearest_key(error)}", file=sys.stderr)
        sys.exit(CONFIG)
    except OSError as error:  # Hydra makes the run folder; in it errors are caught below
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(OTHER)
    if failures:
        if {"-m", "--multirun"} & set(sys.argv):
            print(f"failed: {', '.join(str(folder) for folder, _ in failures)}", file=sys.stderr)
        if failures[-1][1] == CONFIG and kept:
            restore(kept)
            (failures[-1][0] / FAILED).unlink(missing_ok=True)  # the run that was there has not
        sys.exit(max(code for _, code in failures))


def with_own_overrides(words: list[str]) -> list[str]:
    """The command line of a resumed run: what the run was started with, then what is new."""
    given, folder = given_values(words), run_folder(words)
    if not folder or not (folder / ".hydra" / "overrides.yaml").is_file():
        return words
    stored = folder / ".hydra" / "overrides.yaml"
    old = [word for word in OmegaConf.load(stored) if word.split("=", 1)[0] not in given]
    if old:
        print(f"going on with {' '.join(old)}")
    flags = next(place for place, word in enumerate(words) if re.match(r"[^-].*=", word))
    return [*words[:flags], *old, *words[flags:]]  # Hydra takes no flag between overrides


def given_values(words: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words if "=" in word)


def given_folder(words: list[str]) -> Path | None:
    """The run folder that a command line names."""
    given = given_values(words)
    folder = given.get("hydra.run.dir", given.get("output", "")).strip("'\"")
    return Path(folder) if folder else None


def run_folder(words: list[str]) -> Path | None:
    """The folder that a command line goes on in, if it does."""
    return given_folder(words) if given_values(words).get("resume") == "latest" else None


def configuration_of(folder: Path | None) -> dict[Path, bytes]:
    """The files that Hydra wrote about a run."""
    files = (folder / ".hydra").glob("*.yaml") if folder else ()
    return {file: file.read_bytes() for file in files}


def restore(files: dict[Path, bytes]) -> None:
    """Put back what Hydra wrote over: a refused run must not change what another's folder says."""
    for file, content in files.items():
        file.write_bytes(content)


def stop(code: int | str | None) -> None:
    """Leave with an exit code; after a signal, with a word on how to go on."""
    number = code - SIGNALLED if isinstance(code, int) else 0
    if number in signal.valid_signals() and is_first_process():
        name = signal.Signals(number).name
        print(f"stopped by {name}{how_to_go_on()}", file=sys.stderr)
        # SLURM's comes before a job's time is up
        if number not in (signal.SIGINT, signal.SIGTERM) and "SLURM_JOB_ID" in os.environ:
            requeue()
    sys.exit(code)


def how_to_go_on() -> str:
    if not stopped or Path(sys.argv[0]).name != "train.py":
        return ""
    return f"; this goes on: {resume_command(stopped[-1])}"


def signal_code(end: SystemExit) -> int | str | None:
    """The exit code of a run that a signal ended; Lightning's own are 0 and 1."""
    if type(end).__name__ == "SIGTERMException":
        return end.code or TERMINATED
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
    """A task whose user errors are one line on the screen, with the traceback in the log file. Its
    last line is the path that it returns, or else the run folder.

    Inside a sweep the run's folder is marked, and the rest of the sweep goes on.
    """

    @wraps(task)
    def guarded(cfg: DictConfig) -> Any:
        speaks = is_first_process()
        if not speaks:
            logging.getLogger("ssd").setLevel(logging.ERROR)
        quiet()
        folder = Path(HydraConfig.get().runtime.output_dir)
        (folder / FAILED).unlink(missing_ok=True)
        try:
            check_kinds(cfg)
            result = task(cfg)
        except Exception as error:
            cause = unwrapped(error)
            line = f"{one_line(cause)}{nearest_key(cause)}"
            if not isinstance(cause, FolderTakenError):  # the other run has not failed
                (folder / FAILED).write_text(f"{line}\n")
            if not is_users(cause):
                raise
            log.debug("traceback of the error below", exc_info=error)
            if speaks or not isinstance(cause, (ConfigError, StepError)):  # which all raise
                log.error("error: %s", line)
            # not raised: Hydra would print a second line, and a sweep would end with it
            failures.append((folder, exit_code(error, cause)))
            return None
        except (KeyboardInterrupt, SystemExit):
            stopped.append(folder)
            raise
        finally:
            finish_wandb()
        log.info("%s", result if isinstance(result, Path) else folder)
        return result

    return guarded


def end_with(code: int) -> None:
    """Let the verb leave with this code, though it did all that it was asked for."""
    failures.append((Path(HydraConfig.get().runtime.output_dir), code))


def finish_wandb() -> None:
    """End W&B's run with ours, or the next run of a sweep would go on in it."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()
