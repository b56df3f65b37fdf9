"""A checkpoint of each format that was ever written scores what it scored then, and trains on."""

from pathlib import Path

import pytest
from verbs import SMALL, last, results, run

OLD = Path(__file__).parent / "old_checkpoints"
SCORES = {  # on the test images of conftest.py, when it was written
    "format_3": {"test/map": 0.18333, "test/map_50": 0.75, "test/ap/cat": 0.21667},
}
STEPS = {"format_3": 100}


@pytest.mark.parametrize("name", SCORES)
def test_an_old_checkpoint_scores_what_it_scored_then(
    root: Path, tmp_path: Path, name: str
) -> None:
    words = ["data=voc", f"data.root={root}", "data.num_workers=0", "trainer=cpu"]
    words += ["data.test_split=test", "precision=32-true", f"hydra.run.dir={tmp_path}"]
    assert run("evaluate", f"checkpoint={OLD / name}.ckpt", *words) == 0
    found = results(tmp_path)
    for metric, value in SCORES[name].items():
        assert found[metric] == pytest.approx(value, rel=1e-3), metric


@pytest.mark.parametrize("name", SCORES)
def test_an_old_checkpoint_is_a_place_to_go_on_from(root: Path, tmp_path: Path, name: str) -> None:
    words = [*SMALL, "model.width=0.05", "optimizer=sgd", f"data.root={root}"]
    words += ["data.batch_size=8", "data.test_split=null", f"hydra.run.dir={tmp_path}"]
    words += [f"resume={OLD / name}.ckpt", "~callbacks.examples", "~callbacks.augmented"]
    step = 1 + STEPS[name]
    assert run("train", *words, f"trainer.max_steps={step}") == 0
    assert last(tmp_path)["global_step"] == step
