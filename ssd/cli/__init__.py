"""What every verb wears: errors in one line, exit codes, resumes, sweeps that survive DDP.

The only part of the package that knows Hydra.
"""

from ssd.cli.configuration import at_least, choose_precision, compile_network, plain
from ssd.cli.distributed import children_run_this_job
from ssd.cli.locking import alone_in_its_folder
from ssd.cli.messages import SIGNALLED, exit_code, is_users, one_line, unwrapped
from ssd.cli.running import end_with, one_line_errors, run, signal_code, with_own_overrides
from ssd.cli.runs import data_config, names_apart, run_config

__all__ = [
    "SIGNALLED",
    "alone_in_its_folder",
    "at_least",
    "children_run_this_job",
    "choose_precision",
    "compile_network",
    "data_config",
    "end_with",
    "exit_code",
    "is_users",
    "names_apart",
    "one_line",
    "one_line_errors",
    "plain",
    "run",
    "run_config",
    "signal_code",
    "unwrapped",
    "with_own_overrides",
]
