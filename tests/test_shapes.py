import json
import os
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from ssd.data import shapes
from ssd.data.shapes import CLASSES, OUTLINES, draw_shapes, shape_mask

COUNTS = {"train": 4, "val": 2, "test": 200}


class Drawn(NamedTuple):
    """What the files say of one object."""

    name: str
    box: tuple[int, int, int, int]  # as in the file: 1-based, inclusive
    difficult: bool
    truncated: bool

    @property
    def size(self) -> tuple[int, int]:
        left, top, right, bottom = self.box
        return right - left + 1, bottom - top + 1


def read(root: Path, name: str) -> tuple[tuple[int, int], list[Drawn]]:
    tree = ElementTree.parse(root / f"Annotations/{name}.xml").getroot()
    width, height = (int(tree.findtext(f"size/{key}")) for key in ("width", "height"))
    objects = [
        Drawn(
            item.findtext("name"),
            tuple(int(item.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")),
            item.findtext("difficult") == "1",
            item.findtext("truncated") == "1",
        )
        for item in tree.findall("object")
    ]
    return (width, height), objects


def ids(root: Path, split: str) -> list[str]:
    return (root / f"ImageSets/Main/{split}.txt").read_text().split()


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "shapes"
    draw_shapes(root, COUNTS)
    return root


@pytest.fixture(scope="module")
def pictures(root: Path) -> list[tuple[tuple[int, int], list[Drawn]]]:
    return [read(root, name) for name in ids(root, "test")]


@pytest.fixture(scope="module")
def objects(pictures: list) -> list[Drawn]:
    return [item for _, found in pictures for item in found]


def test_each_image_set_names_its_pictures_and_they_are_there(root: Path) -> None:
    assert {split: len(ids(root, split)) for split in COUNTS} == COUNTS
    assert ids(root, "trainval") == ids(root, "train") + ids(root, "val")
    names = {name for split in COUNTS for name in ids(root, split)}
    assert {p.stem for p in root.glob("JPEGImages/*.jpg")} == names
    assert {p.stem for p in root.glob("Annotations/*.xml")} == names


def test_a_picture_has_the_size_that_its_annotation_gives(root: Path, pictures: list) -> None:
    for name, (size, _) in zip(ids(root, "test"), pictures, strict=True):
        assert cv2.imread(str(root / f"JPEGImages/{name}.jpg")).shape == (*size[::-1], 3)
    assert len({size for size, _ in pictures}) == 3


def test_the_test_split_has_a_thousand_objects_of_five_classes(objects: list[Drawn]) -> None:
    counts = [sum(item.name == name and not item.difficult for item in objects) for name in CLASSES]
    assert len(CLASSES) >= 5
    assert sum(counts) >= 1000
    assert min(counts) > 150


def test_a_fifth_or_more_of_the_objects_is_smaller_than_a_64th_of_the_picture(
    pictures: list,
) -> None:
    small = [
        np.prod(item.size) < np.prod(size) / 64
        for size, found in pictures
        for item in found
        if not item.difficult
    ]
    assert 0.2 < np.mean(small) < 0.3


def test_a_few_objects_are_difficult_and_a_few_leave_the_picture(objects: list[Drawn]) -> None:
    assert 0.01 < np.mean([item.difficult for item in objects]) < 0.08
    assert 0.02 < np.mean([item.truncated for item in objects]) < 0.12


def test_about_one_picture_in_twenty_has_clutter_and_no_object(root: Path, pictures: list) -> None:
    empty = [n for n, (_, found) in zip(ids(root, "test"), pictures, strict=True) if not found]
    assert 0.02 <= len(empty) / len(pictures) <= 0.09
    for name in empty:
        assert cv2.imread(str(root / f"JPEGImages/{name}.jpg")).std() > 5


def test_boxes_lie_in_the_picture_and_are_large_enough_to_see(pictures: list) -> None:
    for (width, height), found in pictures:
        for item in found:
            left, top, right, bottom = item.box
            assert 1 <= left < right <= width
            assert 1 <= top < bottom <= height
            assert item.difficult or (min(item.size) >= 7 and max(item.size) >= 10)


def test_objects_overlap(pictures: list) -> None:
    overlaps = 0
    for _, found in pictures:
        boxes = np.array([item.box for item in found]).reshape(-1, 4)
        low = np.maximum(boxes[:, None, :2], boxes[:, :2])
        high = np.minimum(boxes[:, None, 2:], boxes[:, 2:])
        overlaps += np.triu((low <= high).all(axis=2), k=1).sum()
    assert overlaps > 300


@pytest.mark.parametrize("index", range(10))
def test_a_box_is_tight_around_the_pixels_that_no_other_object_hides(index: int) -> None:
    picture, objects = shapes.draw_picture(0, "test", index)
    hidden = np.zeros(picture.shape[:2], dtype=bool)
    for shape, _ in reversed(objects):  # front to back
        (x, y), (h, w) = shape.corner, shape.mask.shape
        mask = np.zeros_like(hidden)
        mask[y : y + h, x : x + w] = shape.mask > 127
        rows, columns = np.nonzero(mask & ~hidden)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert shape.box == edges
        hidden |= mask


class Still:
    """A generator without chance: no stretch, no turn, no shift."""

    def uniform(self, low: float, high: float, size: int | None = None) -> float | np.ndarray:
        middle = 1.0 if low > 0 else 0.0
        return middle if size is None else np.zeros(size)


@pytest.mark.parametrize("name", CLASSES)
def test_a_mask_covers_the_area_of_its_outline_and_reaches_its_size(name: str) -> None:
    corners = OUTLINES[name].astype(np.float32)
    share = cv2.contourArea(corners) / np.ptp(corners, axis=0).max() ** 2
    mask = shape_mask(Still(), name, 80)
    assert mask.sum() / 255 == pytest.approx(share * 80**2, rel=0.03)
    assert max(np.ptp(np.argwhere(mask > 127), axis=0)) + 1 == pytest.approx(80, abs=1)


def test_the_same_seed_draws_the_same_bytes(root: Path, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "a", {"train": 3, "val": 2})
    draw_shapes(tmp_path / "b", {"train": 3, "val": 2})
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_picture_does_not_depend_on_how_many_there_are(root: Path, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "few", {"test": 3})
    few, many = contents(tmp_path / "few"), contents(root)
    for name in ids(tmp_path / "few", "test"):
        for file in (f"JPEGImages/{name}.jpg", f"Annotations/{name}.xml"):
            assert few[file] == many[file]


def test_seeds_splits_and_positions_draw_different_pictures() -> None:
    places = [(0, "train", 0), (1, "train", 0), (0, "test", 0), (0, "train", 1)]
    assert len({shapes.draw_picture(*place)[0].tobytes() for place in places}) == 4


def test_a_second_call_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "write_voc", lambda *_: pytest.fail("drawn again"))
    draw_shapes(root, COUNTS)


def test_other_counts_or_another_seed_are_refused_with_the_cure(root: Path) -> None:
    with pytest.raises(ValueError, match="delete that folder or name another"):
        draw_shapes(root, {**COUNTS, "train": 5})
    with pytest.raises(ValueError, match=r'"seed": 1.* but holds .*"seed": 0'):
        draw_shapes(root, COUNTS, seed=1)


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(ValueError, match="but holds no shapes"):
        draw_shapes(tmp_path, {"test": 1})
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train, val, test, not dev"):
        draw_shapes(tmp_path / "shapes", {"dev": 1})


def test_an_interrupted_drawing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(name: str, *_: object) -> str:
        if name == "val_00001":
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(shapes, "voc_xml", interrupt)
    with pytest.raises(KeyboardInterrupt):
        draw_shapes(tmp_path / "shapes", {"train": 2, "val": 2})
    assert os.listdir(tmp_path) == []


def test_drawing_at_the_same_time_gives_one_whole_set(tmp_path: Path) -> None:
    counts = {"train": 20, "val": 5}
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: draw_shapes(tmp_path / "data/shapes", counts), range(3)))
    assert os.listdir(tmp_path / "data") == ["shapes"]
    assert json.loads((tmp_path / "data/shapes/shapes.json").read_text())["counts"] == counts
    assert len(list(tmp_path.glob("data/shapes/JPEGImages/*"))) == 25
