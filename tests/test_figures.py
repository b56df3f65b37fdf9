"""The figures of docs/how_it_works.md: that their script still draws them, and draws what is so."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import make_network
from PIL import Image
from saved import checkpoint, make, save
from torchvision.ops import box_iou

from docs import figure_parts, figures
from docs.figure_parts import dataset, drawn
from ssd.data.shapes import CLASSES
from ssd.models import SSD
from ssd.ops.boxes import to_xyxy
from ssd.records import Sample

ROOT = Path(__file__).parent.parent
STORED = sorted((ROOT / "docs" / "figures").iterdir())


@pytest.fixture
def network() -> SSD:
    torch.manual_seed(0)
    return make_network("small", len(CLASSES) + 1, image_size=160, width=0.25)


@pytest.fixture
def sample(network: SSD, tmp_path: Path) -> Sample:
    return dataset(drawn(tmp_path), network.image_size, None)[0]


def test_a_run_on_shapes_gives_every_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "DRAWS", 1)  # fewer and smaller pictures in less time
    monkeypatch.setattr(figures, "DPI", 40)
    monkeypatch.setattr(figure_parts, "DPI", 40)
    network = make_network("small", len(CLASSES) + 1, image_size=64, width=0.25)
    file = save(tmp_path / "run.ckpt", checkpoint(network, list(CLASSES)))
    figures.main([str(file), "--output", str(tmp_path / "figures")])
    made = sorted((tmp_path / "figures").iterdir())
    assert [path.name for path in made] == [path.name for path in STORED]
    assert all(np.asarray(Image.open(path)).std() > 10 for path in made)


def test_a_run_on_other_data_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "run.ckpt", checkpoint(make()))
    with pytest.raises(SystemExit, match=r"run on drawn shapes; python train\.py"):
        figures.main([str(file)])


def test_matches_outline_the_anchors_that_overlap(network: SSD, sample: Sample) -> None:
    iou = box_iou(to_xyxy(network.anchors), sample["boxes"])
    overlapping = int((iou >= 0.5).any(dim=1).sum())
    truth, by_iou, with_own = figures.matches(network, sample).axes
    assert len(truth.patches) == len(sample["boxes"])
    assert len(by_iou.patches) == overlapping
    reached = int((iou >= 0.5).any(dim=0).sum())
    assert len(with_own.patches) == overlapping + len(sample["boxes"]) - reached
    assert reached < len(sample["boxes"])  # or the figure would show no reason for them


def test_three_negatives_are_outlined_for_each_positive(network: SSD, sample: Sample) -> None:
    positives, before, after, _ = figures.hard_negatives(network, network, sample).axes
    assert len(before.patches) == len(after.patches) == 3 * len(positives.patches)


def test_detections_are_outlined_with_their_names(network: SSD, sample: Sample) -> None:
    for head in network.heads.values():
        head.classify.bias.data.view(-1, len(CLASSES) + 1)[0, 1] = 9.0  # a circle in every cell
    anchors, boxes, found, truth = figures.detections(network, sample).axes
    cells = sum(rows * columns for rows, columns in network.pyramid.cells)
    assert len(anchors.patches) == len(boxes.patches) == cells
    assert 0 < len(found.patches) < cells
    assert {text.get_text().split()[0] for text in found.texts} == {"circle"}
    names = [CLASSES[label - 1] for label in sample["labels"].tolist()]
    assert [text.get_text() for text in truth.texts] == names


def test_the_figures_of_the_page_are_those_that_are_stored() -> None:
    page = (ROOT / "docs" / "how_it_works.md").read_text()
    assert sorted(re.findall(r"\(figures/([^)]+)\)", page)) == [path.name for path in STORED]


def test_figures_are_small() -> None:
    sizes = [path.stat().st_size for path in STORED]
    assert max(sizes) < 150 * 1024
    assert sum(sizes) < 1.5 * 1024**2
