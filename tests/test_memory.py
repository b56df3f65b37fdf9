"""Freed memory that a process keeps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FAULTS = """
import resource, sys
import numpy as np

def faults():
    for _ in range(3):  # the first ones find their place
        np.full(64 << 20, 1, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.full(64 << 20, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

"""
CALLED = """
from ssd.memory import keep_freed_memory
before = faults()
print(keep_freed_memory(), before, faults())
"""
TRAINED = """
sys.path.insert(0, "tests")
from verbs import SMALL, run
found = []
for kept in ("false", "true"):
    words = ["data.root=" + sys.argv[1], f"hydra.run.dir={sys.argv[2]}/{kept}"]
    run("train", *SMALL, *words, "trainer.max_steps=1", f"keep_memory={kept}")
    found.append(faults())
print(*found)
"""
FEW = 100  # page faults; 64 MiB are thousands


def printed(script: str, *words: str) -> list[str]:
    command = [sys.executable, "-c", FAULTS + script, *words]
    whole = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}  # huge pages are few
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=whole)
    return run.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_that_is_kept_is_not_asked_for_again() -> None:
    kept, before, after = printed(CALLED)
    assert kept == "True"
    assert int(after) < FEW < int(before)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
@pytest.mark.slow
def test_training_keeps_memory_unless_told_otherwise(root: Path, tmp_path: Path) -> None:
    given_back, kept = printed(TRAINED, str(root), str(tmp_path))[-2:]
    assert int(kept) < FEW < int(given_back)
