"""Windows over a picture, and one box for an object that several of them saw."""

import pytest
import torch

from ssd.ops.tiling import Objects, Tiling, Window, make_windows, united

SIZE = (400, 200)
LEFT, RIGHT, ALL = (0, 0, 220, 200), (180, 0, 400, 200), (0, 0, 400, 200)
Seen = tuple[Window, tuple[float, float, float, float], float, int]  # window, box, score, label


def unite(*seen: Seen, size: tuple[int, int] = SIZE, agnostic: bool = False) -> Objects:
    windows, boxes, scores, labels = zip(*seen, strict=True)
    found = Objects(
        torch.tensor(boxes, dtype=torch.float64), torch.tensor(scores), torch.tensor(labels)
    )
    windows = torch.tensor(windows, dtype=torch.float64)
    return united(found, windows, size, iou_threshold=0.45, agnostic=agnostic)


def in_window(box: tuple[float, ...], window: Window) -> tuple[float, ...]:
    x1, y1, x2, y2 = window
    return (max(box[0], x1), max(box[1], y1), min(box[2], x2), min(box[3], y2))


@pytest.mark.parametrize("overlap", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("size", [(1000, 700), (301, 999), (257, 256)])
def test_an_object_no_larger_than_the_overlap_is_whole_in_a_window(
    size: tuple[int, int], overlap: float
) -> None:
    windows = make_windows(size, Tiling(256, overlap, whole=False), (300, 300))
    object_side = int(256 * overlap)
    for left in range(size[0] - object_side + 1):
        assert any(x1 <= left and left + object_side <= x2 for x1, _, x2, _ in windows)
    for top in range(size[1] - object_side + 1):
        assert any(y1 <= top and top + object_side <= y2 for _, y1, _, y2 in windows)
    assert all((x2 - x1, y2 - y1) == (256, 256) for x1, y1, x2, y2 in windows)


def test_windows_are_no_more_than_needed() -> None:
    assert len(make_windows((256, 256), Tiling(256, 0.25, whole=True), (300, 300))) == 1
    assert len(make_windows((448, 256), Tiling(256, 0.25, whole=False), (300, 300))) == 2
    assert len(make_windows((449, 256), Tiling(256, 0.25, whole=False), (300, 300))) == 3


def test_windows_have_the_shape_of_the_networks_input() -> None:
    windows = make_windows((1000, 1000), Tiling(320, 0.2, whole=False), (320, 192))
    assert {(x2 - x1, y2 - y1) for x1, y1, x2, y2 in windows} == {(320, 192)}


def test_the_whole_picture_comes_first_where_it_is_wanted() -> None:
    assert make_windows(SIZE, Tiling(150, 0.2, whole=True), (300, 300))[0] == ALL
    assert make_windows(SIZE, None, (300, 300)) == [ALL]


def test_an_object_whole_in_one_window_and_cut_in_the_next_is_one() -> None:
    box = (150, 50, 200, 90)
    found = unite((LEFT, box, 0.6, 1), (RIGHT, in_window(box, RIGHT), 0.9, 1))
    assert found.boxes.tolist() == [list(box)]
    assert found.scores.tolist() == pytest.approx([0.6])  # the better one is a piece


def test_an_object_whole_in_two_windows_is_the_better_one() -> None:
    found = unite((LEFT, (190, 50, 208, 90), 0.6, 1), (RIGHT, (191, 50, 209, 91), 0.9, 1))
    assert found.boxes.tolist() == [[191, 50, 209, 91]]


def test_pieces_of_an_object_larger_than_the_overlap_become_the_box_around_them() -> None:
    box = (100, 40, 300, 120)
    found = unite((LEFT, in_window(box, LEFT), 0.6, 1), (RIGHT, in_window(box, RIGHT), 0.8, 1))
    assert found.boxes.tolist() == [list(box)]
    assert found.scores.tolist() == pytest.approx([0.8])


def test_pieces_of_four_windows_are_one_object() -> None:
    box = (50, 60, 350, 340)
    windows = [(x, y, x + 220, y + 220) for x in (0, 180) for y in (0, 180)]
    found = unite(*((w, in_window(box, w), 0.5, 1) for w in windows), size=(400, 400))
    assert found.boxes.tolist() == [list(box)]


def test_a_row_of_pieces_is_joined_though_its_ends_share_no_window() -> None:
    box = (20, 10, 980, 90)
    windows = [(x, 0, x + 280, 100) for x in (0, 240, 480, 720)]
    found = unite(*((w, in_window(box, w), 0.5, 1) for w in windows), size=(1000, 100))
    assert found.boxes.tolist() == [list(box)]


def test_the_whole_pictures_box_takes_the_pieces() -> None:
    box = (50, 20, 360, 180)
    pieces = [(window, in_window(box, window), 0.9, 1) for window in (LEFT, RIGHT)]
    found = unite((ALL, box, 0.7, 1), *pieces)
    assert found.boxes.tolist() == [list(box)]


def test_neighbours_at_an_edge_stay_two() -> None:
    above, below = (150, 20, 260, 90), (150, 95, 260, 170)
    seen = [(w, in_window(box, w), 0.8, 1) for box in (above, below) for w in (LEFT, RIGHT)]
    assert sorted(unite(*seen).boxes.tolist()) == [list(above), list(below)]


def test_a_cut_object_that_only_one_window_saw_stays() -> None:
    found = unite((LEFT, (150, 20, 220, 90), 0.8, 1), (RIGHT, (300, 20, 350, 90), 0.7, 1))
    assert found.labels.tolist() == [1, 1]


@pytest.mark.parametrize("agnostic", [False, True])
def test_boxes_of_two_classes_are_one_object_only_if_classes_do_not_count(agnostic: bool) -> None:
    box = (100, 40, 300, 120)
    seen = [(LEFT, in_window(box, LEFT), 0.6, 1), (RIGHT, in_window(box, RIGHT), 0.8, 2)]
    found = unite(*seen, agnostic=agnostic)
    assert found.labels.tolist() == ([2] if agnostic else [2, 1])


def test_the_border_of_the_picture_cuts_nothing() -> None:
    at_border = (0, 0, 60, 60)
    found = unite((LEFT, at_border, 0.8, 1), (ALL, (0, 0, 70, 200), 0.6, 1))
    assert len(found.boxes) == 2  # a piece would have gone: it lies in the other


def test_no_objects_are_none() -> None:
    none = Objects(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert len(united(none, torch.zeros(0, 4), SIZE, 0.45, agnostic=False).boxes) == 0
