"""Exports as a user makes and runs them."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import make_network
from PIL import Image
from torch import Tensor
from verbs import run
from voc import annotation, write_annotation, write_voc

from ssd.data.images.reading import read_image
from ssd.data.transforms import resize
from ssd.errors import ConfigError
from ssd.export.pictures import batches, spread
from ssd.export.running import open_onnx, open_torch_export, run_network
from ssd.export.sidecar import beside, check_replaceable
from ssd.export.writing import write_onnx_head
from ssd.weights.checkpoints import build_network, read_checkpoint

pytest.importorskip("onnxscript", reason="requirements-extras.txt is not installed")
pytest.importorskip("onnxruntime", reason="as above")
onnx = pytest.importorskip("onnx", reason="as above")

BLOCKED = ("torch", "torchvision", "ssd", "cv2", "pytorch_lightning", "hydra", "matplotlib", "onnx")


def export(trained: Path, folder: Path, *words: str) -> int:
    return run("export", f"checkpoint={trained}", f"hydra.run.dir={folder}", *words)


def sidecar(file: Path) -> dict:
    return json.loads(file.with_name(f"{file.name}.json").read_text())


def noise(images: int) -> Tensor:
    return torch.randint(0, 256, (images, 3, 64, 64), dtype=torch.uint8)


def painted(root: Path, names: str = "tu") -> Tensor:
    """Pictures with an object each, as the network takes them."""
    pixels = [resize(read_image(root / "JPEGImages" / f"{name}.png"), (64, 64)) for name in names]
    return torch.stack([torch.from_numpy(one).permute(2, 0, 1) for one in pixels])


def in_pytorch(trained: Path, images: Tensor, detects: bool = True) -> dict[str, Tensor]:
    checkpoint = read_checkpoint(trained / "checkpoints" / "best.ckpt")
    detecting = checkpoint["ssd"]["detecting"] if detects else None
    return run_network(build_network(checkpoint), detecting)(images)


def assert_the_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """But for detections that are padding, or nearly so weak as those that are left out."""
    for name, column in expected.items():
        strong = expected["scores"] > 0.05
        theirs = found[name][:, : strong.shape[1]]
        torch.testing.assert_close(theirs[strong], column[strong], atol=1e-4, rtol=1e-4)
        assert ((found["scores"] > 0.05).sum(dim=1) == strong.sum(dim=1)).all()


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of the run that learned its pictures by heart."""
    folder = tmp_path_factory.mktemp("onnx")
    assert export(trained, folder) == 0
    return folder / "detector.onnx"


@pytest.mark.parametrize("images", [1, 3])
def test_an_onnx_file_detects_what_pytorch_does(
    trained: Path, root: Path, exported: Path, images: int
) -> None:
    given = painted(root, "tuv"[:images])
    expected = in_pytorch(trained, given)
    assert (expected["scores"] > 0.5).any()
    assert_the_same(open_onnx(exported)(given), expected)


def test_a_sidecar_says_what_the_file_is(trained: Path, exported: Path) -> None:
    said = sidecar(exported)
    assert said["classes"] == ["cat", "dog"]
    assert said["input"] == {"name": "images", "dtype": "uint8", "shape": ["batch", 3, 64, 64]}
    assert [(one["name"], one["dtype"]) for one in said["outputs"]] == [
        ("boxes", "float32"),
        ("scores", "float32"),
        ("labels", "int64"),
    ]
    assert said["detecting"]["score_threshold"] == 0.01
    assert said["checkpoint"]["path"] == str(trained / "checkpoints" / "best.ckpt")
    assert said["bytes"] == exported.stat().st_size
    compared = said["compared_with_pytorch"]
    assert compared["pictures"] == 3
    assert compared["max_score_difference"] < 1e-4
    assert compared["map"]["exported"] == pytest.approx(compared["map"]["pytorch"], abs=1e-4)


def test_nothing_else_is_left(exported: Path) -> None:
    names = {path.name for path in exported.parent.iterdir()}
    assert names == {".hydra", "export.log", "detector.onnx", "detector.onnx.json", "run_onnx.py"}


def test_the_last_line_is_the_file(exported: Path) -> None:
    assert (exported.parent / "export.log").read_text().splitlines()[-1].endswith(str(exported))


def test_the_raw_head_is_what_the_network_says(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "head.onnx"
    words = ["nms=false", f"output={file}", "opset=20", "batch_size=2"]
    assert export(trained, tmp_path / "run", *words) == 0
    found, expected = open_onnx(file)(noise(2)), None
    assert list(found) == ["logits", "offsets", "anchors"]
    assert sidecar(file)["input"]["shape"] == [2, 3, 64, 64]
    assert onnx.load(file).opset_import[0].version == 20
    given = noise(2)
    found, expected = open_onnx(file)(given), in_pytorch(trained, given, detects=False)
    for name, column in expected.items():
        torch.testing.assert_close(found[name], column, atol=1e-3, rtol=1e-4)
    assert not (tmp_path / "run_onnx.py").exists()


@pytest.mark.parametrize("images", [1, 3])
def test_torch_loads_what_it_exported(trained: Path, root: Path, traced: Path, images: int) -> None:
    given = painted(root, "tuv"[:images])
    assert_the_same(open_torch_export(traced)(given), in_pytorch(trained, given))


@pytest.fixture(scope="module")
def traced(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pt2") / "cats.pt2"
    assert export(trained, file.parent / "run", "format=torch_export", f"output={file}") == 0
    return file


@pytest.fixture(scope="module")
def int8(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    words = ["int8=true", "calibration_images=6", "max_map_drop=0.2"]
    assert export(trained, folder, *words) == 0
    return folder / "detector_int8.onnx"


def test_int8_computes_in_int8_and_is_held_to_its_map(int8: Path, exported: Path) -> None:
    kinds = {tensor.data_type for tensor in onnx.load(int8).graph.initializer if tensor.dims}
    assert onnx.TensorProto.INT8 in kinds
    assert int8.stat().st_size < 0.6 * exported.stat().st_size
    said = sidecar(int8)
    assert said["int8"] == {"calibration_images": 6}
    assert said["compared_with_pytorch"]["map_50"]["exported"] > 0.5


@pytest.mark.parametrize(
    "words",
    [
        ["max_box_difference=-1"],
        ["max_map_drop=-1", "pictures=3", "batch_size=1"],
        ["detecting.score_threshold=1"],
    ],
    ids=str,
)
def test_an_export_too_far_from_pytorch_leaves_what_was_there(
    trained: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "cats.pt2"
    file.write_text("of before")
    (tmp_path / "cats.pt2.json").write_text('{"sidecar": 1}')  # an export's
    words = [*words, "format=torch_export", "nms=false", f"output={file}"]
    assert export(trained, tmp_path / "run", *words) == 1
    assert {path.name for path in tmp_path.iterdir()} == {file.name, "cats.pt2.json", "run"}
    assert file.read_text() == "of before"
    assert capsys.readouterr().out.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("name", ["cats.onnx", "cats.onnx.json", "run_onnx.py"])
def test_what_no_export_wrote_is_not_overwritten(
    trained: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / name).write_text("{}")
    assert export(trained, tmp_path / "run", f"output={tmp_path / 'cats.onnx'}") == 2
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"would overwrite {tmp_path / name}, which no export wrote" in last
    assert (tmp_path / name).read_text() == "{}"


def test_an_export_may_be_replaced(exported: Path) -> None:
    check_replaceable(exported, runner=True)


def test_an_export_stands_for_no_file_of_another_format(exported: Path, tmp_path: Path) -> None:
    for path in (exported, beside(exported)):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    theirs = tmp_path / "detector.pt2"
    theirs.write_text("a person's")
    with pytest.raises(ConfigError, match=r"detector\.pt2, which no export wrote"):
        check_replaceable(theirs, runner=False)


def test_a_lone_checkpoint_is_compared_on_pictures(
    trained: Path, root: Path, tmp_path: Path
) -> None:
    lone = tmp_path / "lone.ckpt"
    lone.write_bytes((trained / "checkpoints" / "last.ckpt").read_bytes())
    words = [f"source={root}/JPEGImages", "pictures=2", "format=torch_export"]
    assert export(lone, tmp_path / "run", *words, "nms=false") == 0
    compared = sidecar(tmp_path / "run" / "detector.pt2")["compared_with_pytorch"]
    assert (compared["pictures"], compared["map"]) == (2, None)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["format=tflite"], 2, "format=tflite"),
        (["format=torch_export", "int8=true"], 2, "format=onnx"),
        (["output=nowhere/cats.onnx"], 2, "nowhere"),
        (["output=cats.pt2"], 2, ".onnx"),
        (["opset=7"], 2, "opset=7"),
        (["batch_size=0"], 2, "batch_size=0"),
        (["pictures=0"], 2, "pictures=0"),
        (["split=tst"], 2, "split=tst"),
        (["source=nowhere"], 2, "source=nowhere"),
        (["source=cats.jpg", "int8=true"], 2, "source=cats.jpg"),
        (["detecting.iou_threshold=-1"], 2, "detecting.iou_threshold=-1: give a number from 0 to"),
        (["detecting.score_threshold=-0.5"], 2, "detecting.score_threshold=-0.5"),
        (["detecting.score_threshold=1.5"], 2, "detecting.score_threshold=1.5"),
        (["detecting.detections_per_image=0"], 2, "detecting.detections_per_image=0"),
        (["detecting.detections_per_image=2.5"], 2, "detections_per_image=2.5: give a whole"),
        (["detecting.candidates_per_class=0", "nms=false"], 2, "detecting.candidates_per_class=0"),
        (["detecting.union_margin=1e-5"], 2, "nms=false"),
        (["checkpoint=nowhere.ckpt"], 1, "nowhere.ckpt"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(
    trained: Path,
    tmp_path: Path,
    words: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture,
) -> None:
    words = [f"checkpoint={trained}", *words, f"hydra.run.dir={tmp_path}"]
    if any(word.startswith("checkpoint=") for word in words[1:]):
        words = words[1:]
    assert run("export", *words) == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last


@pytest.mark.parametrize("difficult", [False, True])
def test_int8_is_refused_where_its_pictures_have_no_map(
    trained: Path, tmp_path: Path, difficult: bool, capsys: pytest.CaptureFixture
) -> None:
    first = [("cat", 8, 5, 32, 34)] if difficult else []
    dog = [("dog", 33, 8, 57, 37)]
    root = write_voc(
        tmp_path / "voc", {"train": {"other": dog}, "test": {"a": first, "longer": dog}}
    )
    write_annotation(root, "a", annotation(first, difficult="1"))
    words = ["data=voc", f"data.root={root}", "int8=true", "pictures=1"]
    assert export(trained, tmp_path / "run", *words) == 2
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("error: int8 is held to its mAP, and pictures=1 of split=test")


@pytest.mark.parametrize("content", [b"", b"no weights", None], ids=["empty", "text", "weights"])
def test_a_checkpoint_of_another_kind_is_one_line(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "other.ckpt"
    if content is None:
        torch.save({"layer.weight": torch.zeros(3)}, file)
    else:
        file.write_bytes(content)
    assert export(file, tmp_path / "run") == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("error: ")
    assert "other.ckpt" in last


def test_a_lone_checkpoint_without_pictures_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    lone = tmp_path / "lone.ckpt"
    lone.write_bytes((trained / "checkpoints" / "last.ckpt").read_bytes())
    assert export(lone, tmp_path / "run") == 2
    assert "source=FOLDER" in capsys.readouterr().out


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_one_line(
    trained: Path,
    tmp_path: Path,
    package: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert export(trained, tmp_path) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"error: {package} is missing: pip install -r requirements-extras.txt"


def test_other_networks_say_in_onnx_what_they_say_in_pytorch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    changes = {"width": 0.25, "top_down": 16, "separable_heads": True, "finer_levels": 1}
    network = make_network("small", 3, image_size=64, **changes).eval()
    write_onnx_head(network, None, 18, tmp_path / "head.onnx")
    given = noise(1)
    expected = run_network(network, None)(given)
    for name, column in open_onnx(tmp_path / "head.onnx")(given).items():
        torch.testing.assert_close(column, expected[name], atol=1e-4, rtol=1e-3)


def test_the_runner_needs_no_more_than_it_says(
    trained: Path, root: Path, exported: Path, tmp_path: Path
) -> None:
    pictures = [root / "JPEGImages" / "t.png", tmp_path / "no.png", root / "JPEGImages" / "u.png"]
    block = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED}))"
    code = f"{block}; import runpy; runpy.run_path('run_onnx.py', run_name='__main__')"
    given = ["detector.onnx", *map(str, pictures), "--output", str(tmp_path / "drawn")]
    ended = subprocess.run(
        [sys.executable, "-c", code, *given],
        cwd=exported.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1  # for the picture that is not there
    assert "no.png" in ended.stderr
    rows = [line.split(",") for line in ended.stdout.splitlines()]
    assert rows[0] == ["picture", "class", "score", "x1", "y1", "x2", "y2"]
    assert [row[:2] for row in rows[1:]] == [[str(pictures[0]), "cat"], [str(pictures[2]), "dog"]]
    expected = in_pytorch(trained, painted(root))
    for row, boxes, scores in zip(rows[1:], expected["boxes"], expected["scores"], strict=True):
        box = (boxes[0] * torch.tensor([60, 40, 60, 40])).tolist()  # the pictures' own pixels
        assert [float(value) for value in row[3:]] == pytest.approx(box, abs=0.2)
        assert float(row[2]) == pytest.approx(scores[0].item(), abs=0.01)
    before, after = (
        np.asarray(Image.open(path)) for path in (pictures[0], tmp_path / "drawn/t.png.png")
    )
    assert before.shape == after.shape
    assert (before != after).any()


def test_the_runner_draws_every_picture_to_a_file_of_its_own(
    root: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.open(root / "JPEGImages" / "t.png")
    given = [tmp_path / name for name in ("a/t.png", "b/t.png", "a/t.bmp", "b/t.png.2")]
    for path in given:
        path.parent.mkdir(exist_ok=True)
        picture.save(path, format="png")
    words = ["run_onnx.py", exported, *given, "--output", tmp_path / "drawn"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(exported.with_name("run_onnx.py")), run_name="__main__")
    names = {path.name for path in (tmp_path / "drawn").iterdir()}
    assert names == {"t.png.png", "t.png.2.png", "t.bmp.png", "t.png.2.4.png"}


def test_the_runner_is_under_a_hundred_lines(exported: Path) -> None:
    assert len((exported.parent / "run_onnx.py").read_text().splitlines()) < 100


@pytest.mark.parametrize("size", [(640, 480), (37, 90), (64, 64), (1500, 20)])
def test_pillow_resizes_as_the_data_set_does(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    theirs = Image.fromarray(pixels).resize((64, 48), Image.Resampling.BILINEAR)
    differ = np.abs(resize(pixels, (64, 48)).astype(int) - np.asarray(theirs))
    assert differ.max() <= 1


def test_pictures_are_spread_over_all_that_there_are() -> None:
    assert spread(9, 3) == [0, 4, 8]
    assert spread(2, 50) == [0, 1]


def test_batches_are_full_and_in_turn() -> None:
    images = torch.arange(6).view(6, 1, 1, 1)
    found = [batch.flatten().tolist() for batch in batches(images, [1, 3])]
    assert found == [[0], [1, 2, 3], [4], [5, 5, 5]]
