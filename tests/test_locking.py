"""One run in a folder at a time."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from verbs import ROOT, SMALL, run

from ssd.cli.locking import FolderTakenError, locked

HOLD = """
import os, pathlib, sys, time
from ssd.cli.locking import locked
with locked(pathlib.Path(sys.argv[1])):
    if os.fork() == 0:  # as a data worker, which may outlive its killed parent by seconds
        time.sleep(60)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """Another process that trains in the folder, with a worker."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.stdout.close()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_second_run_in_a_folder_is_refused_until_the_first_is_dead(
    tmp_path: Path, holder: subprocess.Popen
) -> None:
    whose = f"process {holder.pid} on {socket.gethostname()} trains in this folder now"
    with pytest.raises(FolderTakenError, match=whose), locked(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with locked(tmp_path):
        pass


def test_a_refused_run_leaves_all_of_the_first_as_it_was(
    root: Path, tmp_path: Path, holder: subprocess.Popen, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- seed=7\n")
    words = [*SMALL, f"data.root={root}", f"hydra.run.dir={tmp_path}"]
    assert run("train", *words) == 2
    assert f"process {holder.pid} on" in capsys.readouterr().out
    assert (tmp_path / ".hydra" / "overrides.yaml").read_text() == "- seed=7\n"
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {".hydra", ".lock", "train.log"}


def test_a_run_folder_that_cannot_be_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert run("train", *SMALL, f"hydra.run.dir={tmp_path}/file/run") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("error: ")
    assert f"{tmp_path}/file/run" in said
