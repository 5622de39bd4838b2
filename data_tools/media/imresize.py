"""Bicubic interpolation as MATLAB's `imresize` computes it in double precision, by whole factors, exactly.

It made the LQ of REDS and Vimeo-90K, and the bicubic baseline of papers: the cubic of Keys with a = -0.5, widened by
the factor when it shrinks (antialiasing), pixels mirrored at the borders (the border pixel twice), one rounding at the
end, halves up. All weights are integers over a common denominator, so every sum is exact: the pixels do not depend on
the order of additions or on the machine.
"""
import typing

import numpy as np


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Returns uint8 [H / factor, W / factor, 3] of uint8 [H, W, 3]; the sides must divide by `factor`."""
    if factor == 1:
        return image
    total = 2 * (2 * factor) ** 3 * factor   # the sum of the weights
    first = -(3 * factor // 2)   # the first pixel that the output pixel 0 depends on
    weights = [_cubic(2 * pixel - (factor - 1), 2 * factor) for pixel in range(first, factor - first)]
    values = image
    for axis, dtype in enumerate((np.float32, np.float64)):   # sums of the first axis are below 2 ** 24
        size = image.shape[axis] // factor
        padded = _mirrored(values, axis, -first, dtype)
        values = sum(weight * padded[_along(axis, tap, tap + factor * size, factor)]
                     for tap, weight in enumerate(weights) if weight)
    return _rounded(values, total ** 2)


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Returns uint8 [factor * H, factor * W, 3] of uint8 [H, W, 3]."""
    if factor == 1:
        return image
    total = 2 * (2 * factor) ** 3
    values = image
    for axis, dtype in enumerate((np.float32, np.float64)):
        size = image.shape[axis]
        padded = _mirrored(values, axis, 2, dtype)
        shape = list(values.shape)
        shape[axis] *= factor
        values = np.empty(shape, dtype)
        for phase in range(factor):   # output pixels at one place between the pixels of the input
            weights = [_cubic(2 * factor * pixel - (2 * phase + 1 - factor), 2 * factor) for pixel in range(-2, 3)]
            values[_along(axis, phase, None, factor)] = sum(weight * padded[_along(axis, tap, tap + size, 1)]
                                                            for tap, weight in enumerate(weights) if weight)
    return _rounded(values, total ** 2)


def _cubic(distance: int, unit: int) -> int:
    """Returns 2 unit ** 3 times the kernel at distance / unit."""
    x = abs(distance)
    if x <= unit:
        return 3 * x ** 3 - 5 * x ** 2 * unit + 2 * unit ** 3
    return -x ** 3 + 5 * x ** 2 * unit - 8 * x * unit ** 2 + 4 * unit ** 3 if x <= 2 * unit else 0


def _mirrored(values: np.ndarray, axis: int, count: int, dtype: typing.Any) -> np.ndarray:
    padding = [(0, 0)] * 3
    padding[axis] = count, count
    return np.pad(values, padding, 'symmetric').astype(dtype)


def _along(axis: int, start: int, stop: typing.Optional[int], step: int) -> typing.Tuple[slice, ...]:
    return (slice(None),) * axis + (slice(start, stop, step),)


def _rounded(values: np.ndarray, total: int) -> np.ndarray:
    return np.clip(np.floor(values / total + 0.5), 0, 255).astype(np.uint8)
