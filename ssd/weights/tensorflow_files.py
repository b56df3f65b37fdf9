"""Checkpoint files of TensorFlow, format V2 (a tensor bundle), read without TensorFlow.

The checkpoint NAME is NAME.index and its shards, NAME.data-00000-of-00001 and on. The index takes
the names of the variables to protocol buffers messages: what each is, and where in which shard its
bytes lie. Source: TensorFlow, core/protobuf/tensor_bundle.proto and core/framework/types.proto.
Nothing is read or made room for before it is checked against the sizes of the files.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssd.weights.crc32c import masked_crc32c
from ssd.weights.leveldb import DAMAGED, MAGIC, Reader, little, table

ENDING = re.compile(r"\.(index|data-\d{5}-of-\d{5})$")
LARGEST_INDEX = 1 << 22  # bytes; a network's takes some thousands
MOST_SHARDS = 100_000  # five digits in the names of the files
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}


class Place(NamedTuple):
    """What a variable is, and which bytes of which shard are its values."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: int
    start: int
    size: int
    checksum: int


def is_tensorflow(path: Path) -> bool:
    """Whether a path is one of the names of a TensorFlow checkpoint, of V2 or the old V1."""
    try:
        if path.is_file():
            return ENDING.search(path.name) is not None or ends_as_table(path)
        return Path(f"{path}.index").is_file()
    except OSError:  # whoever reads it says why
        return False


def read_variables(path: Path) -> dict[str, Tensor]:
    """All variables of a checkpoint by their names, in TensorFlow's layouts.

    path: NAME, NAME.index or one of NAME.data-…
    """
    prefix = ENDING.sub("", str(path))
    try:
        shards, places = read_index(find_index(path, Path(f"{prefix}.index")))
        files = {n: Path(f"{prefix}.data-{n:05}-of-{shards:05}") for n in {p.shard for p in places}}
        for number, file in files.items():
            check_shard(file, [place for place in places if place.shard == number])
        return {place.name: read_tensor(files[place.shard], place) for place in places}
    except OSError as error:
        raise ValueError(f"{error.filename}: cannot be read ({error.strerror})") from error


def find_index(path: Path, index: Path) -> Path:
    if index.is_file():
        return index
    if path.is_file() and ends_as_table(path):  # V1 keeps all in one table
        raise ValueError(
            f"{path}: a TensorFlow checkpoint of the old format V1; save it again as V2, with "
            "tf.compat.v1.train.Saver(write_version=2)"
        )
    raise ValueError(
        f"{path}: no TensorFlow checkpoint; {index.name} must lie there, beside its .data files"
    )


def ends_as_table(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(MAGIC)))
        return file.read(len(MAGIC)) == MAGIC


def read_index(file: Path) -> tuple[int, list[Place]]:
    """How many shards there are, and where the variables lie."""
    if file.stat().st_size > LARGEST_INDEX:
        raise ValueError(f"{file}: larger than the index of any TensorFlow checkpoint of a network")
    try:
        entries = table(file.read_bytes())
        shards = header(*next(entries, (b"", b"")))
        return shards, [place(name, message, shards) for name, message in entries]
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def header(key: bytes, message: bytes) -> int:
    """The number of shards, from the table's first entry."""
    numbers, _ = fields(message)
    shards = numbers.get(1, 0)
    if key or not 1 <= shards < MOST_SHARDS:
        raise ValueError("no index of a TensorFlow checkpoint of format V2; its header is missing")
    if numbers.get(2, 0):
        raise ValueError("written on a big-endian machine; expected little-endian values")
    return shards


def place(key: bytes, message: bytes, shards: int) -> Place:
    numbers, parts = fields(message)
    name, kind = key.decode(errors="backslashreplace"), numbers.get(1, 0)
    if 7 in parts or key.startswith(b"\0"):  # such keys have the slices themselves
        raise ValueError("holds a variable in slices; expected every variable in one piece")
    if kind not in DTYPES:
        raise ValueError(
            f"variable {name!r} is of TensorFlow's data type {kind}; expected float16, float32, "
            "float64, int32 or int64"
        )
    sides = [side for whole in parts.get(2, []) for side in fields(whole)[1].get(2, [])]
    shape = tuple(fields(side)[0].get(1, 0) for side in sides[:9])  # nine are too many
    shard, start, size = (numbers.get(field, 0) for field in (3, 4, 5))
    possible = len(shape) < 9 and math.prod(max(1, side) for side in shape) < 1 << 48
    expected = math.prod(shape) * np.dtype(DTYPES[kind]).itemsize
    if not possible or size != expected or shard >= shards:
        raise ValueError(f"{DAMAGED}; variable {name!r} of shape {shape} in {size} bytes")
    return Place(name, DTYPES[kind], shape, shard, start, size, numbers.get(6, 0))


def fields(message: bytes) -> tuple[dict[int, int], dict[int, list[bytes]]]:
    """The numbers and the parts (messages, strings) of a protocol buffers message, by field."""
    numbers: dict[int, int] = {}
    parts: dict[int, list[bytes]] = {}
    reader = Reader(message)
    while reader.more():
        field, wire = divmod(reader.number(), 8)
        if wire == 0:
            numbers[field] = reader.number()
        elif wire == 2:
            parts.setdefault(field, []).append(reader.take(reader.number()))
        elif wire in (1, 5):
            numbers[field] = little(reader.take(8 if wire == 1 else 4))
        else:
            raise ValueError(DAMAGED)
    return numbers, parts


def check_shard(file: Path, places: Sequence[Place]) -> None:
    """Raise where the variables do not fit into their shard, each at its own bytes."""
    if not file.is_file():
        raise ValueError(f"{file}: no such file; the checkpoint's .index names it")
    have = file.stat().st_size
    need = max(sum(place.size for place in places), *(place.start + place.size for place in places))
    if need > have:
        raise ValueError(
            f"{file}: truncated, or of another checkpoint; expected {need} bytes, found {have}"
        )


def read_tensor(file: Path, place: Place) -> Tensor:
    data = np.fromfile(file, np.uint8, place.size, offset=place.start)
    if masked_crc32c(data) != place.checksum:
        raise ValueError(f"{file}: damaged; the checksum of variable {place.name!r} differs")
    return torch.from_numpy(data.view(place.dtype).reshape(place.shape))
