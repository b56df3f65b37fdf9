import os
from pathlib import Path

import pytest

from ssd.data.paths import inside, read_text

ROOT = Path("/data/set")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.jpg", "a.jpg"),
        ("./images/a b#%20.jpg", "images/a b#%20.jpg"),
        ("images\\a.jpg", "images/a.jpg"),
        ("images/../a.jpg", "a.jpg"),
        ("/data/set/images/a.jpg", "images/a.jpg"),
        ("x:1.jpg", "x:1.jpg"),
    ],
)
def test_a_name_means_a_path_below_the_root(name: str, path: str) -> None:
    assert inside(ROOT, name, "list.txt:1") == ROOT / path


@pytest.mark.parametrize(
    "name",
    ["../a.jpg", "images/../../a.jpg", "..\\a.jpg", "/etc/passwd", "/data/settled/a.jpg",
     "C:\\a.jpg", "c:/a.jpg", "file:///data/set/a.jpg", "s3://x/a.jpg", "a\0.jpg"],
)  # fmt: skip
def test_a_name_that_leaves_the_root_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=r"^list\.txt:1: .* leaves the data folder /data/set"):
        inside(ROOT, name, "list.txt:1")


def test_a_name_may_be_relative_to_a_folder_below_the_root(tmp_path: Path) -> None:
    assert inside(ROOT, "../a.jpg", "", home=ROOT / "lists") == ROOT / "a.jpg"
    with pytest.raises(ValueError, match="leaves"):
        inside(ROOT, "../../a.jpg", "", home=ROOT / "lists")


def test_a_text_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"a\.txt: is no file"):
        read_text(tmp_path, tmp_path / "a.txt", most=9)


@pytest.mark.parametrize("name", ["x" * 256 + ".jpg", "ä" * 128, "a/" * 2100 + "b"])
def test_what_no_file_can_be_called_is_refused_in_one_short_line(name: str) -> None:
    with pytest.raises(ValueError, match=r"^list\.txt:1: .{1,210} is longer than any file's path$"):
        inside(ROOT, name, "list.txt:1")
    assert inside(ROOT, "x" * 255, "list.txt:1")
