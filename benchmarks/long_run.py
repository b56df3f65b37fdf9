"""Whether memory stays flat: trains, validates and saves for thousands of steps, and watches.

    python benchmarks/long_run.py [--steps 6000]

A line for every tenth of the run but the last: MB of the process and of its loading workers, pages
that they share counted once for all, and open files. Then how much the process grew in its second
half, when every buffer has its size. Linux alone tells.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SMALL = ["model.image_size=64", "model.width=0.25", "data.batch_size=8", "data.num_workers=2"]
MIB = 1 << 10  # of the kB that /proc gives


def processes(first: int) -> list[int]:
    """A process and its children, of which none has any."""
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return [first, *map(int, children)]


def megabytes(process: int) -> float:
    """Of its own, and its share of what others have too."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / MIB


def step_of(metrics: Path) -> int:
    """The last that was logged."""
    if not metrics.is_file():
        return 0
    header, *rows = metrics.read_text().splitlines()
    place = header.split(",").index("step")
    return int(rows[-1].split(",")[place]) if rows else 0


def watch(run: subprocess.Popen, metrics: Path, steps: int) -> list[float]:
    """MB of the first process at every tenth of the run."""
    found: list[float] = []
    while run.poll() is None and len(found) < 9:  # the end has its test
        time.sleep(0.5)
        step = step_of(metrics)
        if step < (len(found) + 1) * steps // 10:
            continue
        try:
            sizes = [megabytes(process) for process in processes(run.pid)]
            files = len(os.listdir(f"/proc/{run.pid}/fd"))
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            break
        found.append(sizes[0])
        workers = " + ".join(f"{size:.0f}" for size in sizes[1:])
        print(f"step {step}: {sizes[0]:.0f} MB, workers {workers} MB, {files} files", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6000)
    steps = parser.parse_args().steps
    every = [
        f"val_every={steps // 12}",
        f"save_every={steps // 12}",
        "trainer.log_every_n_steps=20",
    ]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "train.py", *SMALL, *every, f"trainer.max_steps={steps}"]
        command += [f"hydra.run.dir={folder}/run"]
        with open(f"{folder}/log", "w") as log:
            run = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
            found = watch(run, Path(folder) / "run" / "metrics.csv", steps)
            run.wait()
        if run.returncode:
            sys.exit(Path(folder, "log").read_text())
    half = found[len(found) // 2 :]
    print(f"in the second half: {half[-1] - half[0]:+.1f} MB")


if __name__ == "__main__":
    main()
