"""Which checkpoint a run goes on from, and whether it can."""

import itertools
import logging
import os
from pathlib import Path
from typing import Any

from ssd.errors import ConfigError
from ssd.weights.checkpoints import FOLDER, LAST, read_checkpoint

log = logging.getLogger(__name__)

LATEST = "latest"
LEFT = "left_behind"  # in the folder of the checkpoints


def find_resume(resume: str | None, run_dir: Path) -> Path | None:
    """The checkpoint that a run goes on from: a given file, or the newest valid one of its
    folder."""
    folder = run_dir / FOLDER
    existing = sorted(folder.glob("*.ckpt"))
    if resume == LATEST:
        return newest(existing, folder)
    given = None if resume is None else Path(resume).expanduser()
    if existing and (given is None or given.resolve().parent != folder.resolve()):
        raise ConfigError(
            f"{folder} holds checkpoints of an earlier run; go on from them with "
            "resume=latest, or give another hydra.run.dir"
        )
    return given


def newest(existing: list[Path], folder: Path) -> Path | None:
    """The valid checkpoint of the highest step. Clocks and names say nothing: a kill can leave
    best.ckpt newer than last.ckpt."""
    if not existing:
        log.warning("resume=latest: no checkpoint in %s, starting at step 0", folder)
        return None
    steps = {path: step for path in existing if (step := step_of(path)) is not None}
    if not steps:
        raise ValueError(f"resume=latest: every checkpoint in {folder} is damaged; move them away")
    return max(steps, key=lambda path: (steps[path], path.name == LAST))


def set_later_aside(run_dir: Path, step: int) -> None:
    """Take the checkpoints of later steps out of the way of a run that goes back to `step`: they
    are of a branch that it leaves, and the newest of all would be among them."""
    folder = run_dir / FOLDER
    steps = {path: step_of(path) for path in folder.glob("*.ckpt")}
    later = [path for path, found in steps.items() if found is not None and found > step]
    for path in later:
        (folder / LEFT).mkdir(exist_ok=True)
        os.replace(path, unused(folder / LEFT / path.name))
    if later:
        log.info("%d checkpoints of later steps are now in %s", len(later), folder / LEFT)


def unused(path: Path) -> Path:
    """A path, or one with a number where there is such a file."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(1))
    return next(place for place in itertools.chain([path], numbered) if not place.exists())


def check_resume(path: Path, own: dict[str, Any]) -> int:
    """The step of a checkpoint that a run can go on from; an error where it cannot.

    own: what the run would train, by the names that a checkpoint has for it
    """
    checkpoint = read_checkpoint(path)
    if not checkpoint.keys() >= {"recipe", "optimizer_states"}:
        raise ConfigError(f"resume={path}: holds weights alone; init.checkpoint= takes them")
    theirs = {**checkpoint["ssd"], **checkpoint["recipe"]}
    for name, ours in own.items():
        if theirs.get(name) != ours:
            raise ConfigError(
                f"resume={path}: its {name} is {theirs.get(name)}, but this run's is {ours}; "
                "init.checkpoint= takes its weights alone"
            )
    return checkpoint["global_step"]


def step_of(path: Path) -> int | None:
    """The optimizer step of a checkpoint; None, and a warning, where it is damaged."""
    try:
        return read_checkpoint(path).get("global_step")
    except ValueError as error:
        log.warning("passed over: %s", error)
        return None
