"""Cuts an image in strips of rows for the last layers of the network, which need the most memory for each pixel.

Every strip is computed with some rows of its neighbours, so its own rows have the values of the whole image.
"""
import numpy as np

from edvr.network.edvr import ENLARGE_REACH

_STRIPS = 4
_SMALL = 2 ** 16   # pixels; a smaller image is not cut, because the rows that are computed twice cost some 3 % there
_GRID = 4          # rows; the fast convolutions compute 4x4 pixels at a time, and strips keep that grid
_HALO = -(-ENLARGE_REACH // _GRID) * _GRID


def bounds(height, width):
    """The strips of an image: list of (first row, end), the rows of all in order.

    Args:
      height, width: int, of the image; height is a multiple of 4.
    """
    rows = height
    if height * width > _SMALL:
        rows = max(-(-height // (_STRIPS * _GRID)) * _GRID, _HALO)
    return [(first, min(first + rows, height)) for first in range(0, height, rows)]


def compute(function, x, centre):
    """function(x, centre), strip by strip.

    Args:
      function: maps arrays [1, h, w, C] and [1, r*h, r*w, 3] to [1, s*h, s*w, 3] for every h; r and s whole numbers.
      x: float32 [1, H, W, C].
      centre: [1, r*H, r*W, 3].
    Returns:
      float32 [s*H, s*W, 3].
    """
    height, width = x.shape[1:3]
    strips, ratio, result = bounds(height, width), centre.shape[1] // height, None
    for first, end in strips:
        low, high = max(first - _HALO, 0), min(end + _HALO, height)
        part = function(x[:, low:high], centre[:, low * ratio:high * ratio])[0]
        if len(strips) == 1:
            return part
        scale = len(part) // (high - low)
        if result is None:
            result = np.empty((height * scale,) + part.shape[1:], part.dtype)
        result[first * scale:end * scale] = part[(first - low) * scale:(end - low) * scale]
    return result
