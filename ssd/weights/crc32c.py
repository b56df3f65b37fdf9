"""CRC-32C (Castagnoli), the checksum in TensorFlow's files, by numpy: 100 MB take half a second.

A CRC without its inversions is linear: of two halves it is the first half's, moved on by as many
zeros as the second half is long, XOR the second half's. So many pieces run side by side and are put
together by such moves, which are matrices over the integers modulo two.
"""

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

PIECE = 4096  # bytes, about; long enough that the steps of putting pieces together do not count
ALL_ONES = 0xFFFFFFFF
FRONT = (0x641F6454).to_bytes(4, "little")  # takes the state from 0 to ALL_ONES, where a CRC starts
ONE_ZERO = np.array([0x82F63B78, *(1 << bit for bit in range(31))], np.uint32)  # a move by one bit


def moved(states: Words, move: Words) -> Words:
    """Every state times the matrix `move`, whose row i is what becomes of bit i. (n,) and (32,)"""
    result = np.zeros_like(states)
    for bit, row in enumerate(move):
        result ^= row * ((states >> np.uint32(bit)) & np.uint32(1))
    return result


def move_by(bits: int) -> Words:
    """The matrix of `bits` zeros, by squaring."""
    result, power = np.uint32(1) << np.arange(32, dtype=np.uint32), ONE_ZERO
    while bits:
        if bits & 1:
            result = moved(result, power)
        power = moved(power, power)
        bits >>= 1
    return result


HALVES = np.arange(1 << 16, dtype=np.uint32)
LOW, HIGH = (moved(half, move_by(32)) for half in (HALVES, HALVES << np.uint32(16)))


def crc32c(data: NDArray[np.uint8]) -> int:
    """CRC-32C of some bytes. data: (n,)"""
    pieces = 1 << max(0, data.size.bit_length() - PIECE.bit_length())
    words = -(-(len(FRONT) + data.size) // (4 * pieces))
    padding = np.zeros(4 * pieces * words - len(FRONT) - data.size, np.uint8)  # changes nothing
    filled = np.concatenate([padding, np.frombuffer(FRONT, np.uint8), data])
    states = np.zeros(pieces, np.uint32)
    for column in np.ascontiguousarray(filled.view("<u4").reshape(pieces, words).T):
        states ^= column
        states = LOW[states & np.uint32(0xFFFF)] ^ HIGH[states >> np.uint32(16)]
    return int(joined(states, 32 * words)) ^ ALL_ONES


def joined(states: Words, bits: int) -> np.uint32:
    """The state after all pieces of so many bits, from the state after each alone. (n,), n a power
    of two"""
    if len(states) == 1:
        return states[0]
    move = move_by(bits)
    while len(states) > 1:
        states = moved(states[::2], move) ^ states[1::2]
        move = moved(move, move)
    return states[0]


def masked_crc32c(data: NDArray[np.uint8]) -> int:
    """As TensorFlow and LevelDB store it, turned and shifted."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & ALL_ONES
