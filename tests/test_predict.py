"""predict.py as a user runs it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from verbs import results, run
from videos import write_video

from ssd.data.videos import open_video

CPU = ["device=cpu", "precision=32-true"]


def predict(checkpoint: Path, source: Path | str, output: Path, *words: str) -> int:
    return run(
        "predict", f"checkpoint={checkpoint}", f"source={source}", f"output={output}", *CPU, *words
    )


def loaded(path: Path) -> list[dict]:
    return json.loads(path.read_text())


@pytest.fixture
def pictures(root: Path, tmp_path: Path) -> Path:
    """The three test pictures of the data set, which lie there with others."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("t", "u", "empty"):
        shutil.copy(root / "JPEGImages" / f"{name}.png", folder)
    return folder


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_results_are_those_of_evaluate(
    trained: Path, root: Path, pictures: Path, tmp_path: Path, precision: str
) -> None:
    words = [f"precision={precision}", "hydra.run.dir=" + str(tmp_path / "score"), "trainer=cpu"]
    assert run("evaluate", f"checkpoint={trained}", "data=voc", f"data.root={root}", *words) == 0
    assert predict(trained, pictures, tmp_path / "out", "score=null", words[0]) == 0
    expected = loaded(tmp_path / "score" / "predictions.json")
    found = loaded(tmp_path / "out" / "coco" / "predictions.json")
    order = {2: 1, 3: 2, 1: 3}  # by name, where the split has t, u, empty
    found.sort(key=lambda one: order[one["image_id"]])
    assert len(found) > 3
    for one, other in zip(found, expected, strict=True):
        assert order[one["image_id"]] == other["image_id"]
        assert one["category_id"] == other["category_id"]
        assert (one["score"], one["bbox"]) == (other["score"], other["bbox"])


def test_a_run_leaves_pictures_annotations_and_what_it_did(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert predict(trained, pictures, out, "formats=[coco,voc,yolo,csv]") == 0
    assert sorted(path.name for path in (out / "pictures").iterdir()) == [
        "empty.jpg",
        "t.jpg",
        "u.jpg",
    ]
    assert all((out / format).is_dir() for format in ("coco", "voc", "yolo", "csv"))
    content = results(out)
    assert (content["images"], content["detections"]) == (3, {"cat": 1, "dog": 1})
    assert content["images_per_second"] > 0
    printed = capsys.readouterr().out
    assert "3 pictures, 2 detections (1 cat, 1 dog)" in printed
    assert "pictures a second" in printed
    assert printed.rstrip().endswith(str(out))


def test_what_was_predicted_can_be_trained_on(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert predict(trained, pictures, tmp_path / "out", "formats=[yolo]", "draw=false") == 0
    data = [f"data.root={tmp_path}/out/yolo", f"output={tmp_path}/doctor"]
    assert run("doctor", "data=auto", *data) == 0
    assert "cat" in capsys.readouterr().out


def test_drawn_pictures_have_boxes(trained: Path, pictures: Path, tmp_path: Path) -> None:
    assert predict(trained, pictures / "t.png", tmp_path / "out") == 0
    drawn = np.array(Image.open(tmp_path / "out" / "pictures" / "t.jpg").resize((60, 40)))
    plain = np.array(Image.open(pictures / "t.png"))
    assert drawn.shape == plain.shape
    assert (np.abs(drawn.astype(int) - plain).max(axis=2) > 60).any()


def test_pictures_of_one_name_do_not_collide(trained: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "below").mkdir()
    shutil.copy(pictures / "u.png", pictures / "below" / "t.png")
    Image.open(pictures / "u.png").save(pictures / "t.bmp")
    out = tmp_path / "out"
    assert predict(trained, pictures, out) == 0
    drawn = {path.relative_to(out / "pictures").as_posix() for path in out.rglob("pictures/**/*.*")}
    assert drawn == {"below/t.jpg", "empty.jpg", "t.jpg", "t_2.jpg", "u.jpg"}
    content = json.loads((out / "coco" / "annotations" / "instances_train.json").read_text())
    names = [image["file_name"] for image in content["images"]]
    assert names == ["below/t.png", "empty.png", "t.bmp", "t.png", "u.png"]
    by_image = {names[one["image_id"] - 1]: one for one in content["annotations"]}
    assert by_image["below/t.png"]["category_id"] == by_image["u.png"]["category_id"] == 2
    assert by_image["t.png"]["category_id"] == 1


def test_an_unreadable_picture_is_named_and_passed_over(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    assert predict(trained, pictures, tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "passed over" in printed
    assert "broken.jpg" in printed
    assert "1 picture could not be read" in printed
    content = results(tmp_path / "out")
    assert (content["images"], list(content["unreadable"])) == (3, ["broken.jpg"])
    ids = [one["image_id"] for one in loaded(tmp_path / "out" / "coco" / "predictions.json")]
    assert ids == [3, 4]  # t and u, whether broken.jpg can be read or not


def test_where_no_picture_can_be_read_the_exit_code_says_so(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    assert predict(trained, tmp_path / "a.jpg", tmp_path / "out") == 1


def test_an_earlier_result_is_kept_unless_told_otherwise(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert predict(trained, pictures, out) == 0
    before = (out / ".hydra" / "overrides.yaml").read_text()
    assert predict(trained, pictures / "t.png", out) == 2
    assert "overwrite=true" in capsys.readouterr().out
    assert (out / "pictures" / "u.jpg").is_file()
    assert (out / ".hydra" / "overrides.yaml").read_text() == before
    assert predict(trained, pictures / "t.png", out, "overwrite=true") == 0
    assert [path.name for path in (out / "pictures").iterdir()] == ["t.jpg"]


def test_a_folder_of_someones_own_is_never_overwritten(
    trained: Path, pictures: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own" / "pictures" / "mine.jpg"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    assert predict(trained, pictures, tmp_path / "own", "overwrite=true") == 2
    assert own.read_text() == "mine"
    assert predict(trained, tmp_path, tmp_path / "other") == 2  # would be among its own pictures


@pytest.mark.parametrize(
    ("source", "words", "code", "why"),
    [
        ("nothing.jpg", [], 2, "no such file or folder"),
        ("*.jpg", [], 2, "no images there"),
        ("t.png", ["formats=[xml]"], 2, "xml is none of coco, voc, yolo, csv"),
        ("t.png", ["score={cow:0.5,default:0.1}"], 2, "unknown class 'cow'"),
        ("t.png", ["score=high"], 2, "score=high: give a number"),
        ("t.png", ["device=cuda:99"], 2, "device=cuda:99"),
        ("t.png", ["tiles=2"], 2, "tiles=2"),
        ("t.png", ["checkpoint=t.png"], 1, "t.png"),
        ("t.png", ["checkpoint=nowhere.ckpt"], 1, "nowhere.ckpt"),
        ("film.mp4", [], 2, "no such file"),
        ("broken.mp4", [], 1, "broken.mp4: not a video"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_results(
    trained: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    source: str,
    words: list[str],
    code: int,
    why: str,
) -> None:
    (pictures / "broken.mp4").write_bytes(b"no video" * 50)
    assert predict(trained, pictures / source, tmp_path / "out", *words) == code
    errors = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert why in errors[0]
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {".hydra", "failed.txt", "predict.log"}


@pytest.fixture
def film(root: Path, tmp_path: Path) -> Path:
    """The cat, the dog and nothing, four frames each."""
    shots = [np.array(Image.open(root / "JPEGImages" / f"{name}.png")) for name in ("t", "u")]
    shots.append(np.full_like(shots[0], 100))
    return write_video(tmp_path / "film.avi", [shot for shot in shots for _ in range(4)], rate=8)


def test_a_video_is_drawn_and_written_frame_by_frame(
    trained: Path, film: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert predict(trained, film, out, "formats=[coco,csv]", "batch_size=5") == 0
    content = json.loads((out / "coco" / "annotations" / "instances_train.json").read_text())
    assert [image["frame"] for image in content["images"]] == list(range(12))
    assert content["images"][4]["seconds"] == pytest.approx(0.5)
    names = {1: "cat", 2: "dog"}
    seen = [(one["image_id"] - 1, names[one["category_id"]]) for one in content["annotations"]]
    assert seen == [(n, "cat") for n in range(4)] + [(n, "dog") for n in range(4, 8)]
    with open_video(out / "pictures" / "film.webm") as video:
        assert (video.rate, len(list(video.frames))) == (8, 12)
    assert results(out)["images"] == 12


def test_a_video_needs_not_be_drawn(trained: Path, film: Path, tmp_path: Path) -> None:
    assert predict(trained, film, tmp_path / "out", "draw=false", "formats=[csv]") == 0
    assert not (tmp_path / "out" / "pictures").exists()
    assert len((tmp_path / "out" / "csv" / "train.csv").read_text().splitlines()) == 1 + 12


def test_tiles_flip_and_agnostic_nms_work_together(
    trained: Path, root: Path, tmp_path: Path
) -> None:
    parts = [np.array(Image.open(root / "JPEGImages" / f"{name}.png")) for name in ("t", "u")]
    Image.fromarray(np.concatenate(parts, axis=1)).save(tmp_path / "wide.png")
    words = ["tiles=60", "flip=true", "nms=agnostic", "tile_whole=false", "formats=[csv]"]
    assert predict(trained, tmp_path / "wide.png", tmp_path / "out", *words) == 0
    rows = (tmp_path / "out" / "csv" / "train.csv").read_text().splitlines()[1:]
    assert sorted(row.split(",")[3] for row in rows) == ["cat", "dog"]


def test_a_glob_chooses_pictures(trained: Path, pictures: Path, tmp_path: Path) -> None:
    assert predict(trained, f"{pictures}/?.png", tmp_path / "out") == 0
    assert results(tmp_path / "out")["images"] == 2


def test_the_output_may_not_lie_where_a_glob_would_find_it(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (pictures / "below").mkdir()
    shutil.copy(pictures / "t.png", pictures / "below")
    assert predict(trained, f"{pictures}/b*/*.png", pictures / "g") == 2
    assert predict(trained, f"{pictures}/**/t.png", pictures / "below" / "g") == 2
    assert "give output= another folder" in capsys.readouterr().out
    assert predict(trained, f"{pictures}/t.png", pictures / "one", "formats=[]") == 0


def test_what_is_not_taken_is_counted(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("a.mp4", "b.MOV", "c.heic", "notes.txt"):
        (pictures / name).write_text("")
    assert predict(trained, pictures, tmp_path / "out", "draw=false") == 0
    printed = capsys.readouterr().out
    assert "videos (2)" in printed
    assert "not read (1): .heic" in printed
    assert predict(trained, f"{pictures}/*.mp4", tmp_path / "other") == 2
    assert "each is given alone" in capsys.readouterr().out


def test_a_picture_that_cannot_be_drawn_keeps_its_detections(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copy(pictures / "t.png", pictures / f"{'l' * 251}.png")  # there is room for .jpg
    Image.open(pictures / "t.png").save(pictures / f"{'l' * 251}.gif")  # and none for _2.jpg
    out = tmp_path / "out"
    assert predict(trained, pictures, out) == 0
    assert len(list((out / "pictures").iterdir())) == 4
    assert (results(out)["images"], len(results(out)["undrawn"])) == (5, 1)
    assert len(loaded(out / "coco" / "predictions.json")) == 4
    assert "1 picture could not be drawn" in capsys.readouterr().out


@pytest.mark.parametrize("source", ["t.png", "broken.mp4"])
def test_a_folder_of_another_run_stays_as_it_is(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture, source: str
) -> None:
    (pictures / "broken.mp4").write_bytes(b"no video" * 50)
    run_dir = tmp_path / "run"
    for name in (".hydra/config.yaml", ".hydra/overrides.yaml", "checkpoints/last.ckpt"):
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir / name).write_text("- mine")
    assert predict(trained, pictures / source, run_dir, "overwrite=true") == 2
    assert f"output={run_dir}: is another run's" in capsys.readouterr().out
    assert {
        (run_dir / ".hydra" / f"{name}.yaml").read_text() for name in ("config", "overrides")
    } == {"- mine"}


@pytest.mark.parametrize("quote", ["", "'"])
def test_the_output_may_be_at_home(
    trained: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quote: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    out = f"{quote}~/out{quote}"
    assert predict(trained, pictures / "t.png", out, "formats=[]", "draw=false") == 0
    assert results(tmp_path / "out")["images"] == 1


def test_a_class_that_is_a_number_is_looked_for_as_text(
    trained: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert predict(trained, pictures, tmp_path / "out", "score={0:0.3,default:0.5}") == 2
    assert "unknown class '0'" in capsys.readouterr().out
