"""Reads a shard without TensorFlow, so that the records after a damaged one can be read.

TFRecord framing: uint64 length, masked CRC-32C of those 8 bytes, the record, masked CRC-32C of the record.
"""
import struct
import typing

import google_crc32c

from data_tools.base import files
from data_tools.record import record_format
from data_tools.record.record_format import RecordError

FRAME_HEAD, FRAME_TAIL = 12, 4


Item = typing.Tuple[int, int, typing.Optional[bytes], typing.Optional[RecordError]]


def masked_crc32c(data: bytes) -> int:
    """Returns the CRC-32C that TFRecord files store: rotated by 15 bits, plus a constant."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def walk(path: str, whole: bool = True, first: int = 0, expected: typing.Optional[int] = None
         ) -> typing.Iterator[Item]:
    """Yields (index, offset, record or None, error or None) for the records of a shard.

    The `error` of a damaged record is a RecordError, and the walk continues after it. If the length of a record
    is damaged, the records after it cannot be found. Then the walk ends, and the error is `final`.

    Args:
      path: of the shard.
      whole: read and check the records; else only their lengths are checked.
      first: index of the first record to read; those before are skipped.
      expected: the number of records that the shard must have; if it ends earlier, the first missing record is an
        error. None for any number.
    Raises:
      UserError: the file cannot be read.
    """
    with files.reading(path), files.open_file(path, 'rb') as file:
        size, offset, index = files.size(path) or 0, 0, 0
        while offset < size:
            file.seek(offset)
            head = file.read(FRAME_HEAD)
            length, crc = struct.unpack('<QI', head) if len(head) == FRAME_HEAD else (0, None)
            if crc is None or crc != masked_crc32c(head[:8]):
                yield index, offset, None, RecordError('its length is damaged or cut; the records after it in the '
                                                       'shard cannot be found', final=True)
                return
            record, error = None, None
            if offset + FRAME_HEAD + length + FRAME_TAIL > size:
                error = RecordError('it is cut', final=True)
            elif whole and index >= first:
                record, error = _read_record(file, length)
            if index >= first or error:
                yield index, offset, record, error
            offset += FRAME_HEAD + length + FRAME_TAIL
            index += 1
            if error and error.final:
                return
    if expected is not None and index < expected:
        yield index, offset, None, RecordError('the shard ends after %d of %d records' % (index, expected), final=True)


def _read_record(file, length):
    """Returns (record, None) or (None, RecordError)."""
    data = file.read(length + FRAME_TAIL)
    record, tail = data[:length], data[length:]
    try:
        record_format.check(record)
    except RecordError as error:
        return None, error
    if len(tail) < FRAME_TAIL or struct.unpack('<I', tail)[0] != masked_crc32c(record):
        return None, RecordError('the checksum after it is damaged; the record itself is not')
    return record, None


def count_records(path: str) -> int:
    """Returns the number of records of a shard with a valid length and all their bytes."""
    return sum(error is None for _, _, _, error in walk(path, whole=False))
