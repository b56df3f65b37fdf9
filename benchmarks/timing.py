"""Two ways of doing the same work, timed in turn: machines are noisy, ratios less so."""

import math
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch

from ssd.memory import keep_freed_memory

OURS = "ours"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Timed(NamedTuple):
    """One piece of work, done by each side in turn.

    part, case: what it is; unit: what one piece of the work is called; work: pieces of a round
    seconds: of every round, by side; "ours" is one
    """

    part: str
    case: str
    unit: str
    work: int
    seconds: dict[str, list[float]]

    def rate(self, side: str) -> float:
        """Pieces of work a second."""
        return self.work / statistics.median(self.seconds[side])

    def ratio(self, side: str) -> float:
        """How many times faster ours is: the median over pairs of neighbouring rounds."""
        return statistics.median(self.pairs(side))

    def interval(self, side: str) -> tuple[float, float]:
        """What holds the median of `ratio` with 95 % confidence, or as near as few pairs allow:
        order statistics, which assume nothing of the noise."""
        pairs = sorted(self.pairs(side))
        outside = cut(len(pairs))
        return pairs[outside], pairs[-1 - outside]

    def pairs(self, side: str) -> list[float]:
        both = zip(self.seconds[OURS], self.seconds[side], strict=True)
        return [theirs / ours for ours, theirs in both]

    def content(self) -> dict[str, Any]:
        """Everything as plain data."""
        others = [side for side in self.seconds if side != OURS]
        return self._asdict() | {
            "rates": {side: self.rate(side) for side in self.seconds},
            "ratios": {side: [self.ratio(side), *self.interval(side)] for side in others},
        }


def machine() -> dict[str, Any]:
    """What the seconds are of."""
    return {
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else platform.processor(),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "torchvision", "numpy")},
    }


def cut(count: int) -> int:
    """How many values at each end lie outside a 95 % interval of the median."""
    outside, tail = 0, 0.5**count
    while 2 * (tail + math.comb(count, outside + 1) * 0.5**count) <= 0.05:
        outside += 1
        tail += math.comb(count, outside) * 0.5**count
    return outside


def in_turn(
    part: str,
    case: str,
    unit: str,
    work: int,
    sides: Mapping[str, Callable[[], object]],
    rounds: int,
) -> Timed:
    """Every side once to warm up, then `rounds` times each, one after another."""
    seconds = {side: [] for side in sides}
    for run in sides.values():
        run()
    for _ in range(rounds):
        for side, run in sides.items():
            seconds[side].append(time_of(run))
    return Timed(part, case, unit, work, seconds)


def in_turn_apart(
    part: str,
    case: str,
    unit: str,
    work: int,
    makers: Mapping[str, Callable[[], Callable[[], object]]],
    rounds: int,
) -> Timed:
    """`in_turn` with a process for each side, as train.py alone keeps the memory that it frees.

    makers: what makes a side, in its process; they are pickled
    """
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(Apart(maker, keeps_memory=name == OURS))
            for name, maker in makers.items()
        }
        seconds = {name: [] for name in sides}
        for _ in range(rounds):
            for name, side in sides.items():
                seconds[name].append(side.time())
    return Timed(part, case, unit, work, seconds)


class Apart:
    """A side in a process of its own, which is warm once it is entered."""

    def __init__(self, maker: Callable[[], Callable[[], object]], keeps_memory: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=obey, args=(theirs, maker, keeps_memory))
        self.theirs = theirs

    def __enter__(self) -> "Apart":
        self.process.start()
        self.theirs.close()  # a process that dies ends the wait for it
        try:
            self.pipe.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError("a side's process ended; what it printed is above") from None
        return self

    def time(self) -> float:
        self.pipe.send(None)
        return self.pipe.recv()

    def __exit__(self, *_: object) -> None:
        self.pipe.close()
        self.process.join()


def obey(pipe: Connection, maker: Callable[[], Callable[[], object]], keeps_memory: bool) -> None:
    """Send the seconds of a run, at first of one to warm up, and of another whenever asked."""
    if keeps_memory and DEVICE == "cpu":
        keep_freed_memory()
    run = maker()
    try:
        while True:
            pipe.send(time_of(run))
            pipe.recv()
    except EOFError:
        return


def time_of(run: Callable[[], object]) -> float:
    wait()
    start = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - start


def wait() -> None:
    """Until the device has done what it was asked for."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def lines(results: Iterable[Timed]) -> Iterable[str]:
    """A table: ours, and each other side with how many times faster ours is."""
    for result in results:
        yield f"{result.part}, {result.case}"
        for side in result.seconds:
            rate = f"  {side:44}{result.rate(side):10.4g} {result.unit}/s"
            if side != OURS:
                low, high = result.interval(side)
                rate += f"   ours is {result.ratio(side):.2f}x ({low:.2f} to {high:.2f})"
            yield rate
