"""Reads and writes .safetensors files: the length of a header, a JSON header, and the numbers of all tensors.

The format is a published one, without code: the header states type, shape and place of each tensor.
"""
import json
import struct
from typing import Any, Dict, List, Tuple

import numpy as np

from data_tools.base import files, schema
from data_tools.base.errors import UserError

_LENGTH = struct.Struct('<Q')
_MAX_HEADER = 1 << 20   # bytes; that of the largest EDVR has about 30,000
_ALIGNMENT = 8
_TYPES = dict(F64='<f8', F32='<f4', F16='<f2', BF16='<u2', I64='<i8', I32='<i4', I16='<i2', I8='i1', U64='<u8',
              U32='<u4', U16='<u2', U8='u1', BOOL='u1')
_HEADER = schema.MapOf(schema.Record(
    dtype=schema.OneOf(*_TYPES), shape=schema.ListOf(schema.Integer(0), most=32),
    data_offsets=schema.ListOf(schema.Integer(0), 2, 2)))
_METADATA = schema.MapOf(schema.Text())
_ADVICE = 'copy or download it again'


def load(path: str) -> Dict[str, np.ndarray]:
    """Returns the tensors of a file by their names; BF16 as float32.

    Raises:
      UserError: the file cannot be read, or its header and its tensors do not account for each byte exactly once; the
        text names the file and what is wrong.
    """
    data = files.read_bytes(path)
    header, start = _header(data, path)
    values, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]['data_offsets']):
        first, behind = entry['data_offsets']
        if first != end:
            raise UserError('%s: tensor %s begins at byte %d of the data; it must begin at %d, behind the one before: '
                            '%s' % (path, name, first, end, _ADVICE))
        values[name], end = _tensor(data, start, name, entry, path), behind
    if start + end != len(data):
        raise UserError('%s has %d bytes; its header describes %d: %s' % (path, len(data), start + end, _ADVICE))
    return values


def save(path: str, values: Dict[str, np.ndarray]) -> None:
    """Writes float32 tensors by their names, in the order of the names: equal tensors give equal bytes.

    Raises:
      UserError: the file cannot be written.
    """
    header: Dict[str, Any] = {'__metadata__': {'format': 'pt'}}   # the layouts are PyTorch's
    parts: List[bytes] = []
    end = 0
    for name, value in sorted(values.items()):
        parts.append(np.ascontiguousarray(value, '<f4').tobytes())
        header[name] = dict(dtype='F32', shape=list(value.shape), data_offsets=[end, end + len(parts[-1])])
        end += len(parts[-1])
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % _ALIGNMENT)
    files.write_bytes(path, b''.join([_LENGTH.pack(len(text)), text] + parts))


def _header(data: bytes, path: str) -> Tuple[Dict[str, Any], int]:
    """Returns the header without its metadata, and the place of the first byte of the data."""
    length, = _LENGTH.unpack(data[:8]) if len(data) >= 8 else (None,)
    if length is None or not 2 <= length <= min(len(data) - 8, _MAX_HEADER) or data[8:9] != b'{':
        raise UserError('%s is not a .safetensors file, or is cut: %d bytes, header of %s: %s' % (
            path, len(data), 'unknown length' if length is None else '%d bytes' % length, _ADVICE))
    try:
        header = json.loads(data[8:8 + length].decode('utf-8'), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise UserError('%s: its header is not JSON (%s): %s' % (path, error, _ADVICE)) from None
    schema.check(header.pop('__metadata__', {}), _METADATA, path, _ADVICE)
    schema.check(header, _HEADER, path, _ADVICE)
    return header, 8 + length


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError('a name stands in it twice')
    return found


def _tensor(data: bytes, start: int, name: str, entry: Dict[str, Any], path: str) -> np.ndarray:
    first, behind = entry['data_offsets']
    dtype, count = np.dtype(_TYPES[entry['dtype']]), 1
    for size in entry['shape']:   # in Python's integers, which do not overflow
        count *= size
    if behind - first != count * dtype.itemsize:
        raise UserError('%s: tensor %s has %d bytes; %s of shape %s must have %d: %s' % (
            path, name, behind - first, entry['dtype'], entry['shape'], count * dtype.itemsize, _ADVICE))
    if start + behind > len(data):
        raise UserError('%s is cut: it has %d bytes, and tensor %s ends at byte %d: %s' % (
            path, len(data), name, start + behind, _ADVICE))
    value = np.frombuffer(data, dtype, count, start + first).reshape(entry['shape'])
    if entry['dtype'] == 'BF16':   # the upper half of a float32
        return (value.astype('<u4') << 16).view('<f4')
    return value
