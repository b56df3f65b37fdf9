import numpy as np
import pytest

from ssd.weights.crc32c import crc32c

RFC_3720 = {  # appendix B.4, and the check value of every table of CRCs
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(range(31, -1, -1)): 0x113FDB5C,
    b"123456789": 0xE3069283,
    b"": 0,
}


def bit_by_bit(data: bytes) -> int:
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize("data", RFC_3720, ids=len)
def test_the_checksums_are_those_of_the_standard(data: bytes) -> None:
    assert crc32c(np.frombuffer(data, np.uint8)) == RFC_3720[data]


@pytest.mark.parametrize("size", [1, 3, 4, 4095, 4096, 8191, 50_001])
def test_many_pieces_give_what_one_bit_after_the_other_gives(size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    assert crc32c(data) == bit_by_bit(data.tobytes())
