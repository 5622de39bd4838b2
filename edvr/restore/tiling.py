"""Splits a frame into overlapping tiles of one size, and merges restored tiles without seams.

A tile is padded with zeros where the frame continues, so its result is wrong near a cut and right further inside. Of
the pixels that two tiles share, the outer three eighths of each are not used; in the middle quarter the weights of the
two tiles change linearly.
"""
import typing

import numpy as np

from data_tools.base.errors import UserError

_UNUSED, _FADE = 3 / 8, 1 / 4   # parts of the overlap


def padded_size(height: int, width: int, multiple: int,
                minimum: typing.Tuple[int, int] = (0, 0)) -> typing.Tuple[int, int]:
    """Returns the size of the result of `pad`: multiples of `multiple`, at least `minimum` (height, width)."""
    height, width = (max(-(-size // multiple) * multiple, least) for size, least in zip((height, width), minimum))
    return height, width


def pad(frame: np.ndarray, size: typing.Tuple[int, int]) -> np.ndarray:
    """Pads at the bottom and the right by reflection.

    Args:
      frame: [H, W, C] of any size from 1x1 (where the pad is larger than the frame, it is reflected repeatedly).
      size: (height, width) of the result, at least the frame's.
    Returns:
      [height, width, C]; the frame itself if it has that size.
    """
    pads = [wanted - side for wanted, side in zip(size, frame.shape)]
    if not any(pads):
        return frame
    return np.pad(frame, [(0, pads[0]), (0, pads[1]), (0, 0)], 'reflect')


def starts(length: int, tile: int, overlap: int, multiple: int) -> typing.List[int]:
    """Returns the starts of tiles along an axis: evenly spread; neighbours share at least `overlap` pixels.

    Args:
      length: pixels along the axis, a multiple of `multiple`.
      tile: pixels of a tile, a multiple of `multiple`.
      overlap: pixels, less than `tile`.
      multiple: the network halves the image several times; tiles that begin at multiples sample the same grid.
    Returns:
      list of int; the last tile ends exactly at `length`.
    """
    if tile >= length:
        return [0]
    units, span = (length - tile) // multiple, (tile - overlap) // multiple
    count = -(-units // span)
    return [round(i * units / count) * multiple for i in range(count + 1)]


def check(tile: int, overlap: int, multiple: int) -> None:
    """Raises UserError for a tile that is too small for the overlaps at its sides."""
    if tile % multiple:
        raise UserError('tile is %d; it must be a multiple of %d, the granularity of the network' % (tile, multiple))
    if tile < 2 * overlap or tile - overlap < multiple:
        raise UserError('tile is %d with tile_overlap %d; a tile must be at least twice its overlap: take a larger '
                        'tile or a smaller overlap' % (tile, overlap))


def weights(begin: int, tile: int, length: int, overlap: int, scale: int) -> np.ndarray:
    """Returns the weight of each pixel of a restored tile along one axis, before normalisation.

    Args:
      begin: of the tile, LQ pixels.
      tile: its length.
      length: of the frame.
      overlap: pixels that neighbouring tiles share.
      scale: output pixels per LQ pixel.
    Returns:
      float32 [tile * scale] in [0, 1]: 1 inside and at the frame's own border, falling to 0 towards a cut.
    """
    position = (np.arange(tile * scale) + 0.5) / scale
    result = np.ones(tile * scale)
    for distance, cut in ((position, begin > 0), (tile - position, begin + tile < length)):
        if cut and overlap:
            result *= np.clip((distance - overlap * _UNUSED) / (overlap * _FADE), 0, 1)
    return result.astype(np.float32)


class Tiling:
    """The tiles of frames of one size, a multiple of `multiple` in both directions.

    Attributes:
      frame: (height, width) of the frames.
      boxes: list of (slice of rows, slice of columns), in LQ pixels.
      pixels: the LQ pixels of all tiles together.

    str() gives the number of tiles and their size, height x width, for the user.
    """

    def __init__(self, frame: typing.Tuple[int, int], tile: typing.Sequence[int], overlap: int, multiple: int,
                 scale: int) -> None:
        """Computes the boxes.

        Args:
          frame, tile: (height, width) in LQ pixels; a tile larger than the frame is cut down to it.
          overlap: LQ pixels that neighbouring tiles share.
          multiple: the sides of tiles are multiples of it.
          scale: output pixels per LQ pixel.
        Raises:
          UserError: a tile that is cut and not at least twice the overlap.
        """
        self.frame, self._scale = frame, scale
        axes = []
        for length, side in zip(frame, tile):
            if side < length:
                check(side, overlap, multiple)
            side = min(side, length)
            axes.append((starts(length, side, overlap, multiple), side, length))
        self.boxes = [(slice(y, y + axes[0][1]), slice(x, x + axes[1][1])) for y in axes[0][0] for x in axes[1][0]]
        self.pixels = len(self.boxes) * axes[0][1] * axes[1][1]
        rows, columns = (_normalised(begins, side, length, overlap, scale) for begins, side, length in axes)
        self._weights = [(row, column) for row in rows for column in columns]

    def __str__(self) -> str:
        rows, columns = self.boxes[0]
        size = '%dx%d' % (rows.stop - rows.start, columns.stop - columns.start)
        return '%d tiles of %s' % (len(self.boxes), size) if len(self.boxes) > 1 else 'the whole frame'

    def blend(self, tiles: typing.Iterable[np.ndarray]) -> np.ndarray:
        """Merges restored tiles.

        Args:
          tiles: iterable of float32 [s*h, s*w, C], in the order of `boxes`.
        Returns:
          float32 [s*H, s*W, C].
        """
        result = None
        for (rows, columns), (row, column), tile in zip(self.boxes, self._weights, tiles):
            if len(self.boxes) == 1:
                return tile
            if result is None:
                result = np.zeros([n * self._scale for n in self.frame] + [tile.shape[2]], np.float32)
            area = tuple(slice(part.start * self._scale, part.stop * self._scale) for part in (rows, columns))
            result[area] += tile * row[:, None, None] * column[:, None]
        return result


def _normalised(begins: typing.Sequence[int], tile: int, length: int, overlap: int, scale: int
                ) -> typing.List[np.ndarray]:
    """Returns `weights` of all tiles of an axis, scaled so that they add up to 1 everywhere."""
    total, parts = np.zeros(length * scale, np.float32), []
    for begin in begins:
        parts.append(weights(begin, tile, length, overlap, scale))
        total[begin * scale:(begin + tile) * scale] += parts[-1]
    return [part / total[begin * scale:(begin + tile) * scale] for begin, part in zip(begins, parts)]
