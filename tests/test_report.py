"""Figures and tables."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd.report.curves import column, plot_curves, read_rows, smoothed
from ssd.report.drawing import color, draw_boxes, overlap, places, sheet
from ssd.report.table import Row, class_table

GRAY = np.full((400, 600, 3), 128, np.uint8)


def painted(image: np.ndarray, label: int) -> np.ndarray:
    """Rows and columns, (points, 2), that have the color of a class."""
    return np.argwhere((image == color(label)).all(axis=-1))


def test_a_box_is_drawn_on_its_edges() -> None:
    image = draw_boxes(GRAY, np.array([[100, 200, 300, 350]]), ["cat"], [1])
    points = painted(image, 1)
    assert points.max(axis=0).tolist() == [350, 300]
    assert image.shape == GRAY.shape
    assert (GRAY == 128).all()


@pytest.mark.parametrize("box", [(0, 0, 30, 30), (590, 390, 599, 399), (0, 0, 599, 399)])
def test_a_label_stays_in_the_picture(box: tuple[int, int, int, int]) -> None:
    for x1, y1, x2, y2 in places(box, 120, 20, (600, 400)):
        assert 0 <= x1 < x2 < 600
        assert 0 <= y1 < y2 < 400


def test_the_edges_of_a_box_that_leaves_the_picture_are_drawn() -> None:
    image = draw_boxes(GRAY, np.array([[-50, -50, 700, 500]]), ["cat"], [2])
    assert painted(image, 2).max(axis=0).tolist() == [399, 599]


def test_a_small_picture_is_enlarged_for_its_text() -> None:
    image = draw_boxes(GRAY[:100, :200], np.zeros((0, 4)), [], [])
    assert image.shape == (240, 480, 3)


def test_text_of_a_crowd_of_small_boxes_does_not_hide_the_picture() -> None:
    corners = np.random.default_rng(0).uniform(0, 390, (300, 2))
    boxes = np.concatenate([corners, corners + 8], axis=1)
    image = draw_boxes(GRAY, boxes, ["pottedplant"] * 300, [1] * 300)
    assert (image == 128).all(axis=-1).mean() > 0.3


def test_labels_of_neighbours_do_not_overlap() -> None:
    assert overlap((0, 0, 2, 2), (1, 1, 3, 3))
    assert not overlap((0, 0, 2, 2), (2, 0, 3, 3))


def test_a_class_name_may_hold_any_letters() -> None:
    draw_boxes(GRAY, np.array([[50, 50, 200, 200]]), ["Ωμέγα\n\x1b[31m"], [25], [0.5])


def test_a_sheet_holds_pictures_of_different_sizes() -> None:
    image = sheet([GRAY, GRAY[:100], GRAY[:, :100]], columns=2, titles=["a", "b", "c"])
    assert image.shape[1] > 2 * 600
    assert image.shape[0] > 2 * 400
    assert (image == 128).all(axis=-1).sum() == 600 * 400 + 600 * 100 + 100 * 400


METRICS = """step,epoch,train/loss,train/lr,val/loss,val/map,val/map_50
9,0,20.0,0.001,,,
19,0,nan,0.001,15.5,0.1,0.2
29,1,5.0,0.001,,,
39,1,4.0,0.0001,6.5,nan,0.4
"""


@pytest.mark.parametrize("lines", [0, 2, 5], ids=["no file", "one row", "all"])
def test_curves_of_any_run_can_be_drawn(tmp_path: Path, lines: int) -> None:
    if lines:
        text = "".join(METRICS.splitlines(keepends=True)[:lines])
        (tmp_path / "metrics.csv").write_text(text)
    plot_curves(tmp_path / "metrics.csv", tmp_path / "figures" / "curves.png")
    picture = np.asarray(Image.open(tmp_path / "figures" / "curves.png").convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_curves_count_the_steps_done_and_leave_out_nan(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(METRICS)
    steps, values = column(read_rows(tmp_path / "metrics.csv"), "train/loss")
    assert (steps.tolist(), values.tolist()) == ([10, 30, 40], [20, 5, 4])


def test_smoothing_keeps_a_line_straight() -> None:
    line = np.arange(200.0)
    assert smoothed(line)[10:-10] == pytest.approx(line[10:-10])


def row(name: str, truths: int, value: float) -> Row:
    values = dict.fromkeys(("ap_voc07", "ap_voc12", "ap", "ap_50"), value)
    return {"name": name, "truths": truths, "detections": 7, **values}


def test_the_table_of_classes_is_aligned_and_leaves_empty_classes_out_of_the_mean() -> None:
    table = class_table([row("cat", 10, 0.5), row("pottedplant", 0, math.nan)])
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[3].split() == ["pottedplant", "0", "7", "-", "-", "-", "-"]
    assert lines[-1].split() == ["mean", "10", "14", *["0.5000"] * 4]


def test_a_class_name_cannot_send_codes_to_the_terminal() -> None:
    assert "\x1b" not in class_table([row("\x1b[31mcat", 1, 0.5)])
