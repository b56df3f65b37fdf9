"""What a mistake costs: one line, an exit code, and nothing of what is done already."""

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from verbs import SMALL, results, run
from voc import SIZE, write_annotation, write_voc


def test_a_lone_checkpoint_without_data_is_an_error(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    lone = tmp_path / "lone.ckpt"
    lone.write_bytes((trained / "checkpoints" / "best.ckpt").read_bytes())
    assert run("evaluate", f"checkpoint={lone}", f"hydra.run.dir={tmp_path}/score") == 2
    assert "data=" in capsys.readouterr().out


def test_a_list_of_other_classes_than_a_checkpoints_is_an_error_that_shows_both(
    trained: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    names = tmp_path / "names.txt"
    words = [f"checkpoint={trained}", "data=voc", f"data.root={root}", f"data.classes={names}"]
    words += [f"hydra.run.dir={tmp_path}/score", "data.num_workers=0", "trainer=cpu"]
    names.write_text("cat\ndog\n")
    assert run("evaluate", *words) == 0
    names.write_text("dog\ncat\n")
    assert run("evaluate", *words) == 2
    message = "data.classes=['dog', 'cat'], but the checkpoint was trained on ['cat', 'dog']"
    assert message in capsys.readouterr().out


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
    assert run("train", *SMALL, f"data.root={root}", f"hydra.run.dir={trained}") == 2
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
        (["compile=fast"], 2, "compile=fast: give true, or arguments"),
        (["compile={mode:fast}"], 2, "compile={'mode': 'fast'}: Unrecognized mode"),
        (["compile={speed:3}"], 2, "compile={'speed': 3}: "),
        (["compile={backend:fast}"], 2, "compile={'backend': 'fast'}: "),
        (["trainer.max_steps=0"], 2, "trainer.max_steps=0 trains nothing"),
        (["val_every=0"], 2, "val_every=0: give a number of at least 1"),
        (["optimizer.lr=abc"], 2, "optimizer.lr=abc: give a number"),
        (["monitor=val/mapp"], 2, "monitor=val/mapp: give one of val/map_voc07, val/map_voc12"),
        (["callbacks=averaging"], 2, "no checkpoint is kept; add default, as in [default,avera"),
        (["trainable=[heads]"], 2, "freeze weights that have learned nothing"),
        (["init.exclude=[heads]"], 2, "of no use without init.checkpoint="),
        (["init.missing=ignor"], 2, "of no use without init.checkpoint="),
        (["init.checkpoint=/nowhere"], 2, "init.checkpoint: /nowhere: no such checkpoint"),
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
        (["data.classes=[1,no]"], 2, "data.classes=[1, 'no']: 1 is no text but int; put it in quo"),
        (["data.rename=5"], 2, "data.rename=5: give each name and what it becomes, as in"),
        (["data.rename={dogs: puppy}"], 2, "unknown class 'dogs', did you mean dog?"),
        (["data.more=[other]"], 2, "data.more=['other']: give each as {root: DIR}, not other"),
        (["data.train_split=2007"], 2, "data.train_split=2007: 2007 is no text but int"),
        (["data.root=/nowhere"], 1, "/nowhere: no such folder"),
        (["data.train_split=trainvall"], 1, "no such image set; there are test, train, val"),
        (["data.classes=[cat,dogs]"], 1, "unknown class 'dog', did you mean dogs?"),
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
    assert re.search(
        r"error: .*a\.xml: not XML that can be read \(mismatched tag", capsys.readouterr().out
    )
