"""Image quality: PSNR and SSIM as papers on super-resolution report them.

Images are uint8 [H, W, C] with values 0..255, or float [H, W, C] with values in [0, 1] (clipped to that range
first); both kinds are compared on the scale 0..255, in float64. So the rounded convention is
`psnr(to_uint8(sr), gt)` and the unrounded one is `psnr(sr, gt)`.
"""
import numpy as np

from data_tools.base.errors import UserError

_LUMA = np.array([65.481, 128.553, 24.966]) / 255   # BT.601, studio swing: black is 16 and white is 235
_LUMA_OFFSET = 16.0
_RADIUS, _SIGMA = 5, 1.5   # the 11x11 Gaussian window of Wang et al. 2004
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_BAND_ROWS = 32   # rows worked on at a time: the temporaries of a band stay in the processor's cache


def to_levels(image: np.ndarray) -> np.ndarray:
    """Converts a uint8 or float image to float64 on the scale 0..255, without rounding."""
    image = np.asarray(image)
    if image.dtype == np.uint8:
        return image.astype(np.float64)
    if not np.issubdtype(image.dtype, np.floating):
        raise TypeError('an image must be uint8 or float in [0, 1], not %s' % image.dtype)
    return np.clip(image.astype(np.float64), 0, 1) * 255


def to_y(image: np.ndarray) -> np.ndarray:
    """Returns the luma of an RGB image as Matlab's rgb2ycbcr defines it (BT.601, studio swing), not rounded.

    Args:
      image: uint8 or float [H, W, 3].
    Returns:
      float64 [H, W, 1] on the scale of levels: 16 for black to 235 for white.
    """
    return (to_levels(image) @ _LUMA + _LUMA_OFFSET)[..., None]


def psnr(image: np.ndarray, truth: np.ndarray, crop_border: int = 0) -> float:
    """Returns the peak signal-to-noise ratio in dB over all pixels and channels, peak 255; infinite for equal images.

    Args:
      image, truth: uint8 or float [H, W, C].
      crop_border: pixels left out at each side.
    Raises:
      UserError: the sizes differ, or the border leaves nothing.
    """
    image, truth = _prepare(image, truth, crop_border, to_levels)
    return _psnr_levels(image, truth)


def ssim(image: np.ndarray, truth: np.ndarray, crop_border: int = 0) -> float:
    """Returns the structural similarity (Wang et al. 2004), mean over the channels.

    Gaussian window 11x11 with sigma 1.5, population variances, only where the whole window lies inside the
    image: the convention of the Matlab code and of BasicSR.

    Args and Raises: as `psnr`; images must be at least 11x11 after cropping.
    """
    image, truth = _prepare(image, truth, crop_border, to_levels)
    return _ssim_levels(image, truth)


def psnr_y(image: np.ndarray, truth: np.ndarray, crop_border: int = 0) -> float:
    """Returns the `psnr` of the luma (`to_y`) of two RGB images; the peak remains 255."""
    return _psnr_levels(*_prepare(image, truth, crop_border, to_y))


def ssim_y(image: np.ndarray, truth: np.ndarray, crop_border: int = 0) -> float:
    """Returns the `ssim` of the luma (`to_y`) of two RGB images."""
    return _ssim_levels(*_prepare(image, truth, crop_border, to_y))


def _prepare(image, truth, crop_border, convert):
    if image.shape != truth.shape:
        raise UserError('images of different sizes cannot be compared: %s and %s' % (image.shape, truth.shape))
    if crop_border:
        if 2 * crop_border >= min(image.shape[:2]):
            raise UserError('crop_border %d leaves nothing of a %dx%d image' % ((crop_border,) + image.shape[:2]))
        image, truth = (item[crop_border:-crop_border, crop_border:-crop_border] for item in (image, truth))
    return convert(image), convert(truth)


def _psnr_levels(image, truth):
    difference = image - truth
    mse = np.mean(np.square(difference, out=difference))
    return float(10 * np.log10(255.0 ** 2 / mse)) if mse else float('inf')


def _ssim_levels(image, truth):
    height, width, channels = image.shape
    size = 2 * _RADIUS + 1
    if min(height, width) < size:
        raise UserError('SSIM needs images of at least %dx%d; this one is %dx%d' % (size, size, height, width))
    # channels interleaved in the rows: a shift by one pixel is a shift by `channels` elements, no transposition
    image, truth = (item.reshape(height, width * channels) for item in (image, truth))
    total, rows = 0.0, height - 2 * _RADIUS
    for start in range(0, rows, _BAND_ROWS):
        stop = min(start + _BAND_ROWS, rows) + 2 * _RADIUS
        total += _ssim_sum(image[start:stop], truth[start:stop], channels)
    return total / (rows * (width - 2 * _RADIUS) * channels)


def _ssim_sum(a, b, channels):
    """Returns the sum of the SSIM map of a band; float64 [rows + 10, W * channels] each."""
    mean_a, mean_b = _blur(a, channels), _blur(b, channels)
    product = mean_a * mean_b
    squares = mean_a ** 2 + mean_b ** 2
    variances = _blur(a ** 2 + b ** 2, channels) - squares
    covariance = _blur(a * b, channels) - product
    return np.sum((2 * product + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2)))


def _gaussian():
    kernel = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    return kernel / kernel.sum()


_KERNEL = _gaussian()


def _blur(x, channels):
    """Returns the Gaussian blur of [H, W * channels] where the window fits: [H - 10, (W - 10) * channels]."""
    return _blur_axis(_blur_axis(x, 0, 1), 1, channels)


def _blur_axis(x, axis, step):
    length = x.shape[axis] - 2 * _RADIUS * step

    def shifted(k):
        window = slice(k * step, k * step + length)
        return x[window] if axis == 0 else x[:, window]

    result = _KERNEL[_RADIUS] * shifted(_RADIUS)
    buffer = np.empty_like(result)
    for k in range(_RADIUS):   # the kernel is symmetric: one product serves both sides
        np.add(shifted(k), shifted(2 * _RADIUS - k), out=buffer)
        buffer *= _KERNEL[k]
        result += buffer
    return result
