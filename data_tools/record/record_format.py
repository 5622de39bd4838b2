"""The record: one window of frames as bytes. Writer and reader both use this file.

A shard is a TFRecord file. Each record is one window: T LQ frames and the GT frame of the centre.

    int32 x 16    the fields of HEADER, little-endian
    int32 x T     frame numbers of the window inside its clip
    bytes         name of the clip, UTF-8, padded with zeros to a multiple of 4
    int32 x n     offsets in the record: the start of each chunk of the LQ stack, then the end of the last chunk
    int32 x m     the same for GT
    bytes         the chunks of LQ, the chunks of GT (see `tile_codec`: one chunk if raw, else one per tile)

To read a crop, the reader needs only the header and the chunks that hold the crop.
"""
import typing
import zlib

import numpy as np

from data_tools.base.errors import UserError
from data_tools.record import tile_codec

FORMAT_VERSION = 1
MAGIC = int.from_bytes(b'EDVR', 'little')
HEADER = ('magic', 'version', 'num_frames', 'scale', 'index', 'length', 'interval', 'lq_height', 'lq_width',
          'gt_height', 'gt_width', 'lq_tile', 'gt_tile', 'name_bytes', 'tables_at',
          'crc')   # zlib.crc32 of all other bytes
HEADER_BYTES = 4 * len(HEADER)
ENCODINGS = ('raw', 'tiles')
# default tile sizes (LQ, GT) in pixels: crops of 64 and 256 touch at most 3 x 3 and 5 x 5 tiles, which are fewer pixels
# to decode than with larger tiles; smaller tiles take more space and are not faster
TILES = {'raw': (0, 0), 'tiles': (32, 64)}


class Window(typing.NamedTuple):
    """One record, decoded.

    Attributes:
      clip: its name.
      centre: the centre frame.
      frames: the T frame numbers.
      length: frames in the clip.
      interval: distance of the window's frames.
      scale: GT size / LQ size, s.
      lq: uint8 [T, H, W, 3].
      gt: uint8 [s*H, s*W, 3].
    """
    clip: str
    centre: int
    frames: typing.List[int]
    length: int
    interval: int
    scale: int
    lq: np.ndarray
    gt: np.ndarray


class RecordError(ValueError):
    """The bytes are not a record of this version; the text gives the reason.

    Attributes:
      final: whether the records after it in the shard are lost too.
    """

    def __init__(self, text: str, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


def encode(window: Window, lq_tile: int = 0, gt_tile: int = 0) -> bytes:
    """Returns the record of a Window; tile sizes in pixels, 0 for raw."""
    frames = len(window.lq)
    lq_chunks = tile_codec.encode(np.asarray(window.lq).transpose(1, 0, 2, 3), lq_tile)
    gt_chunks = tile_codec.encode(np.asarray(window.gt)[:, np.newaxis], gt_tile)
    name = window.clip.encode('utf-8')
    name += b'\0' * (-len(name) % 4)
    tables_at = HEADER_BYTES + 4 * frames + len(name)
    lengths = [len(chunk) for chunk in lq_chunks + gt_chunks]
    ends = tables_at + 4 * (len(lengths) + 2) + np.cumsum([0] + lengths)
    if ends[-1] >= 2 ** 31:
        raise UserError('clip %s: a window takes %.1f GB; a record holds at most 2 GB' % (window.clip, ends[-1] / 1e9))
    tables = np.concatenate([ends[:len(lq_chunks) + 1], ends[len(lq_chunks):]])
    body = b''.join([np.asarray(window.frames, '<i4').tobytes(), name, tables.astype('<i4').tobytes()]
                    + lq_chunks + gt_chunks)
    values = dict(magic=MAGIC, version=FORMAT_VERSION, num_frames=frames, scale=window.scale, index=window.centre,
                  length=window.length, interval=window.interval, lq_height=window.lq.shape[1],
                  lq_width=window.lq.shape[2], gt_height=window.gt.shape[0], gt_width=window.gt.shape[1],
                  lq_tile=lq_tile, gt_tile=gt_tile, name_bytes=len(window.clip.encode('utf-8')), tables_at=tables_at)
    head = np.array([values[key] for key in HEADER[:-1]], '<u4').tobytes()
    return head + np.array([zlib.crc32(body, zlib.crc32(head))], '<u4').tobytes() + body


def header(record: bytes) -> typing.Dict[str, int]:
    """Reads the fields of HEADER. Raises RecordError for anything that is not a record of this version."""
    if len(record) < HEADER_BYTES:
        raise RecordError('%d bytes are too few for a record' % len(record))
    values = dict(zip(HEADER, np.frombuffer(record[:HEADER_BYTES], '<u4').tolist()))
    if values['magic'] != MAGIC:
        raise RecordError('it does not start like a record of make_tfrecords')
    if values['version'] != FORMAT_VERSION:
        raise RecordError('it has format version %d; this program reads version %d: pack the set again'
                          % (values['version'], FORMAT_VERSION))
    return values


def check(record: bytes) -> typing.Dict[str, int]:
    """Checks a record, and returns the fields of its header. Raises RecordError if its checksum is wrong."""
    values = header(record)
    data = memoryview(record)
    if zlib.crc32(data[HEADER_BYTES:], zlib.crc32(data[:HEADER_BYTES - 4])) != values['crc']:
        raise RecordError('its checksum is wrong: the bytes have changed since they were written')
    return values


def clip_name(record: bytes) -> str:
    """Reads the name of the clip of a record (with all its bytes)."""
    values = header(record)
    start = HEADER_BYTES + 4 * values['num_frames']
    return record[start:start + values['name_bytes']].decode('utf-8')


def decode(record: bytes) -> Window:
    """Decodes a whole record to a Window. Raises RecordError."""
    values = check(record)
    decoded = {}
    try:   # a record whose checksum fits can still lie
        frames = np.frombuffer(record, '<i4', values['num_frames'], HEADER_BYTES).tolist()
        at, name = values['tables_at'], clip_name(record)
        for side, count in (('lq', values['num_frames']), ('gt', 1)):
            height, width, tile = (values['%s_%s' % (side, key)] for key in ('height', 'width', 'tile'))
            rows, columns = tile_codec.grid(height, width, tile) if tile else (1, 1)
            table = np.frombuffer(record, '<i4', rows * columns + 1, at)
            at += 4 * (rows * columns + 1)
            decoded[side] = tile_codec.decode([record[a:b] for a, b in zip(table, table[1:])], height, count, width,
                                              tile)
    except (ValueError, OverflowError, MemoryError) as error:
        raise RecordError(str(error)) from error
    return Window(name, values['index'], frames, values['length'], values['interval'], values['scale'],
                  np.ascontiguousarray(decoded['lq'].transpose(1, 0, 2, 3)), np.ascontiguousarray(decoded['gt'][:, 0]))
