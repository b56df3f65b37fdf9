"""Why a file cannot be read as weights, in the words of whoever was given it."""

import re
import zipfile
from pathlib import Path

# What files begin with that people give in place of weights
BEGINNINGS = {
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"<?xml": "an XML file",
    b"version https://git-lfs": "a pointer of Git LFS; git lfs pull fetches the file itself",
    b"\x89hdf": "an HDF5 file, as Keras writes them",
    b"\x89png": "a picture",
    b"\xff\xd8\xff": "a picture",
}
ENDINGS = {
    ".onnx": "an ONNX model",
    ".safetensors": "a safetensors file",
    ".pt2": "an exported model",
}


class Damaged(Exception):
    """A file whose bytes are not those that were written; says how that is known."""


def fault(path: Path, error: Exception) -> str:
    """One line. error: what the check of the file's bytes, or torch.load, raised"""
    expected = "a file of torch.save with tensors and plain data was expected"
    if path.stat().st_size == 0:
        return f"{path}: empty; {expected}"
    if isinstance(error, Damaged):
        return f"{path}: damaged, {error}"
    foreign = kind(path)
    if foreign:
        return f"{path}: {foreign}; {expected}"
    code = re.search(r"GLOBAL ([\w.]+)", str(error))
    if code:
        return f"{path}: asks for {code[1]}, but nothing in a file is run; {expected}"
    return f"{path}: damaged, or no checkpoint of tensors and plain data ({type(error).__name__})"


def kind(path: Path) -> str | None:
    """What a file is, where it is something well known that holds no checkpoint."""
    with path.open("rb") as file:
        start = file.read(64)
    for beginning, name in BEGINNINGS.items():
        if start.lstrip().lower().startswith(beginning):
            return name
    if path.suffix in ENDINGS:
        return ENDINGS[path.suffix]
    names = archived(path)
    if any("/code/" in name for name in names):
        return "a TorchScript archive"
    if names and not any(name.endswith("data.pkl") for name in names):
        return "a zip archive of something else"
    return None


def is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # damaged where the archive ends
        return True


def archived(path: Path) -> list[str]:
    """The names in a zip archive; none where it cannot be opened, or is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception:  # a damaged list of names can make it stumble over anything
        return []
