"""The table in which TensorFlow keeps the index of a checkpoint: LevelDB's, read from bytes.

Sorted keys with their values, in blocks that carry checksums; a last block says where the others
are. Source: LevelDB, doc/table_format.md. What the bytes say is checked before it is used.
"""

from collections.abc import Iterator

import numpy as np

from ssd.weights.crc32c import masked_crc32c

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")  # the end of every table
FOOTER = 48  # bytes: the places of two blocks, filled up, and the magic number
TRAILER = 5  # bytes behind a block: how it is compressed, and its checksum
LONGEST_KEY = 1000  # bytes; a key is stored as what differs from the one before, so keys could grow
DAMAGED = "truncated, damaged, or no index of a TensorFlow checkpoint"


class Reader:
    """Bytes from front to back, never beyond their end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def more(self) -> bool:
        return self.at < len(self.data)

    def take(self, count: int) -> bytes:
        start, self.at = self.at, self.at + count
        if self.at > len(self.data):
            raise ValueError(DAMAGED)
        return self.data[start : self.at]

    def number(self) -> int:
        """A whole number of up to 64 bits: seven bits a byte, the lowest first."""
        number = 0
        for shift in range(0, 64, 7):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise ValueError(DAMAGED)


def table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values, in rising order of the keys."""
    if len(data) < FOOTER or not data.endswith(MAGIC):
        raise ValueError(DAMAGED)
    footer = Reader(data[-FOOTER:])
    footer.number(), footer.number()  # the place of a block that TensorFlow leaves empty
    done = 0
    for _, where in entries(block(data, footer.number(), footer.number())):
        reader = Reader(where)
        start, size = reader.number(), reader.number()
        if start < done:  # one behind the other, so none is read again and again
            raise ValueError(DAMAGED)
        done = start + size + TRAILER
        yield from entries(block(data, start, size))


def block(data: bytes, start: int, size: int) -> bytes:
    stop = start + size
    if stop + TRAILER > len(data) - FOOTER:
        raise ValueError(DAMAGED)
    compression, checksum = data[stop], little(data[stop + 1 : stop + TRAILER])
    if masked_crc32c(np.frombuffer(data[start : stop + 1], np.uint8)) != checksum:
        raise ValueError(f"{DAMAGED}; a checksum differs")
    if compression:
        raise ValueError("its index is compressed; expected a plain one, as tf.train.Saver writes")
    return data[start:stop]


def entries(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block. It ends with a list of entries whose keys are whole, and its
    length; of other keys only what follows after the part shared with the one before is there."""
    reader, key = Reader(content[: -4 * (little(content[-4:]) + 1)]), b""
    while reader.more():
        shared, rest, length = reader.number(), reader.number(), reader.number()
        if shared > len(key) or shared + rest > LONGEST_KEY:
            raise ValueError(DAMAGED)
        key = key[:shared] + reader.take(rest)
        yield key, reader.take(length)


def little(data: bytes) -> int:
    return int.from_bytes(data, "little")
