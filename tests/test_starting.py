"""Where a run starts: from another's weights, from its own checkpoint, with some of it frozen."""

import shutil
from pathlib import Path

import pytest
import torch
from networks import publish
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from verbs import SMALL, last, metrics, results, run

from ssd.weights.__main__ import main as convert
from ssd.weights.checkpoints import read_checkpoint
from ssd.weights.files import write_file


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


def other_words(model: str) -> list[str]:
    """SMALL for another model, at the size that makes it quick."""
    own = [word for word in SMALL if not word.startswith("model.")]
    return [*own, f"model={model}", "model.image_size=64"]


def test_weights_are_fetched_for_a_start_and_not_for_a_resume(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = MobileNet_V2_Weights.IMAGENET1K_V1
    cached = publish(mobilenet_v2().state_dict(), entry, tmp_path, monkeypatch)
    words = [*other_words("ssdlite320_mobilenet_v2"), f"data.root={root}", "data.test_split=null"]
    words.append(f"hydra.run.dir={tmp_path}/run")
    assert run("train", *words, "trainer.max_steps=1", "val_every=1") == 0
    cached.rename(tmp_path / "gone.pth")
    monkeypatch.setattr(entry.value, "url", (tmp_path / "none-00000000.pth").as_uri())
    assert run("train", *words, "trainer.max_steps=2", "val_every=1", "resume=latest") == 0
    assert last(tmp_path / "run")["global_step"] == 2
    start = [f"init.checkpoint={tmp_path}/run", f"hydra.run.dir={tmp_path}/other"]
    assert run("train", *words, "trainer.max_steps=1", "val_every=1", *start) == 0


def test_another_projects_weights_are_scored_and_trained_on(root: Path, tmp_path: Path) -> None:
    theirs = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = tmp_path / "ours.ckpt"
    convert([str(tmp_path / "theirs.pth"), str(ours), "--classes", "dog,horse"])
    words = [*other_words("ssdlite320_mobilenet_v3"), f"data.root={root}"]
    words += ["model.reduced_tail=true", "model.pretrained=false", f"hydra.run.dir={tmp_path}/run"]
    assert run("train", *words, "trainer.max_steps=2", f"init.checkpoint={ours}") == 0
    log = (tmp_path / "run" / "train.log").read_text()
    assert "copied by class name: the background, dog; starting new: cat" in log
    score = ["trainer=cpu", f"hydra.run.dir={tmp_path}/score", "detecting.score_threshold=0.4"]
    data = ["data=voc", f"data.root={root}", "data.test_split=test", "data.bad_box=drop"]
    assert run("evaluate", f"checkpoint={ours}", *data, *score) == 1  # its dogs and horses
    convert([str(tmp_path / "theirs.pth"), f"{ours}2", "--classes", "cat,dog"])
    assert run("evaluate", f"checkpoint={ours}2", *data, *score) == 0
    assert results(tmp_path / "score")["checkpoint"] == f"{ours}2"


@pytest.fixture(scope="module")
def ended(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four steps, with checkpoints of two of them."""
    folder = tmp_path_factory.mktemp("ended") / "run"
    words = [*SMALL, f"data.root={root}", f"hydra.run.dir={folder}", "callbacks.last.keep=3"]
    assert run("train", *words, "~callbacks.examples", "~callbacks.augmented") == 0
    return folder


def go_on(folder: Path, *words: str) -> Path:
    assert run("train", f"hydra.run.dir={folder}", "resume=latest", *words) == 0
    return folder


def test_a_finished_run_that_is_started_again_keeps_its_results(
    ended: Path, tmp_path: Path
) -> None:
    again = go_on(shutil.copytree(ended, tmp_path / "run"))
    for name in ("results.json", "metrics.csv"):
        assert (again / name).read_text() == (ended / name).read_text()
    said = (again / "train.log").read_text()
    assert "nothing left to do: the run has had its 4 steps, and has its results" in said


def test_a_run_that_was_stopped_before_its_results_writes_them_all(
    ended: Path, tmp_path: Path
) -> None:
    again = shutil.copytree(ended, tmp_path / "run")
    (again / "results.json").unlink()
    before, after = results(ended), results(go_on(again))
    timed = {"wall_seconds", "images_per_second"}
    numbers = {name for name, value in before.items() if isinstance(value, float)} - timed
    assert {name: after[name] for name in numbers} == pytest.approx(
        {name: before[name] for name in numbers}, rel=1e-6
    )
    for name in before.keys() - numbers - timed:
        assert after[name] == before[name]
    assert after.keys() == before.keys()


def test_a_run_taken_back_goes_on_from_there_whatever_it_had_before(
    ended: Path, tmp_path: Path, root: Path
) -> None:
    folder = shutil.copytree(ended, tmp_path / "run")
    words = [*SMALL, f"data.root={root}", f"hydra.run.dir={folder}", "callbacks.last.keep=3"]
    words += [f"resume={folder}/checkpoints/step_2.ckpt", "scheduler=constant"]
    assert run("train", *words, "trainer.max_steps=3", "data.test_split=null") == 0
    assert last(folder)["global_step"] == 3
    left = sorted(path.name for path in (folder / "checkpoints" / "left_behind").iterdir())
    assert left[-2:] == ["last.ckpt", "step_4.ckpt"]
    go_on(folder, "trainer.max_steps=4")
    for name, value in last(folder)["state_dict"].items():
        assert torch.equal(value, last(ended)["state_dict"][name]), name


def test_a_finished_runs_checkpoint_has_nothing_left_for_another_folder(
    ended: Path, tmp_path: Path, root: Path
) -> None:
    words = [*SMALL, f"data.root={root}", f"hydra.run.dir={tmp_path}"]
    assert run("train", *words, f"resume={ended}/checkpoints/last.ckpt") == 2
    failed = (tmp_path / "failed.txt").read_text()
    assert failed.endswith("last.ckpt: has all of its 4 steps; raise trainer.max_steps\n")


def test_a_refused_run_says_of_the_one_before_no_failure(ended: Path, root: Path) -> None:
    assert run("train", *SMALL, f"data.root={root}", f"hydra.run.dir={ended}") == 2
    assert not (ended / "failed.txt").exists()


def test_a_run_whose_checkpoints_do_not_tell_their_bests_step_goes_on(
    ended: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(ended, tmp_path / "run")
    checkpoint = last(folder)
    for name, state in checkpoint["callbacks"].items():
        if name.startswith("BestCheckpoint"):
            del state["best_step"]
    write_file(checkpoint, folder / "checkpoints" / "last.ckpt")
    go_on(folder, "trainer.max_steps=5")
    assert last(folder)["global_step"] == 5


def test_a_signal_after_the_last_step_leaves_the_test_to_the_resumed_run(
    ended: Path, tmp_path: Path, root: Path
) -> None:
    folder = tmp_path / "run"
    kill = "{_target_:test_stopping.KillIn,_args_:[on_validation_end,4,15]}"
    words = [*SMALL, f"data.root={root}", f"hydra.run.dir={folder}", "callbacks.last.keep=3"]
    assert run("train", *words, f"+callbacks.kill={kill}") == 143
    assert "test/map" not in results(folder)
    go_on(folder, "~callbacks.kill")
    assert results(folder)["test/map"] == results(ended)["test/map"]
    tested = [[row["step"] for row in metrics(run) if row["test/map"]] for run in (folder, ended)]
    assert tested[0] == tested[1]
