"""The page in the browser, by the calls that a browser makes."""

import os
import re
import runpy
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from verbs import ROOT, run

import ssd

gradio = pytest.importorskip("gradio")
demo = runpy.run_path(str(ROOT / "demo.py"))


@pytest.fixture(scope="module")
def picture(root: Path) -> Path:
    return root / "JPEGImages" / "t.png"


@pytest.fixture(scope="module")
def page(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("page")))
        # the client, which the page does without, would ask a web site who it is
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        built = demo["build_page"](lambda: [str(trained)], ssd.load, 0.5)
        address = demo["launch"](built, "127.0.0.1", None)
        from gradio_client import Client

        yield Client(address, verbose=False)
        built.close(verbose=False)


def shown(page: Any, picture: Path, checkpoint: Path, score: float) -> tuple[Any, str, list]:
    from gradio_client import handle_file

    page.predict(handle_file(str(picture)), str(checkpoint), api_name="/look")
    drawing, said, table = page.predict(handle_file(str(picture)), score, api_name="/show")
    return drawing, said, table["data"]


def test_a_picture_gets_its_boxes_a_table_and_a_line(
    page: Any, picture: Path, trained: Path
) -> None:
    found = ssd.load(trained).detect(picture, score=0.5)
    drawing, said, table = shown(page, picture, trained, 0.5)
    assert [row[0] for row in table] == found["names"] == ["cat"]
    corners = [float(text) for text in table[0][2:]]
    torch.testing.assert_close(torch.tensor(corners), found["boxes"][0], atol=0.06, rtol=0)
    assert said.startswith("1 cat of score 0.50 and more")
    assert Image.open(drawing).size != Image.open(picture).size  # enlarged, to be read


def test_the_threshold_chooses_among_what_was_found(
    page: Any, picture: Path, trained: Path
) -> None:
    _, _, many = shown(page, picture, trained, 0.0)
    _, said, none = shown(page, picture, trained, 1.0)
    assert len(many) == len(ssd.load(trained).detect(picture, score=None)["scores"])
    assert none == []
    assert re.match(r"Nothing of score 1\.00 and more; the best has 0\.\d\d \(", said)


def test_what_is_no_picture_is_said_in_one_line(page: Any, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(Exception, match=r"cannot identify image file"):
        shown(page, tmp_path / "a.png", trained, 0.5)


def test_a_checkpoint_that_is_not_offered_is_not_opened(page: Any, picture: Path) -> None:
    with pytest.raises(Exception, match=r"not in the list of choices|no such checkpoint"):
        shown(page, picture, Path("/etc/passwd"), 0.5)


def test_runs_are_offered_newest_first_and_the_given_one_before_them(tmp_path: Path) -> None:
    for age, name in ((10, "runs/old"), (5, "runs/sweep/0"), (1, "other")):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        for file in ("best.ckpt", "last.ckpt"):
            (tmp_path / name / "checkpoints" / file).touch()
            os.utime(tmp_path / name / "checkpoints" / file, (1e9 - age, 1e9 - age))
    runs = [tmp_path / "runs"]
    names = [str(tmp_path / "runs" / name) for name in ("sweep/0", "old")]
    assert demo["checkpoints"](None, runs) == names
    assert demo["checkpoints"](names[1], runs) == names[::-1]
    assert demo["checkpoints"](None, [tmp_path / "nothing"]) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score=2"], "score=2: must be from 0 to 1"),
        (["runs=[nowhere]"], "no run below nowhere has a checkpoint; train one, or give"),
        (["checkpoint=nowhere"], "nowhere"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("demo", *words, "hydra.run.dir=out")
    printed = capsys.readouterr()
    assert message in printed.out + printed.err
    assert "Traceback" not in printed.out + printed.err


def test_a_port_that_is_taken_is_one_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = [f"checkpoint={trained}", f"port={port}", f"hydra.run.dir={tmp_path}"]
        assert run("demo", *words) == 2
    assert f"port={port}: is taken" in capsys.readouterr().out


def test_without_gradio_it_says_what_to_install(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert run("demo", f"checkpoint={trained}", f"hydra.run.dir={tmp_path}") == 1
    assert "gradio is missing: pip install -r requirements-extras.txt" in capsys.readouterr().out
