"""Do the tests bite? Known faults of such projects, sown one at a time, and what finds each.

python tests/seeded_faults.py [WORDS]    all of them, or those whose description holds the words

Copies the code to a temporary folder, runs there the tests that the faults name, and then, fault
for fault, changes the code and runs its tests again: they must fail. Each run is a fork of this
process, which has imported the libraries and none of our code, so none waits for them. Prints what
caught each fault; exits 1 where one survives, where a test fails of itself, and where the code to
change is not found exactly once, so that a fault cannot rot away unseen.
"""

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

# what takes seconds to import, for all runs
import cv2  # noqa: F401
import hydra  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import pycocotools.cocoeval  # noqa: F401
import pytest
import pytorch_lightning  # noqa: F401
import torch
import torchmetrics  # noqa: F401
import torchvision  # noqa: F401
from faults import FAULTS, Fault

ROOT = Path(__file__).parent.parent
COPIED = ("ssd", "tests", "conf", "benchmarks", "docs")  # and the files beside them
SECONDS = 300  # for the tests of one fault


def main(words: list[str]) -> int:
    chosen = [fault for fault in FAULTS if all(word in fault.what for word in words)]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder) / "copy")
        tests = sorted({test for fault in chosen for test in fault.tests.split()})
        wrong, seconds = failures(copy, tests)
        print(f"{len(tests)} tests, {seconds:.0f} s without a fault; then each fault by itself\n")
        if wrong:
            print("fail of themselves: " + ", ".join(wrong))
            return 1
        for fault in chosen:
            for old in fault.edits:
                place(fault.what, old, copy)
        survived = [fault for fault in chosen if not caught(fault, copy)]
    print(f"\n{len(chosen) - len(survived)} of {len(chosen)} faults were caught")
    return 1 if survived else 0


def copied(copy: Path) -> Path:
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.iterdir():
        if file.is_file() and not file.name.startswith("."):
            shutil.copy(file, copy)
    return copy


def caught(fault: Fault, copy: Path) -> bool:
    places = {old: place(fault.what, old, copy) for old in fault.edits}
    kept = {path: path.read_text() for path in places.values()}
    for old, new in fault.edits.items():
        places[old].write_text(places[old].read_text().replace(old, new))
    wrong, seconds = failures(copy, fault.tests.split())
    for path, text in kept.items():
        path.write_text(text)
    missed = [test for test in fault.tests.split() if not any(test in one for one in wrong)]
    by = "SURVIVES " + ", ".join(missed) if missed else fault.tests.replace(" ", ", ")
    where = ", ".join(str(path.relative_to(copy)) for path in kept)
    print(f"{fault.what:68}  {where:28}  {seconds:3.0f} s  {by}", flush=True)
    return not missed


def place(what: str, old: str, copy: Path) -> Path:
    """The one file that holds the code to change."""
    files = [*(copy / "ssd").rglob("*.py"), *copy.glob("*.py")]
    found = [path for path in files for _ in range(path.read_text().count(old))]
    if len(found) != 1:
        sys.exit(f"{what}: the code to change is there {len(found)} times: {old!r}")
    return found[0]


def failures(copy: Path, tests: list[str]) -> tuple[list[str], float]:
    """Which tests fail, and how long they take."""
    start = time.monotonic()
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    child = fork.Process(target=run, args=(copy, tests, there))
    child.start()
    there.close()
    wrong = here.recv() if here.poll(SECONDS) else [*tests]  # to hang is to fail
    child.kill()
    child.join()
    if wrong is None:
        print((copy.parent / "pytest.log").read_text()[-3000:])
        sys.exit(f"these tests cannot be run: {', '.join(tests)}")
    return wrong, time.monotonic() - start


def run(copy: Path, tests: list[str], results: Connection) -> None:
    """Run tests in this process, in the copy, and send which failed; None where they cannot run."""
    os.chdir(copy)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    sys.path = [path for path in sys.path if Path(path).resolve() not in (ROOT, ROOT / "tests")]
    log = os.open(copy.parent / "pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2)
    watching = Watching()
    names = [f"tests/{name.replace('::', '.py::')}" for name in tests]
    options = ["-q", "-n0", "-p", "no:cacheprovider", "-m", "slow or not slow"]
    code = pytest.main([*options, *names], plugins=[watching])
    sys.stdout.flush()
    ran = code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    results.send(watching.wrong if ran else None)


class Watching:
    """Which tests failed, for a run of pytest."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.wrong.append(report.nodeid.removeprefix("tests/").replace(".py::", "::"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
