"""Writes checkpoints as TensorFlow writes them (V2, one shard), and pieces of them that lie.

TensorFlow 2.21 reads what `write_checkpoint` writes. The messages are those of its
core/protobuf/tensor_bundle.proto; the table is LevelDB's, in one block without shared keys.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from ssd.weights.crc32c import masked_crc32c

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
KINDS = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}


def write_checkpoint(prefix: Path, variables: Mapping[str, Tensor]) -> None:
    """NAME.index and NAME.data-00000-of-00001 of the variables, in the order of their names."""
    messages, start = {"": header()}, 0
    with Path(f"{prefix}.data-00000-of-00001").open("wb") as file:
        for name in sorted(variables):
            values = np.asarray(variables[name])
            data = values.tobytes()
            messages[name] = entry(
                KINDS[str(values.dtype)], values.shape, start, len(data), checksum=masked(data)
            )
            start += file.write(data)
    Path(f"{prefix}.index").write_bytes(table(messages))


def header(shards: int = 1, big_endian: bool = False) -> bytes:
    return field(1, shards) + field(2, int(big_endian)) + field(3, field(1, 1))


def entry(
    kind: int, shape: tuple[int, ...], start: int, size: int, shard: int = 0, checksum: int = 0
) -> bytes:
    sides = b"".join(field(2, field(1, side)) for side in shape)
    place = field(3, shard) + field(4, start) + field(5, size)
    return field(1, kind) + field(2, sides) + place + number(6 * 8 + 5) + fixed(checksum)


def table(messages: Mapping[str, bytes], compression: int = 0) -> bytes:
    """The content of an .index: one block, an empty one, that of their places, and the footer."""
    content, places = b"", []
    for rows in (messages, {}, None):
        rows = {"~": places[0]} if rows is None else rows
        whole = block([(0, name.encode(), value) for name, value in rows.items()])
        places.append(number(len(content)) + number(len(whole)))
        content += trailed(whole, compression)
    return content + (places[1] + places[2]).ljust(40, b"\0") + MAGIC


def block(rows: list[tuple[int, bytes, bytes]]) -> bytes:
    """Rows of how much of the key before is kept, the rest of the key, and the value."""
    content = b""
    for shared, rest, value in rows:
        content += number(shared) + number(len(rest)) + number(len(value)) + rest + value
    return content + fixed(0) + fixed(1)


def trailed(content: bytes, compression: int = 0) -> bytes:
    content += bytes([compression])
    return content + fixed(masked(content))


def field(index: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return number(index * 8) + number(value)
    return number(index * 8 + 2) + number(len(value)) + value


def number(value: int) -> bytes:
    digits = [value & 0x7F]
    while value := value >> 7:
        digits[-1] |= 0x80
        digits.append(value & 0x7F)
    return bytes(digits)


def fixed(value: int) -> bytes:
    return value.to_bytes(4, "little")


def masked(data: bytes) -> int:
    return masked_crc32c(np.frombuffer(data, np.uint8))
