"""The verbs as a user runs them, on a data set of a few painted boxes."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from files import write
from omegaconf import OmegaConf
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from verbs import ROOT, SMALL, metrics, results, run
from voc import COLORS, write_voc

from ssd.weights.checkpoints import read_checkpoint


def test_a_run_learns(trained: Path) -> None:
    assert results(trained)["test/map_50"] > 0.9


def test_a_run_leaves_what_it_promises(trained: Path) -> None:
    names = ["train.log", "metrics.csv", "results.json", "predictions.json", "ground_truth.json"]
    names += ["curves.png", ".hydra/config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"]
    assert all((trained / name).stat().st_size for name in names)
    assert list((trained / "examples").glob("*.png"))
    assert list((trained / "tensorboard").glob("events*"))


def test_results_have_the_names_of_the_design(trained: Path) -> None:
    found = results(trained)
    for stage in ("val", "test"):
        for name in ("map", "map_50", "map_75", "map_voc07", "map_voc12", "map_small", "loss"):
            assert f"{stage}/{name}" in found
    for name in (
        "steps",
        "wall_seconds",
        "images_per_second",
        "best_checkpoint",
        "seed",
        "versions",
    ):
        assert found[name] is not None
    assert found["steps"] == 90
    assert [line["name"] for line in found["classes"]] == ["cat", "dog"]


def test_results_say_what_gave_the_coco_numbers(trained: Path) -> None:
    versions = results(trained)["versions"]
    assert versions["pycocotools"]
    assert bool(versions["faster-coco-eval"]) == (find_spec("faster_coco_eval") is not None)


def test_the_loss_falls(trained: Path) -> None:
    losses = [float(row["train/loss"]) for row in metrics(trained) if row["train/loss"]]
    assert losses[-1] < losses[0] / 3


def test_every_run_validates_at_its_last_step(trained: Path) -> None:
    validated = [int(row["step"]) for row in metrics(trained) if row["val/map"]]
    assert validated == [59, 89]


def test_last_is_the_newest_checkpoint(trained: Path) -> None:
    assert read_checkpoint(trained / "checkpoints" / "last.ckpt")["global_step"] == 90


def test_pycocotools_gives_the_same_number_from_the_files(
    trained: Path, capsys: pytest.CaptureFixture
) -> None:
    truth = COCO(str(trained / "ground_truth.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(trained / "predictions.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert results(trained)["test/map"] == pytest.approx(evaluation.stats[0], abs=1e-7)


def test_evaluating_a_run_gives_the_number_of_its_training(trained: Path, tmp_path: Path) -> None:
    assert run("evaluate", f"checkpoint={trained}", f"hydra.run.dir={tmp_path}", "trainer=cpu",
               "precision=32-true") == 0  # fmt: skip
    for name in ("test/map", "test/map_voc07", "test/map_voc12", "test/loss"):
        assert results(tmp_path)[name] == pytest.approx(results(trained)[name], abs=1e-6)


def test_a_lone_checkpoint_is_scored_on_the_data_that_is_given(
    trained: Path, root: Path, tmp_path: Path
) -> None:
    lone = tmp_path / "lone.ckpt"
    lone.write_bytes((trained / "checkpoints" / "best.ckpt").read_bytes())
    words = ["split=train", "data=voc", f"data.root={root}", "data.num_workers=0", "trainer=cpu"]
    assert run("evaluate", f"checkpoint={lone}", f"hydra.run.dir={tmp_path}/score", *words) == 0
    assert results(tmp_path / "score")["train/map_50"] > 0.9


def test_a_run_from_before_a_key_of_the_data_came_is_scored(trained: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(trained, tmp_path / "old"))
    config = OmegaConf.load(old / ".hydra" / "config.yaml")
    del config.data.timeout, config.data.more
    OmegaConf.save(config, old / ".hydra" / "config.yaml")
    words = ["trainer=cpu", "precision=32-true", "report=false"]
    assert run("evaluate", f"checkpoint={old}", f"hydra.run.dir={tmp_path}/out", *words) == 0
    assert results(tmp_path / "out")["test/map"] == results(trained)["test/map"]


def test_a_run_is_scored_from_another_folder(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", f"checkpoint={trained}", "hydra.run.dir=score", "trainer=cpu") == 0
    assert run("evaluate", f"checkpoint={trained}", "split=tst", "hydra.run.dir=other") == 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose splits were made, of two data sets and a list of classes."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("one", "two"):
        images = {f"{c}{i}": [(c, 2 * i + 1, 5, 2 * i + 20, 34)] for c in COLORS for i in range(10)}
        write_voc(folder / name, {"all": images})
    (folder / "names.txt").write_text("dog\ncat\n")
    words = ["data=auto", "data.root=one", "data.more=[{root: two}]", "data.classes=names.txt"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("train", *SMALL, *words, "hydra.run.dir=run") == 0
    return folder


def grow(folder: Path, other: Path) -> Path:
    """A copy with further images, whose names come before those of the others."""
    copy = shutil.copytree(folder, other / "grown")
    for name in ("one", "two"):
        images = {f"a{i}": [("cat", 5, 5, 25, 30)] for i in range(20)}
        write_voc(copy / name, {"all": images})
        (copy / name / "ImageSets" / "Main" / "all.txt").unlink()
    hydra = copy / "run" / ".hydra" / "hydra.yaml"
    hydra.write_text(hydra.read_text().replace(str(folder), str(copy)))
    return copy


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_run_is_scored_on_the_images_that_it_was_given_then(
    made: Path, tmp_path: Path, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(made, tmp_path)
    monkeypatch.chdir(tmp_path)
    words = [f"split={split}", "trainer=cpu", "precision=32-true", "hydra.run.dir=score"]
    assert run("evaluate", "checkpoint=grown/run", *words) == 0
    listed = (made / "run" / "splits" / f"{split}.txt").read_text().split()
    assert len(listed) == len(json.loads(Path("score/ground_truth.json").read_text())["images"])
    if split == "test":
        for name in ("test/map", "test/loss"):
            expected = results(made / "run")[name]
            assert results(tmp_path / "score")[name] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("resume", ["latest", "run/checkpoints/last.ckpt"])
def test_a_run_goes_on_with_the_images_that_it_was_given_then(
    made: Path, tmp_path: Path, resume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = grow(made, tmp_path)
    monkeypatch.chdir(grown)
    folder = "run" if resume == "latest" else "other"
    words = ["data=auto", "data.root=one", "data.more=[{root: two}]", "data.classes=names.txt"]
    go_on = [f"resume={resume}", f"hydra.run.dir={folder}", "trainer.max_steps=5"]
    assert run("train", *SMALL, *words, *go_on) == 0
    for split in ("train", "val", "test"):
        lists = [grown / place / "splits" / f"{split}.txt" for place in (folder, made / "run")]
        assert lists[0].read_text() == lists[1].read_text()


def test_a_folder_of_splits_that_is_no_runs_is_not_a_checkpoints(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path / "project", {f"splits/{split}.txt": "x\n" for split in ("train", "val", "test")}
    )
    (tmp_path / "project" / "models").mkdir()
    shutil.copy(made / "run" / "checkpoints" / "last.ckpt", tmp_path / "project" / "models")
    monkeypatch.chdir(made)
    words = ["data=auto", "data.root=one", "data.classes=names.txt", "trainer.max_steps=5"]
    go_on = [f"resume={tmp_path}/project/models/last.ckpt", f"hydra.run.dir={tmp_path}/run"]
    assert run("train", *SMALL, *words, *go_on) == 0


def test_a_checkpoint_knows_that_its_classes_are_sigmoids(root: Path, tmp_path: Path) -> None:
    words = [f"data.root={root}", "loss=focal", "loss/classes=sigmoid_focal", "loss/box=giou"]
    words += ["trainer.max_steps=40", "val_every=40", "data.batch_size=8", "optimizer.lr=4e-3"]
    assert run("train", *SMALL, *words, f"hydra.run.dir={tmp_path}/run") == 0
    score = [f"checkpoint={tmp_path}/run", f"hydra.run.dir={tmp_path}/score", "trainer=cpu"]
    assert run("evaluate", *score, "precision=32-true") == 0
    ours, again = results(tmp_path / "run"), results(tmp_path / "score")
    assert ours["test/map_50"] > 0.3
    for name in ("test/map", "test/loss"):
        assert again[name] == pytest.approx(ours[name], abs=1e-6)


@pytest.mark.slow
def test_a_sweep_of_distributed_runs_trains_each_with_its_own_values(
    root: Path, tmp_path: Path
) -> None:
    words = [*SMALL, f"data.root={root}", f"hydra.sweep.dir={tmp_path}", "trainer=ddp"]
    words += ["trainer.accelerator=cpu", "trainer.max_steps=3"]
    words += ["optimizer.lr=1e-3,1e-4", "data.batch_size=3,4"]  # 3 does not divide over 2 devices
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "train.py"), "-m", *words]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, check=False, timeout=300)
    assert ended.returncode == 2
    rates = [float(metrics(tmp_path / run)[0]["train/lr"]) for run in ("2", "3")]
    assert rates == pytest.approx([1e-3, 1e-4])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3", "multirun.yaml"]
    assert [(tmp_path / run / "failed.txt").exists() for run in "0123"] == [
        True,
        True,
        False,
        False,
    ]
    assert {path.name for path in (tmp_path / "2" / "checkpoints").iterdir()} == {
        "best.ckpt",
        "last.ckpt",
    }


def test_the_papers_experiment_takes_a_step(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit"
    images = {name: [("cat", 5, 5, 40, 30), ("dog", 20, 8, 50, 36)] for name in ("a", "b")}
    write_voc(root / "VOC2007", {"trainval": images, "test": {"c": [("cat", 8, 5, 32, 34)]}})
    words = [f"data.root={root}", f"hydra.run.dir={tmp_path}/run", "model.pretrained=false"]
    words += ["data.batch_size=2", "data.num_workers=0", "trainer.accelerator=cpu"]
    assert run("train", "experiment=ssd300_voc07", *words, "trainer.max_steps=1") == 0
    assert results(tmp_path / "run")["best_checkpoint"] == "checkpoints/last.ckpt"


def test_help_names_the_groups(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("train", "--help") == 0
    printed = capsys.readouterr().out
    assert (
        "optimizer: adadelta, adagrad, adam, adamw, ftrl, momentum, rmsprop, sgd, tf_adam"
        in printed
    )
    assert "ssd300_voc0712" in printed
