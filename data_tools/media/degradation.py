"""LQ from GT: Pillow's antialiased bicubic.

`Image.resize` with `BICUBIC` widens its kernel (a = -0.5) by the scale when it shrinks, so it filters before it
subsamples. That is the same idea as MATLAB's `imresize`, which made the LQ of REDS, but not the same pixels: border
handling, rounding and fixed-point weights differ by up to a few levels. Train and evaluate on one kind.
"""
import numpy as np
from PIL import Image

from data_tools.base.errors import UserError


def make_lq(gt, scale, path='GT frame'):
    """One frame, smaller.

    Args:
      gt: uint8 [s*H, s*W, 3], RGB.
      scale: int, s.
      path: str, what `gt` is, for the error.
    Returns:
      uint8 [H, W, 3].
    Raises:
      UserError: a side of `gt` is no multiple of `scale` (nothing is cropped silently: GT and LQ would not align).
    """
    height, width = gt.shape[:2]
    if height % scale or width % scale:
        raise UserError('%s is %dx%d (height x width), which does not divide by scale %d; crop the clip to %dx%d first'
                        % (path, height, width, scale, height // scale * scale, width // scale * scale))
    return np.asarray(Image.fromarray(gt).resize((width // scale, height // scale), Image.BICUBIC))
