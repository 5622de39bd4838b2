"""Converts restored values to the levels of image files."""
import numpy as np

_BAND_ROWS = 32   # rows worked on at a time: the temporaries of a band stay in the processor's cache


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Converts float [H, ...] in [0, 1] to uint8 [H, ...], clipped and rounded to the nearest level (ties to even)."""
    return quantize(image, np.uint8)


def quantize(image: np.ndarray, dtype: type) -> np.ndarray:
    """Converts as `to_uint8`, to np.uint8 or np.uint16 with all its levels; in bands of rows, to save memory."""
    image = np.asarray(image)
    levels = np.empty(image.shape, dtype)
    for first in range(0, len(image), _BAND_ROWS):
        scaled = np.clip(image[first:first + _BAND_ROWS], 0, 1)   # a new array: what follows may work in place
        scaled *= np.iinfo(dtype).max
        levels[first:first + _BAND_ROWS] = np.rint(scaled, out=scaled)
    return levels
