import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ssd.doctor.copies import Copy, find_copies

WIDTH, HEIGHT = 400, 300


def scene(seed: int) -> np.ndarray:
    """Dark disks on a bright field that fades to the edges: as under one microscope, all alike but
    for where the disks are. (HEIGHT, WIDTH, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    light = 230 - ((x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2) / 1000
    picture = np.repeat(light[..., None], 3, axis=2) + rng.normal(0, 3, (HEIGHT, WIDTH, 3))
    picture = picture.clip(0, 255).astype(np.uint8)
    for across, down, radius in rng.uniform((0, 0, 20), (WIDTH, HEIGHT, 35), (25, 3)).astype(int):
        cv2.circle(picture, (int(across), int(down)), int(radius), (150, 90, 100), -1)
    return picture


def write(path: Path, picture: np.ndarray, quality: int = 90) -> str:
    Image.fromarray(picture).save(path, quality=quality)
    return str(path)


def copies(**files: list[str]) -> list[Copy]:
    return find_copies(files, lambda done, total: None)


def test_different_pictures_of_one_kind_of_scene_are_no_copies(tmp_path: Path) -> None:
    assert copies(train=[write(tmp_path / f"{i}.jpg", scene(i)) for i in range(60)]) == []


def test_the_same_file_in_two_splits_and_twice_in_one(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jpg", scene(0))
    again, other = (shutil.copy(file, tmp_path / name) for name in ("b.jpg", "c.jpg"))
    assert copies(train=[file, again], val=[other]) == [
        Copy("same", "train", file, "train", again),
        Copy("same", "train", file, "val", other),
    ]


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "halved": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "enlarged": lambda p: cv2.resize(p, None, fx=1.5, fy=1.5),
    "squeezed": lambda p: cv2.resize(p, (300, 300)),
    "brightened": lambda p: cv2.convertScaleAbs(p, alpha=1, beta=20),
    "gray": lambda p: np.repeat(p.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2),
    "trimmed by 2 pixels": lambda p: p[2:-2, 2:-2],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_picture_is_a_near_copy(tmp_path: Path, change: str) -> None:
    files = [write(tmp_path / f"{i}.jpg", scene(i)) for i in range(3)]
    changed = write(tmp_path / "changed.png", CHANGES[change](scene(1)))
    assert copies(train=files, test=[changed]) == [Copy("near", "train", files[1], "test", changed)]


def test_a_picture_encoded_badly_is_a_near_copy(tmp_path: Path) -> None:
    file, worse = write(tmp_path / "a.jpg", scene(0)), write(tmp_path / "b.jpg", scene(0), 25)
    assert [copy.kind for copy in copies(train=[file, worse])] == ["near"]


def test_a_mirrored_picture_is_a_mirrored_copy(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jpg", scene(0))
    mirrored = write(tmp_path / "b.jpg", scene(0)[:, ::-1])
    assert copies(train=[file], val=[mirrored]) == [
        Copy("mirrored", "train", file, "val", mirrored)
    ]


def test_a_picture_that_its_exif_turns_is_compared_as_it_is_shown(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jpg", scene(0))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter, clockwise
    turned = Image.fromarray(np.rot90(scene(0)).copy())
    turned.save(tmp_path / "b.jpg", exif=exif)
    assert [copy.kind for copy in copies(train=[file, str(tmp_path / "b.jpg")])] == ["near"]


def test_many_copies_of_a_picture_are_a_row_each(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{i}.jpg", scene(0), quality=60 + i) for i in range(6)]
    found = copies(train=files[:3], val=files[3:])
    assert len(found) == 2 + 3 + 2
    assert {copy.other_file for copy in found} == set(files[1:])


def test_pictures_of_nothing_are_no_near_copies(tmp_path: Path) -> None:
    gray, other = (np.full((80, 90, 3), value, np.uint8) for value in (100, 140))
    files = [write(tmp_path / "a.png", gray), write(tmp_path / "b.png", other)]
    assert copies(train=files) == []


def test_files_that_cannot_be_read_are_passed_over_and_counted(tmp_path: Path) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8torn")
    file = write(tmp_path / "a.jpg", scene(0))
    seen = []
    files = [str(tmp_path / "none.jpg"), str(tmp_path / "torn.jpg"), file, file]
    found = find_copies({"train": files}, lambda done, total: seen.append((done, total)))
    assert [copy.kind for copy in found] == ["same"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
