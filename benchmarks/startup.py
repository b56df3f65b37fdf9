"""From a command line to its answer, in a process of its own: help, tab completion, and the first
training step of the default on data that are already drawn."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl

from benchmarks.configuring import ROOT
from benchmarks.timing import OURS, Timed, in_turn

COMPLETED = "python train.py optimizer=ada"  # what is typed when Tab is pressed


class FirstStep(pl.Callback):
    """Ends the process where the first optimizer step has been taken."""

    def on_train_batch_end(self, *_: Any) -> None:
        os._exit(0)


def measure(rounds: int) -> Iterator[Timed]:
    with tempfile.TemporaryDirectory() as folder:
        words = [f"data_dir={folder}/data", f"hydra.run.dir={folder}/run"]
        words += ["trainer.max_steps=1", "val_every=1"]
        words += ["+callbacks.first_step._target_=benchmarks.startup.FirstStep"]
        commands = {
            "--help": partial(train, ["--help"], "experiment:"),
            "tab completion": partial(train, ["-sc", "query=bash"], "optimizer=adam"),
            "first step": partial(train, words, "1 steps of"),
        }
        for name, command in commands.items():
            yield in_turn("start-up", name, "starts", 1, {OURS: command}, rounds)


def train(words: Sequence[str], answer: str) -> None:
    """Run train.py, which must print `answer`."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "train.py", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths, "COMP_LINE": COMPLETED},
        capture_output=True,
        text=True,
        check=True,
    )
    if answer not in ended.stdout:
        raise AssertionError(f"{' '.join(words)} printed:\n{ended.stdout}")
