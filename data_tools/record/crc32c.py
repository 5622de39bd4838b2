"""CRC-32C (Castagnoli), the checksum around each record of a TFRecord file, in NumPy.

The CRC of long data is computed in lanes: the data is cut into pieces of equal length, whose CRCs advance together,
four bytes a step; then neighbours are joined. A CRC is linear over GF(2): a register r becomes M^n r after n zero
bytes, with a matrix M. The CRC of two pieces is the CRC of the first, shifted by the length of the second, XOR the CRC
of the second. (R. Williams, "A painless guide to CRC error detection algorithms", and zlib's crc32_combine.)
"""
import functools

import numpy as np

_POLYNOMIAL = 0x82f63b78   # reflected
_SHORT = 4096              # bytes; below this, byte by byte in Python is faster
_LANE_WORDS = 128          # approximate number of steps for long data
_MOST_LANES = 16384        # a power of two
_BITS = np.arange(32, dtype=np.uint32)


def masked_crc32c(data):
    """The CRC that TFRecord files store: rotated by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def crc32c(data):
    """CRC-32C of bytes, int in [0, 2**32). The speed is about 300 MB/s for megabytes."""
    if len(data) < _SHORT:
        return _bytewise(data)
    words = -(-len(data) // 4)
    lanes = 1
    while lanes < _MOST_LANES and lanes * _LANE_WORDS < words:
        lanes *= 2
    steps = -(-words // lanes)
    # with a register of 0, zeros before the data change nothing; a start with all ones equals inverting the first four
    # bytes of the data
    padded = np.zeros(4 * lanes * steps, np.uint8)
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, np.uint8)
    padded[start:start + 4] ^= 0xff
    registers = np.zeros(lanes, np.uint32)
    low, high = _tables()
    for word in np.ascontiguousarray(padded.view('<u4').reshape(lanes, steps).T):
        registers ^= word
        registers = low[registers & 0xffff] ^ high[registers >> 16]
    length = 4 * steps
    while len(registers) > 1:
        registers = _times(_zeros(length), registers[0::2]) ^ registers[1::2]
        length *= 2
    return int(registers[0]) ^ 0xffffffff


def _bytewise(data):
    table, crc = _byte_table(), 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


@functools.lru_cache(maxsize=None)
def _byte_table():
    """The register after one zero byte, for each value of its low byte: list of 256 int."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


@functools.lru_cache(maxsize=None)
def _tables():
    """The register after four zero bytes, as tables for its low and high half to XOR: 2 x uint32 [65536]."""
    halves = np.arange(65536, dtype=np.uint32)
    return _times(_zeros(4), halves), _times(_zeros(4), halves << np.uint32(16))


@functools.lru_cache(maxsize=256)
def _zeros(count):
    """The matrix of `count` zero bytes: uint32 [32], its columns."""
    if count == 1:
        table = np.array(_byte_table(), np.uint32)
        columns = np.uint32(1) << _BITS
        return columns >> np.uint32(8) ^ table[columns & 0xff]
    half = _zeros(count // 2)
    whole = _times(half, half)
    return _times(_zeros(1), whole) if count % 2 else whole


def _times(matrix, vectors):
    """Product with each of the vectors, uint32 [n]."""
    result = np.zeros_like(vectors)
    for bit in range(32):
        # 0 or all ones, depending on the bit
        result ^= (np.uint32(0) - (vectors >> np.uint32(bit) & np.uint32(1))) & matrix[bit]
    return result
