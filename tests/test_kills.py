"""kill -9 of real runs, twenty at random and twelve inside saves; minutes long."""

import multiprocessing
import os
import random
import time
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from test_continuation import KEPT, same
from test_signals import wait_until
from verbs import SMALL, metrics, results, run

from ssd.weights.checkpoints import read_checkpoint

STEPS = 90
WORDS = [
    *SMALL,
    "augmentation=ssd",
    "callbacks=[default,averaging]",
    "scheduler=one_cycle",
    f"trainer.max_steps={STEPS}",
    "save_every=3",
    "val_every=7",
    "callbacks.last.keep=2",
    "~callbacks.examples",
    "~callbacks.augmented",
]
TIMED = {"train/images_per_second", "train/seconds_per_step"}  # no two runs agree on time
server = multiprocessing.get_context("forkserver")  # each process is new, and starts at once
server.set_forkserver_preload(["test_kills", "ssd.module", "ssd.datamodule", "ssd.checkpointing"])


def train(words: list[str], dies_in: str | None, call: int) -> None:
    """A process of train.py; with `dies_in` it dies at that call of os.fsync, replace or link."""
    os.setsid()
    if dies_in:
        name, _, moment = dies_in.partition(" ")
        setattr(os, name, dying(getattr(os, name), call, after=moment == "after"))
    raise SystemExit(run("train", *words))


def dying(real: Callable[..., Any], call: int, after: bool) -> Callable[..., Any]:
    calls = iter(range(call, -1000, -1))

    def replacement(*arguments: Any, **keys: Any) -> Any:
        last = next(calls) == 0
        if last and not after:
            os._exit(137)
        result = real(*arguments, **keys)
        if last:
            os._exit(137)
        return result

    return replacement


def start(folder: Path, *words: str, dies_in: str | None = None, call: int = 0) -> Any:
    arguments = ([f"hydra.run.dir={folder}", *words], dies_in, call)
    process = server.Process(target=train, args=arguments)
    process.start()
    return process


def rows(folder: Path) -> int:
    file = folder / "metrics.csv"
    return file.read_text().count("\n") if file.exists() else 0


def kill_after(process: Any, folder: Path, logged: int, wait: float) -> bool:
    """Kill -9 once that many rows are new, and a moment later. returns: whether it still ran"""
    before, end = None, time.monotonic() + 120
    while process.is_alive() and time.monotonic() < end:
        found = rows(folder)
        before = found if before is None or found < before else before  # a resume cuts some off
        if found >= before + logged:
            break
        time.sleep(0.002)
    time.sleep(wait)
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive


def left(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {
        "metrics": [[(k, v) for k, v in row.items() if k not in TIMED] for row in metrics(folder)],
        "results": {k: v for k, v in results(folder).items() if not k.endswith("_second")},
    }
    del found["results"]["wall_seconds"]
    for name in ("best", "last"):
        checkpoint = read_checkpoint(folder / "checkpoints" / f"{name}.ckpt")
        found |= {f"{name} {key}": checkpoint[key] for key in (*KEPT, "global_step")}
    return found


def differences(one: Path, other: Path) -> list[str]:
    ours, theirs = left(one), left(other)
    return [name for name in ours if not same(ours[name], theirs[name])]


def left_behind() -> list[str]:
    """The workers of runs that were killed."""
    number = forkserver._forkserver._forkserver_pid
    return Path(f"/proc/{number}/task/{number}/children").read_text().split()


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    process = start(folder, *WORDS, f"data.root={root}")
    process.join()
    assert process.exitcode == 0
    return folder


def finish(folder: Path) -> None:
    process = start(folder, "resume=latest", "data.num_workers=0")
    process.join()
    assert process.exitcode == 0
    assert not [*folder.rglob("*.ssd-part")]


@pytest.mark.slow
def test_twenty_kills_at_random_change_no_bit(whole: Path, root: Path, tmp_path: Path) -> None:
    chance, folder, kills = random.Random(0), tmp_path / "run", 0
    first = [*WORDS, f"data.root={root}", "resume=latest"]
    for number in range(60):
        workers = f"data.num_workers={(0, 1, 3)[number % 3]}"
        words = first if number == 0 else ["resume=latest", workers]
        process = start(folder, *words)
        kills += kill_after(process, folder, chance.randint(1, 5), chance.random() / 10)
        if kills == 20:
            break
    steps = rows(folder) - 1
    finish(folder)
    assert differences(folder, whole) == []
    wait_until(lambda: not left_behind(), seconds=30)
    print(f"{kills} kills, the last at about step {steps} of {STEPS}")
    assert kills == 20


@pytest.mark.slow
def test_kills_inside_saves_change_no_bit(whole: Path, root: Path, tmp_path: Path) -> None:
    chance, folder, kills = random.Random(1), tmp_path / "run", 0
    first = [*WORDS, f"data.root={root}", "resume=latest"]
    for place in ("fsync", "fsync after", "replace", "replace after", "link", "link after") * 2:
        words = first if not kills else ["resume=latest"]
        process = start(folder, *words, dies_in=place, call=chance.randint(0, 4))
        process.join()
        kills += process.exitcode == 137
    finish(folder)
    assert differences(folder, whole) == []
    print(f"{kills} kills inside saves")
    assert kills == 12
