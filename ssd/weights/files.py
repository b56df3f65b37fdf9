"""Files of torch.save: written whole or not at all, and checked to the last bit when read."""

import contextlib
import hashlib
import io
import os
import shutil
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ssd.weights.faults import Damaged, fault, is_archive

PART = ".ssd-part"  # of a file that is being written
MARK = b"ssd sha256 "
DIGEST = 64  # hexadecimal digits
SEAL = len(MARK) + DIGEST
FOLDER = 0x10  # the bit that marks one in an archive


def write_file(content: Any, path: Path) -> None:
    """Put a file in its place once it is on the disk, so a kill or a full disk leaves what was
    there.

    It is written beside its place: a temporary folder may lie on another file system, from which a
    move is a copy that can be torn (Lightning-AI/pytorch-lightning issue 19970).
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    seal(buffer)
    with written_aside(path, buffer.getbuffer().nbytes) as file:
        file.write(buffer.getbuffer())


def copy_file(path: Path, copy: Path) -> None:
    """A copy, in the same way."""
    with written_aside(copy, path.stat().st_size) as file, path.open("rb") as source:
        shutil.copyfileobj(source, file)


@contextlib.contextmanager
def written_aside(path: Path, size: int) -> Iterator[BinaryIO]:
    """A file that comes to its place when it has all of its `size` bytes."""
    part = path.with_name(f".{path.name}{PART}")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OSError(
            f"{path}: not saved, {error.strerror}; it takes {size:,} bytes, and what was saved "
            "before is whole"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    sync_folder(path.parent)


def remove_parts(folder: Path) -> None:
    """Delete what kills have left of files that were being written."""
    for part in folder.glob(f".*{PART}"):
        part.unlink()


def seal(buffer: io.BytesIO) -> None:
    """Close a file of torch.save, a zip archive without a comment, with one that holds its SHA-256.

    Such a file stays one that torch.load reads.
    """
    buffer.seek(-2, os.SEEK_END)  # the comment's length
    buffer.write(SEAL.to_bytes(2, "little") + MARK)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    buffer.write(digest.encode())


def sync_folder(folder: Path) -> None:
    """Put a new name on the disk."""
    with contextlib.suppress(OSError):  # not every system can open a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_file(path: Path) -> Any:
    """What torch.save wrote. Nothing but tensors and plain data is ever unpickled."""
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint")
    try:
        check_whole(path)
        with torch.serialization.safe_globals([Namespace]):  # in torchvision's training files
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a torn file can make the unpickler stumble over anything
        raise ValueError(fault(path, error)) from error


def check_whole(path: Path) -> None:
    """Raise where the bytes are not those that were written: torch.load looks at none.

    A file of ours has its SHA-256; those of others have a CRC-32 for each record of the archive.
    Files from before torch 1.6 are no archives, and have nothing.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - SEAL))
        end = file.read()
    sealed = end.startswith(MARK)
    if sealed:
        check_seal(path, end.removeprefix(MARK))
    if is_archive(path):  # whoever made it: a seal says who by no means
        check_records(path, read=not sealed)


def check_seal(path: Path, digest: bytes) -> None:
    found, left = hashlib.sha256(), path.stat().st_size - DIGEST
    with path.open("rb") as file:
        while block := file.read(min(left, 1 << 20)):
            found.update(block)
            left -= len(block)
    if found.hexdigest().encode() != digest:
        raise Damaged("its SHA-256 is another than when it was written")


def check_records(path: Path, read: bool) -> None:
    """read: whether to compare each record with its checksum too"""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if not all(map(plain, records)) or sum(r.file_size for r in records) > path.stat().st_size:
            raise ValueError("records that torch.save does not write")
        wrong = archive.testzip() if read else None
    if wrong:
        raise Damaged(f"its record {wrong} has another CRC-32 than when it was written")


def plain(record: zipfile.ZipInfo) -> bool:
    """Whether a record is as torch.save writes it. Of one whose two sizes differ, or that bears the
    mark of a folder, torch.load takes what happens to be in the memory."""
    stored = record.compress_type == zipfile.ZIP_STORED
    return stored and record.compress_size == record.file_size and not record.external_attr & FOLDER
