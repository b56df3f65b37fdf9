"""Mistakes that a user can mend. Each message says what must hold, what came, and what to type."""

import re
import shlex
from pathlib import Path


class ConfigError(ValueError):
    """A setting that cannot work. The command ends with code 2; other ValueErrors end with 1."""


class StepError(ValueError):
    """A step that no run can go on from. All processes of the run come to it, and one says so."""


def resume_command(run_dir: Path) -> str:
    """What to type to go on with a run; in quotes for Hydra and the shell where they need them."""
    plain = re.fullmatch(r"[\w./-]+", str(run_dir), re.ASCII)
    folder = run_dir if plain else f"'{run_dir}'"
    return f"python train.py {shlex.quote(f'hydra.run.dir={folder}')} resume=latest"
