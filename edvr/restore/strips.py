"""Cuts an image in strips of rows for the last layers of the network, which need the most memory for each pixel.

Every strip is computed with some rows of its neighbours, so its own rows have the values of the whole image.
"""
import typing

import numpy as np

_STRIPS = 4
_SMALL = 2 ** 16   # pixels; a smaller image is not cut, because the rows that are computed twice cost some 3 % there
_GRID = 4          # rows; the fast convolutions compute 4x4 pixels at a time, and strips keep that grid


def bounds(height: int, width: int, halo: int = _GRID) -> typing.List[typing.Tuple[int, int]]:
    """Returns the strips of an image: (first row, end) each, the rows of all in order.

    Args:
      height, width: of the image; height is a multiple of 4.
      halo: the least number of rows in a strip.
    """
    rows = height
    if height * width > _SMALL:
        rows = max(-(-height // (_STRIPS * _GRID)) * _GRID, halo)
    return [(first, min(first + rows, height)) for first in range(0, height, rows)]


def compute(function: typing.Callable, x: np.ndarray, centre: np.ndarray, halo_rows: int) -> np.ndarray:
    """Returns function(x, centre), computed strip by strip.

    Args:
      function: maps arrays [1, h, w, C] and [1, r*h, r*w, 3] to [1, s*h, s*w, 3] for every h; r and s whole numbers.
      x: float32 [1, H, W, C].
      centre: [1, r*H, r*W, 3].
      halo_rows: rows of its inputs, above and below its own, that an output row of `function` depends on.
    Returns:
      float32 [s*H, s*W, 3].
    """
    height, width = x.shape[1:3]
    halo = -(-halo_rows // _GRID) * _GRID
    strips, ratio = bounds(height, width, halo), centre.shape[1] // height
    result: typing.Any = None
    for first, end in strips:
        low, high = max(first - halo, 0), min(end + halo, height)
        part = function(x[:, low:high], centre[:, low * ratio:high * ratio])[0]
        if len(strips) == 1:
            return part
        scale = len(part) // (high - low)
        if result is None:
            result = np.empty((height * scale,) + part.shape[1:], part.dtype)
        result[first * scale:end * scale] = part[(first - low) * scale:(end - low) * scale]
    return result
