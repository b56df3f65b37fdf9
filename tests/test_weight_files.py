"""Files of weights: whole or not there, and read to the last bit or refused."""

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssd.weights.files import MARK, copy_file, read_file, remove_parts, write_file

CONTENT = {"weights": torch.arange(40.0), "counts": torch.arange(7), "names": ["cat"], "step": 5}


def same(content: Any) -> bool:
    """Whether a file gave back what was written."""
    return [*content] == [*CONTENT] and all(
        torch.equal(value, CONTENT[name]) and value.dtype == CONTENT[name].dtype
        if isinstance(value, Tensor)
        else value == CONTENT[name]
        for name, value in content.items()
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_file(CONTENT, tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


def test_what_is_written_is_a_file_that_torch_reads_too(path: Path) -> None:
    assert same(read_file(path))
    assert same(torch.load(path, weights_only=True))
    assert [file.name for file in path.parent.iterdir()] == ["a.ckpt"]


def outcome(path: Path, content: bytes) -> str:
    """What reading that content says: the same as was written, something else, or the fault."""
    path.write_bytes(content)
    try:
        return "the same" if same(read_file(path)) else "something else"
    except ValueError as error:
        return str(error)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def test_every_flipped_byte_is_refused_or_harmless(path: Path) -> None:
    whole = path.read_bytes()
    found = [outcome(path, flipped(whole, place)) for place in range(0, len(whole), 3)]
    refused = [said for said in found if said.startswith(f"{path}: damaged, its SHA-256")]
    harmless = [3 * place for place, said in enumerate(found) if said == "the same"]
    assert len(refused) + len(harmless) > 0.98 * len(found)  # the others tear the archive itself
    assert all(path.name in said for said in found if said != "the same")
    assert set(harmless) <= {*range(whole.rindex(MARK), whole.rindex(MARK) + len(MARK))}


def test_every_flipped_byte_of_another_projects_file_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "theirs.pth"
    torch.save(CONTENT, path)
    whole = path.read_bytes()
    found = {outcome(path, flipped(whole, place)) for place in range(len(whole))}
    assert "something else" not in found
    assert any("has another CRC-32" in said for said in found)


@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_zeros_over_a_part_of_a_file_are_refused(tmp_path: Path, place: str) -> None:
    path = tmp_path / "a.ckpt"
    write_file({"weights": torch.ones(10_000)}, path)
    content = bytearray(path.read_bytes())
    start = {"start": 0, "middle": 20_000, "end": len(content) - 4096}[place]
    content[start : start + 4096] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        read_file(path)


def test_a_file_that_was_cut_anywhere_is_refused_or_whole(path: Path) -> None:
    whole = path.read_bytes()
    found = [outcome(path, whole[:length]) for length in range(0, len(whole), 7)]
    assert all(path.name in said for said in found if said != "the same")


def test_records_that_are_compressed_are_refused_unread(path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as given, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in given.namelist():
            new.writestr(name, given.read(name))
    path.write_bytes(packed.getvalue())
    with pytest.raises(ValueError, match="damaged, or no checkpoint"):
        read_file(path)


FULL = """
import resource, sys, torch
from ssd.weights.files import write_file
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_file({"weights": torch.ones(100_000)}, __import__("pathlib").Path(sys.argv[1]))
except OSError as error:
    print(error)
"""


def test_a_full_disk_is_named_with_the_bytes_it_takes_and_leaves_what_was_there(path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"{path}: not saved, File too large; it takes 40" in said
    assert "bytes, and what was saved before is whole" in said
    assert said.count("\n") == 1
    assert same(read_file(path))
    assert [file.name for file in path.parent.iterdir()] == ["a.ckpt"]


def test_a_folder_that_is_gone_is_named_and_not_made_again(path: Path) -> None:
    shutil.rmtree(path.parent)
    with pytest.raises(OSError, match=r"a\.ckpt: not saved, No such file or directory"):
        write_file(CONTENT, path)
    assert not path.parent.exists()


def test_what_a_kill_left_of_a_file_is_no_checkpoint_and_goes(path: Path) -> None:
    left = path.with_name(".b.ckpt.ssd-part")
    left.write_bytes(b"half")
    assert [*path.parent.glob("*.ckpt")] == [path]
    remove_parts(path.parent)
    assert [*path.parent.iterdir()] == [path]


def test_a_copy_is_a_file_of_its_own(path: Path) -> None:
    copy_file(path, path.with_name("b.ckpt"))
    path.write_bytes(b"")
    assert same(read_file(path.with_name("b.ckpt")))
