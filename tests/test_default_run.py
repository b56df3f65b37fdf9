"""The promise of the README, kept whole: minutes long, so `pytest -m slow` alone runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_default_learns_shapes(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), f"hydra.run.dir={tmp_path}/run"]
    subprocess.run([*command, f"data_dir={tmp_path}/data"], cwd=tmp_path, check=True)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["test/map_50"] > 0.92
    assert results["test/map"] > 0.66
