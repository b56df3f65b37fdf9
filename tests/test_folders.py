from pathlib import Path

import pytest
from files import write

from ssd.data.images.folders import image_files
from ssd.errors import ConfigError

FILES = {"b.JPG": "", "a.png": "", "sub/deep/c.webp": "", "notes.txt": "", "._a.png": "",
         ".cache/d.png": ""}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path, FILES)


def found(source: str | Path, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in image_files(source)]


def test_a_folder_is_its_images_and_those_of_all_folders_below(root: Path) -> None:
    assert found(root, root) == ["a.png", "b.JPG", "sub/deep/c.webp"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["a.png", "b.JPG"]),
        ("?.png", ["a.png"]),
        ("**/*.webp", ["sub/deep/c.webp"]),
        ("**/deep/**", ["sub/deep/c.webp"]),
        ("**/sub/**/deep/*.w*", ["sub/deep/c.webp"]),
        ("**/*.png", ["a.png"]),
        ("**", ["a.png", "b.JPG", "sub/deep/c.webp"]),
        ("[ab].*", ["a.png", "b.JPG"]),
    ],
)
def test_a_glob_is_the_images_that_it_means(root: Path, pattern: str, names: list[str]) -> None:
    assert found(f"{root}/{pattern}", root) == names


def test_a_file_is_itself_whatever_its_name(root: Path) -> None:
    write(root, {"[a].png": ""})
    assert found(root / "notes.txt", root) == ["notes.txt"]
    assert found(root / "[a].png", root) == ["[a].png"]


def test_folders_that_lead_back_to_themselves_are_walked_once(root: Path) -> None:
    (root / "sub" / "back").symlink_to(root)
    assert found(root, root) == ["a.png", "b.JPG", "sub/deep/c.webp"]


@pytest.mark.parametrize("target", [".", "sub", "sub/deep"])
@pytest.mark.parametrize("pattern", ["**/*.webp", "*/*/*.webp"])
def test_a_glob_counts_a_file_once_that_links_lead_to(
    root: Path, target: str, pattern: str
) -> None:
    for name in ("a", "z"):  # before and after the folder that they lead to
        (root / name / "b").mkdir(parents=True)
        for number in range(2):
            (root / name / f"link{number}").symlink_to(root / target)
    assert found(f"{root}/{pattern}", root) == ["sub/deep/c.webp"]
    other = root.parent / f"{root.name}_link"
    other.symlink_to(root)
    assert found(f"{other}/{pattern}", other) == ["sub/deep/c.webp"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("nowhere", "no such file or folder"),
        ("*.tga", "no images there; they end in .jpg"),
        ("empty", "no images there"),
    ],
)
def test_where_nothing_is_found_the_source_is_named(root: Path, source: str, why: str) -> None:
    (root / "empty").mkdir()
    with pytest.raises(ConfigError, match=rf"source=.*: {why}"):
        image_files(root / source)
