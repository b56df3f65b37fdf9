"""The detection that exports hold finds what `ops.detecting.detect` finds."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_detecting import ANCHORS, SETTINGS
from torch import Tensor

from ssd.export.detecting import (
    Detecting,
    rank_by_keys,
    rank_in_order,
    suppress_by_onnx,
    suppress_by_torchvision,
)
from ssd.export.writing import DETECTIONS, RAW, write_onnx
from ssd.ops.detecting import detect
from ssd.records import Detections, Predictions

FEW = ANCHORS[::16]
CLASSES = 5
PYTORCH = {"rank": rank_by_keys, "suppress": suppress_by_torchvision}
ASKED = {
    **SETTINGS,
    "candidates_per_class": 60,
    "detections_per_image": 80,
    "activation": "softmax",
}
CHANGES = [{}, {"clip_boxes": False, "activation": "sigmoid"}, {"iou_threshold": 1.0}]

Run = Callable[..., dict[str, Tensor]]


def noise(background: float, images: int = 3) -> Predictions:
    torch.manual_seed(0)
    logits = torch.randn(images, len(FEW), CLASSES)
    logits[..., 0] += background
    return Predictions(logits, torch.randn(images, len(FEW), 4))


def equal_scores() -> Predictions:
    """Every anchor and every class is as good as every other, of all and of two pictures in one."""
    return Predictions(torch.zeros(3, len(FEW), CLASSES), torch.zeros(3, len(FEW), 4))


def one_object() -> Predictions:
    found = noise(30)
    found.logits[1, 7, 3] = 40
    return found


def no_numbers() -> Predictions:
    """Logits and boxes that are none, infinite sides, and an object among them."""
    found = noise(2)
    found.logits[0, :50] = torch.nan
    found.logits[1, 3, 2] = torch.inf
    found.offsets[1, ::3, 2] = 1e4
    found.offsets[2, ::5, 0] = torch.nan
    return found


CASES = {
    "many": lambda: noise(-4),
    "usual": lambda: noise(4),
    "one picture": lambda: noise(2, images=1),
    "none": lambda: noise(40),
    "one": one_object,
    "equal scores": equal_scores,
    "no numbers": no_numbers,
}


def assert_the_same(found: dict[str, Tensor], expected: Detections) -> None:
    width = expected.scores.shape[1]
    assert not found["labels"][:, width:].any()
    for name, column in expected._asdict().items():
        torch.testing.assert_close(found[name][:, :width], column, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_it_finds_what_detect_finds(case: str, changes: dict) -> None:
    predictions, asked = CASES[case](), {**ASKED, **changes}
    found = Detecting(**asked, **PYTORCH)(*predictions, FEW)
    assert found["scores"].shape == (len(predictions.logits), 80)
    assert_the_same(found, detect(predictions, FEW, **asked))


def test_more_detections_are_asked_for_than_there_are_candidates() -> None:
    asked = {**ASKED, "candidates_per_class": 9, "detections_per_image": 100}
    found = Detecting(**asked, **PYTORCH)(*noise(0), FEW)
    assert found["scores"].shape == (3, 4 * 9)
    assert_the_same(found, detect(noise(0), FEW, **asked))


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Run:
    from ssd.export.quiet import quiet

    path = tmp_path_factory.mktemp("export") / "detecting.pt2"
    batch = {0: torch.export.Dim("batch", min=1)}
    module = Detecting(**ASKED, **PYTORCH)
    with quiet():
        made = torch.export.export(module, (*noise(0), FEW), dynamic_shapes=(batch, batch, None))
        torch.export.save(made, path)
    return torch.export.load(path).module()


@pytest.fixture(scope="module")
def in_onnx(tmp_path_factory: pytest.TempPathFactory) -> Run:
    pytest.importorskip("onnxscript", reason="requirements-extras.txt is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="as above")
    path: Path = tmp_path_factory.mktemp("export") / "detecting.onnx"
    module = Detecting(**ASKED, rank=rank_in_order, suppress=suppress_by_onnx)
    write_onnx(module, (*noise(0), FEW), RAW, DETECTIONS, None, 18, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> dict[str, Tensor]:
        found = session.run(None, dict(zip(RAW, (one.numpy() for one in inputs), strict=True)))
        return dict(zip(DETECTIONS, map(torch.from_numpy, found), strict=True))

    return run


@pytest.mark.parametrize("case", CASES)
def test_it_finds_the_same_when_torch_has_exported_it(case: str, traced: Run) -> None:
    predictions = CASES[case]()
    assert_the_same(traced(*predictions, FEW), detect(predictions, FEW, **ASKED))


@pytest.mark.parametrize("case", CASES)
def test_it_finds_the_same_in_onnx_runtime(case: str, in_onnx: Run) -> None:
    predictions = CASES[case]()
    assert_the_same(in_onnx(*predictions, FEW), detect(predictions, FEW, **ASKED))
