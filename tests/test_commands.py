"""The verbs as a user runs them, on a data set of a few painted boxes."""

import csv
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from voc import SIZE, write_annotation, write_voc

from ssd.weights.checkpoints import read_checkpoint

ROOT = Path(__file__).parent.parent
SMALL = [
    "data=voc",
    "model.image_size=64",
    "model.width=0.5",
    "data.batch_size=4",
    "data.num_workers=0",
    "augmentation=none",
    "trainer=cpu",
    "precision=32-true",
    "trainer.log_every_n_steps=1",
    "val_every=2",
    "save_every=2",
    "trainer.max_steps=4",
    "scheduler=constant",
]


def run(verb: str, *overrides: str) -> int:
    """The verb's exit code; in this process, which saves the seconds of a new one's imports."""
    before = sys.argv
    sys.argv = [str(ROOT / f"{verb}.py"), *overrides]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = {
        f"{name}{x}": [(name, x, 5, x + 24, 34)] for name in ("cat", "dog") for x in (1, 12, 24, 36)
    }
    validation = {"v": [("cat", 6, 5, 30, 34)], "w": [("dog", 30, 8, 54, 37)], "x": []}
    test = {"t": [("cat", 8, 5, 32, 34)], "u": [("dog", 33, 8, 57, 37)], "empty": []}
    folder = tmp_path_factory.mktemp("data") / "voc"
    return write_voc(folder, {"train": images, "val": validation, "test": test})


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that learned its eight images by heart."""
    folder = tmp_path_factory.mktemp("run")
    words = [f"data.root={root}", f"hydra.run.dir={folder}", "logger=tensorboard", "val_every=60"]
    words += ["trainer.max_steps=90", "data.batch_size=8", "optimizer.lr=4e-3", "scheduler=cosine"]
    assert run("train", *SMALL, *words) == 0
    return folder


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


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


def test_a_lone_checkpoint_without_data_is_an_error(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    lone = tmp_path / "lone.ckpt"
    lone.write_bytes((trained / "checkpoints" / "best.ckpt").read_bytes())
    assert run("evaluate", f"checkpoint={lone}", f"hydra.run.dir={tmp_path}/score") == 2
    assert "data=" in capsys.readouterr().out


def test_a_stopped_run_goes_on_from_its_newest_checkpoint(root: Path, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    words = [*SMALL, f"data.root={root}"]
    assert run("train", *words, f"hydra.run.dir={whole}", "trainer.max_steps=7") == 0
    assert run("train", *words, f"hydra.run.dir={stopped}", "trainer.max_steps=4") == 0
    again = [f"hydra.run.dir={stopped}", "trainer.max_steps=7", "resume=latest"]
    assert run("train", *words, *again) == 0
    ours, theirs = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (whole, stopped))
    for name, value in ours["state_dict"].items():
        assert torch.equal(value, theirs["state_dict"][name]), name
    losses = [[row["train/loss"] for row in metrics(run)] for run in (whole, stopped)]
    assert losses[0] == losses[1]
    assert "resumed at step 4" in (stopped / "train.log").read_text()


def test_a_resumed_run_keeps_what_it_was_started_with(root: Path, tmp_path: Path) -> None:
    folder = f"hydra.run.dir={tmp_path}/run"
    assert run("train", *SMALL, f"data.root={root}", "optimizer=sgd", folder) == 0
    assert run("train", folder, "resume=latest", "trainer.max_steps=6") == 0
    assert results(tmp_path / "run")["steps"] == 6
    stored = (tmp_path / "run" / ".hydra" / "overrides.yaml").read_text()
    assert "optimizer=sgd" in stored


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.width=0.25", "its model is"),
        ("optimizer=sgd", "its optimizer is torch.optim.AdamW, but this run's is torch.optim.SGD"),
        ("loss=focal loss/classes=sigmoid_focal", "its activation is softmax, but this run's is"),
        ("lr_factors={features:0.1}", "its lr_factors is None, but this run's is"),
        ("data.classes=[dog,cat]", "its classes is ['cat', 'dog'], but this run's is ['dog'"),
    ],
)
def test_a_checkpoint_of_another_run_is_no_place_to_go_on_from(
    trained: Path,
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    change: str,
    message: str,
) -> None:
    words = [f"data.root={root}", f"hydra.run.dir={tmp_path}", *change.split()]
    assert run("train", *SMALL, *words, f"resume={trained}/checkpoints/last.ckpt") == 2
    assert message in capsys.readouterr().out


def test_a_refused_resume_leaves_the_run_as_it_was(root: Path, tmp_path: Path) -> None:
    folder = f"hydra.run.dir={tmp_path}/run"
    assert run("train", *SMALL, f"data.root={root}", folder) == 0
    stored = (tmp_path / "run" / ".hydra" / "overrides.yaml").read_text()
    assert run("train", folder, "resume=latest", "optimizer=sgd") == 2
    assert (tmp_path / "run" / ".hydra" / "overrides.yaml").read_text() == stored
    assert run("train", folder, "resume=latest", "trainer.max_steps=5") == 0


def test_a_run_is_scored_from_another_folder(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", f"checkpoint={trained}", "hydra.run.dir=score", "trainer=cpu") == 0
    assert run("evaluate", f"checkpoint={trained}", "split=tst", "hydra.run.dir=other") == 2


def test_a_test_image_that_breaks_late_leaves_the_results_of_training(
    root: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "voc"
    shutil.copytree(root, copy)
    (copy / "JPEGImages" / "t.png").unlink()
    image = copy / "JPEGImages" / "t.jpg"
    Image.new("RGB", SIZE).save(image)
    image.write_bytes(image.read_bytes()[:-10])
    words = [f"data.root={copy}", f"hydra.run.dir={tmp_path}/run"]
    assert run("train", *SMALL, *words) == 1
    assert "t.jpg: damaged image" in (tmp_path / "run" / "failed.txt").read_text()
    assert results(tmp_path / "run")["steps"] == 4


def test_a_run_does_not_start_over_another(
    trained: Path, root: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run("train", *SMALL, f"data.root={root}", f"hydra.run.dir={trained}") == 1
    assert "resume=latest" in capsys.readouterr().out


def test_a_failing_run_of_a_sweep_is_marked_and_the_rest_go_on(root: Path, tmp_path: Path) -> None:
    words = [*SMALL, f"data.root={root}", "trainer.max_steps=1", f"hydra.sweep.dir={tmp_path}"]
    assert run("train", "-m", *words, "data.batch_size=64,2", "optimizer=sgd") == 2
    assert "data.batch_size=64 is more than" in (tmp_path / "0" / "failed.txt").read_text()
    assert not (tmp_path / "1" / "failed.txt").exists()
    assert results(tmp_path / "1")["steps"] == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["trainer.max_step=3"], 2, "Did you mean trainer.max_steps?"),
        (["optimizer=adamm"], 2, "Could not find 'optimizer/adamm'"),
        (["data=voc"], 2, "data.root"),
        (["data.bad_box=keep"], 2, "data.bad_box=keep: give drop or raise"),
        (["precision=bf16-true"], 2, "precision=bf16-true: it would round anchors"),
        (["precision=16-mixed"], 2, "precision=16-mixed needs a GPU"),
        (["val_every=0"], 2, "val_every=0: give a number of at least 1"),
        (["optimizer.lr=abc"], 2, "optimizer.lr=abc: give a number"),
        (["monitor=val/mapp"], 2, "monitor=val/mapp: give one of val/map_voc07, val/map_voc12"),
        (["callbacks=averaging"], 2, "no checkpoint is kept; add default, as in [default,avera"),
        (["trainable=[heads]"], 2, "freeze weights that have learned nothing"),
        (["init.exclude=[heads]"], 2, "of no use without init.checkpoint="),
        (["init.missing=ignor"], 2, "of no use without init.checkpoint="),
        (["init.checkpoint=/nowhere"], 2, "init.checkpoint=/nowhere: /nowhere: no such checkpoint"),
        (
            ["no_decay=biases"],
            2,
            "no_decay=biases: give a list, as in no_decay=['biases', 'norms']",
        ),
        (["loss.mining.ratio=many"], 2, "loss.mining.ratio=many: give a number, as in"),
        (["optimizer=adam", "optimizer.betas=0.9"], 2, "optimizer.betas=0.9: give a list, as in"),
        (["optimizer=adam", "optimizer.betas=[2,3]"], 2, "optimizer: Invalid beta parameter"),
        (["lr_factors={features:fast}"], 2, "lr_factors.features=fast: give at least 0"),
        (["scheduler=polynomial", "scheduler.cycle=maybe"], 2, "give true or false, as in"),
        (
            ["scheduler=exponential", "scheduler.decay_epochs=null"],
            2,
            "decay_epochs=None: give a n",
        ),
        (["trainer.log_every_n_steps=0"], 2, "trainer.log_every_n_steps=0: give a number of at"),
        (["data.classes=[cat,dog,background]"], 2, "leave out the background"),
        (["data.root=/nowhere"], 1, "/nowhere: no such folder"),
        (["data.train_split=trainvall"], 1, "no such image set; there are test, train, val"),
        (["data.classes=[cat,dogs]"], 1, "unknown class 'dog'; did you mean dogs?"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, words: list, code: int, message: str
) -> None:
    given = [] if words == ["data=voc"] else [f"data.root={root}"]
    assert run("train", *SMALL, *given, *words, f"hydra.run.dir={tmp_path}") == code
    printed = capsys.readouterr()
    last = (printed.out + printed.err).strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in printed.out + printed.err


def test_a_broken_annotation_names_its_file(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    broken = write_voc(tmp_path / "voc", {"train": {"a": []}, "test": {"b": []}})
    write_annotation(broken, "a", "<annotation><object></annotation>")
    words = [f"data.root={broken}", f"hydra.run.dir={tmp_path}/run"]
    assert run("train", *SMALL, *words) == 1
    assert re.search(r"error: .*a\.xml: not XML \(mismatched tag", capsys.readouterr().out)


def last(folder: Path) -> dict:
    return read_checkpoint(folder / "checkpoints" / "last.ckpt")


def test_a_run_starts_from_anothers_weights_and_says_which(
    trained: Path, root: Path, tmp_path: Path
) -> None:
    words = [f"data.root={root}", f"init.checkpoint={trained}", "optimizer.lr=0"]
    words += ["data.classes=[dog,bird,cat]", "trainer.max_steps=1"]
    assert run("train", *SMALL, *words, f"hydra.run.dir={tmp_path}/run") == 0
    said = (tmp_path / "run" / "train.log").read_text()
    assert "copied by class name: the background, dog, cat; starting new: bird" in said
    assert results(tmp_path / "run")["test/map_50"] > 0.5  # at rate 0 nothing else can teach it


def test_a_resume_wins_over_weights_to_start_from(
    trained: Path, root: Path, tmp_path: Path
) -> None:
    words = [*SMALL, f"data.root={root}", f"hydra.run.dir={tmp_path}/run"]
    assert run("train", *words, "trainer.max_steps=2") == 0
    again = ["resume=latest", f"init.checkpoint={trained}", "trainer.max_steps=3"]
    assert run("train", *words, *again) == 0
    said = (tmp_path / "run" / "train.log").read_text()
    assert f"resume wins: init.checkpoint={trained} is not read" in said
    assert "resumed at step 2" in said


def test_what_is_not_trainable_stays(trained: Path, root: Path, tmp_path: Path) -> None:
    words = [f"data.root={root}", f"init.checkpoint={trained}", "trainable=[heads]"]
    assert run("train", *SMALL, *words, f"hydra.run.dir={tmp_path}/run") == 0
    before = read_checkpoint(trained / "checkpoints" / "best.ckpt")["state_dict"]
    after = last(tmp_path / "run")["state_dict"]
    changed = {name.split(".")[1] for name in after if not torch.equal(before[name], after[name])}
    assert changed == {"heads"}
    assert "frozen" in (tmp_path / "run" / "train.log").read_text()


def test_two_stages_train_the_heads_first(trained: Path, root: Path, tmp_path: Path) -> None:
    words = [f"data.root={root}", f"init.checkpoint={trained}", "callbacks.freezing.step=2"]
    words += ["callbacks.last.keep=5", "save_every=2"]
    assert run("train", "experiment=two_stage", *SMALL, *words, f"hydra.run.dir={tmp_path}/r") == 0
    start = read_checkpoint(trained / "checkpoints" / "best.ckpt")["state_dict"]
    names = ["step_2.ckpt", "step_4.ckpt"]
    middle, end = (read_checkpoint(tmp_path / "r/checkpoints" / n)["state_dict"] for n in names)
    for name in (n for n in start if n.startswith("network.features") and "weight" in n):
        assert torch.equal(start[name], middle[name])
        assert not torch.equal(start[name], end[name])


def test_averaged_weights_are_scored_saved_and_left_alone_by_training(
    root: Path, tmp_path: Path
) -> None:
    words = [*SMALL, f"data.root={root}", "trainer.max_steps=6", "optimizer.lr=4e-3"]
    averaging = ["callbacks=[default,averaging]", f"hydra.run.dir={tmp_path}/averaged"]
    assert run("train", *words, f"hydra.run.dir={tmp_path}/plain") == 0
    assert run("train", *words, *averaging) == 0
    plain, averaged = last(tmp_path / "plain"), last(tmp_path / "averaged")
    for name, value in plain["state_dict"].items():
        assert torch.equal(value, averaged["current_model_state"][name]), name
    assert any(
        not torch.equal(v, averaged["state_dict"][n]) for n, v in plain["state_dict"].items()
    )
    score = [f"checkpoint={tmp_path}/averaged", f"hydra.run.dir={tmp_path}/score", "trainer=cpu"]
    assert run("evaluate", *score, "precision=32-true") == 0
    ours, again = results(tmp_path / "averaged"), results(tmp_path / "score")
    assert again["test/loss"] == pytest.approx(ours["test/loss"], rel=1e-6)
    assert abs(again["test/loss"] - results(tmp_path / "plain")["test/loss"]) > 1e-4


def test_averages_are_not_taken_for_weights_to_go_on_with(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = [*SMALL, f"data.root={root}", f"hydra.run.dir={tmp_path}/run"]
    assert run("train", *words, "callbacks=[default,averaging]") == 0
    assert run("train", *words, "callbacks=default", "resume=latest") == 2
    assert "its averaging is True, but this run's is False" in capsys.readouterr().out


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


def test_logging_never_changes_training(root: Path, tmp_path: Path) -> None:
    words = [*SMALL, f"data.root={root}", "augmentation=ssd", "trainer.max_steps=3"]
    much = ["callbacks=[default,histograms]", "logger=tensorboard", "trainer.log_every_n_steps=1"]
    little = ["~callbacks.examples", "~callbacks.augmented", "~callbacks.throughput"]
    little += ["~callbacks.progress", "trainer.log_every_n_steps=1000"]
    assert run("train", *words, *much, f"hydra.run.dir={tmp_path}/much") == 0
    assert run("train", *words, *little, f"hydra.run.dir={tmp_path}/little") == 0
    ours, theirs = (last(tmp_path / name)["state_dict"] for name in ("much", "little"))
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    assert (tmp_path / "much" / "examples" / "augmented.png").exists()
    assert not (tmp_path / "little" / "examples").exists()


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
