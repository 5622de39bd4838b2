"""Reading a shard without TensorFlow, so that one damaged record does not hide those behind it.

TFRecord framing: uint64 length, masked CRC32C of those 8 bytes, the record, masked CRC32C of the record. The lengths
are checked by their CRC here; the records by the checksum they carry themselves (`layout.check`).
"""
import struct

from data_tools.base import files
from data_tools.record import layout

FRAME_HEAD, FRAME_TAIL = 12, 4


def _make_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _make_table()


def masked_crc32c(data):
    """The CRC that TFRecord files use. Byte by byte: for short data only."""
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xff]
    crc ^= 0xffffffff
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def walk(path, whole=True, first=0):
    """Yields (index, offset, record or None, error or None) for the records of a shard.

    A damaged record is told by a layout.RecordError as its `error`, and the walk goes on behind it. If a length is
    damaged nothing behind it can be found, so that is the last one.

    Args:
      path: of the shard.
      whole: bool, read and check the records; else only their places are told.
      first: index of the first record to read; those before are stepped over.
    """
    with files.open_file(path, 'rb') as file:
        size, offset, index = files.size(path), 0, 0
        while offset < size:
            file.seek(offset)
            head = file.read(FRAME_HEAD)
            length, crc = struct.unpack('<QI', head) if len(head) == FRAME_HEAD else (0, None)
            if crc is None or crc != masked_crc32c(head[:8]):
                yield index, offset, None, layout.RecordError('its length is damaged or cut; what is behind it in the '
                                                               'shard cannot be found', final=True)
                return
            record, error = None, None
            if offset + FRAME_HEAD + length + FRAME_TAIL > size:
                error = layout.RecordError('it is cut', final=True)
            elif whole and index >= first:
                record = file.read(length)
                try:
                    layout.check(record)
                except layout.RecordError as problem:
                    record, error = None, problem
            if index >= first:
                yield index, offset, record, error
            offset += FRAME_HEAD + length + FRAME_TAIL
            index += 1
