"""Reads a crop of a record in the graph, without the other bytes of the record. See `data_tools.record.record_format`.

Letters: T frames, F frames of a stack (T for LQ, 1 for GT), p side of the crop in pixels, t side of a tile.
"""
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.record import record_format
from data_tools.record.manifest import Manifest

MISFIT = 'a record does not fit its manifest'   # the error in the graph begins with it and names the record


class Record:
    """A serialized record (string scalar) whose fields are int32 scalars: `record['lq_height']`."""

    def __init__(self, serialized: tf.Tensor, num_frames: int, lq_tile: int, gt_tile: int,
                 shard: typing.Union[int, tf.Tensor] = -1, index: typing.Union[int, tf.Tensor] = -1,
                 crc: typing.Optional[tf.Tensor] = None) -> None:
        """Reads the fields and checks them against the manifest in the graph.

        Args:
          serialized: string scalar.
          num_frames, lq_tile, gt_tile: values of the manifest; the graph depends on them, so a record must have them.
          shard, index: int scalars, the position of the record, for the error.
          crc: int32 scalar, the checksum of the record in the manifest; None accepts any.
        """
        self.serialized = serialized
        header = self._integers(0, len(record_format.HEADER))
        self._fields = dict(zip(record_format.HEADER, tf.unstack(header)))
        expected = dict(magic=record_format.MAGIC, version=record_format.FORMAT_VERSION, num_frames=num_frames,
                        lq_tile=lq_tile,
                        gt_tile=gt_tile)
        if crc is not None:
            expected['crc'] = crc
        found, wanted = tf.stack([self[key] for key in expected]), tf.stack(list(expected.values()))
        with tf.control_dependencies([tf.debugging.Assert(
                tf.reduce_all(tf.equal(found, wanted)),
                [MISFIT, ' shard: ', shard, ' record: ', index, ', '.join(expected), found, wanted], summarize=8)]):
            self._at = {'lq': tf.identity(self['tables_at'])}
        self._frames = {'lq': num_frames, 'gt': 1}
        self._tile = {'lq': lq_tile, 'gt': gt_tile}
        rows, columns = self._grid('lq')
        self._at['gt'] = self._at['lq'] + 4 * (rows * columns + 1)

    def __getitem__(self, key: str) -> tf.Tensor:
        return self._fields[key]

    def pixels(self, side: str, y: tf.Tensor, x: tf.Tensor, size: int
               ) -> typing.Tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Reads the pixels that contain a crop, and the indices of the crop in them.

        Args:
          side: 'lq' or 'gt'.
          y, x: int32 scalars, the crop's first row and column.
          size: the crop's side (p).
        Returns:
          uint8 [P, 3], and int32 [F], [p], [p]: the terms of frame, row and column in the index of one of the P pixels.
        """
        return (self._tiled if self._tile[side] else self._raw)(side, y, x, size)

    def _raw(self, side, y, x, size):
        frames, width = self._frames[side], self[side + '_width']
        row_bytes = 3 * frames * width
        start = self._integers(self._at[side], 1)[0] + y * row_bytes
        data = tf.decode_raw(tf.strings.substr(self.serialized, start, size * row_bytes), tf.uint8)
        return (tf.reshape(data, [-1, 3]), tf.range(frames) * width, tf.range(size) * (frames * width),
                x + tf.range(size))

    def _tiled(self, side, y, x, size):
        frames, tile = self._frames[side], self._tile[side]
        most = (size + tile - 2) // tile + 1   # the largest number of tiles along a side that a crop can touch
        grid = self._grid(side)
        starts = self._integers(self._at[side], grid[0] * grid[1] + 1)
        # near the end of the frame there may be fewer tiles; then the last one is decoded twice
        rows, columns = (tf.minimum(first // tile + tf.range(most), count - 1) for first, count in zip((y, x), grid))
        numbers = tf.reshape(rows[:, None] * grid[1] + columns[None, :], [-1])
        begins, ends = tf.gather(starts, numbers), tf.gather(starts, numbers + 1)
        images = [tf.image.decode_png(tf.strings.substr(self.serialized, begin, length), channels=3)
                  for begin, length in zip(tf.unstack(begins, most ** 2), tf.unstack(ends - begins, most ** 2))]
        down, across = (first % tile + tf.range(size) for first in (y, x))
        area = tile * frames * tile
        return (tf.reshape(tf.concat(images, 0), [most ** 2 * area, 3]), tf.range(frames) * tile,
                down // tile * (most * area) + down % tile * (frames * tile), across // tile * area + across % tile)

    def _grid(self, side):
        tile = self._tile[side]
        if not tile:
            return tf.constant(1), tf.constant(1)
        return tuple((self['%s_%s' % (side, axis)] + (tile - 1)) // tile for axis in ('height', 'width'))

    def _integers(self, at, count):
        data = tf.decode_raw(tf.strings.substr(self.serialized, at, 4 * count), tf.int32)
        if isinstance(count, int):
            data.set_shape([count])
        return data


def expected_crc(manifest: Manifest, shard: tf.Tensor, index: tf.Tensor) -> typing.Optional[tf.Tensor]:
    """Returns the checksum of a record in a manifest.

    Args:
      manifest: of the set.
      shard: int32 scalar, number of the shard.
      index: int64 scalar, index of the record in it.
    Returns:
      int32 scalar, the bits of the field `crc`; None if the manifest has none.
    """
    if not manifest.has_record_crcs:
        return None
    crcs = np.concatenate([np.array(shard.record_crcs, np.uint32) for shard in manifest.shards]).view(np.int32)
    starts = np.cumsum([0] + [shard.records for shard in manifest.shards])[:-1].astype(np.int64)
    return tf.gather(crcs, tf.gather(starts, shard) + index)


def recorrelate(image: tf.Tensor) -> tf.Tensor:
    """Undoes `tile_codec.decorrelate`: uint8 [..., R-G, G, B-G] -> [..., RGB] modulo 256; static shape.

    It computes eight bytes at a time, in int64: slices and sums of single channels need a third of the decoding time.
    """
    shape = image.shape.as_list()
    count = int(np.prod(shape))
    padded = -(-count // 24) * 24   # whole pixels and whole words
    channel = np.arange(padded) % 3
    flat = tf.reshape(image, [count])
    after = tf.concat([flat[1:], np.zeros(padded - count + 1, np.uint8)], 0)
    before = tf.concat([np.zeros(1, np.uint8), flat[:-1], np.zeros(padded - count, np.uint8)], 0)
    if padded > count:
        flat = tf.concat([flat, np.zeros(padded - count, np.uint8)], 0)
    values = _words(flat)
    both, either = tf.bitwise.bitwise_and, tf.bitwise.bitwise_xor
    # red adds the next byte, blue the previous one
    green = either(both(_words(after), _mask(channel == 0)), both(_words(before), _mask(channel == 2)))
    # add without a carry into the next byte: the low seven bits by +, the highest bit by exclusive or
    low, high = _mask(np.full(8, 0x7f)), _mask(np.full(8, 0x80))
    total = either(both(values, low) + both(green, low), both(either(values, green), high))
    flat = tf.reshape(tf.bitcast(total, tf.uint8), [padded])
    return tf.reshape(flat if padded == count else flat[:count], shape)


def _words(flat):
    """Converts uint8 [8 n] to int64 [n], the same bytes."""
    return tf.bitcast(tf.reshape(flat, [-1, 8]), tf.int64)


def _mask(values):
    """Returns int64 [n] whose 8 n bytes are 255 where `values` is True, or the values themselves."""
    return np.where(values, 255, 0).astype(np.uint8).view(np.int64) if values.dtype == bool else values.astype(
        np.uint8).view(np.int64)
