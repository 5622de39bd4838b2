"""Restored frames of another size."""
import typing

import numpy as np
from PIL import Image

RESAMPLERS = {'lanczos': Image.LANCZOS, 'bicubic': Image.BICUBIC}


class Resize(typing.NamedTuple):
    """Resamples frames; kernels widen when frames get smaller, so that nothing aliases.

    height, width: int, pixels of the result.
    resampler: str, a name in RESAMPLERS.
    """
    height: int
    width: int
    resampler: str = 'lanczos'

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Returns float32 [height, width, C] of an image, float32 [H, W, C]; the same one if it has the size."""
        if image.shape[:2] == (self.height, self.width):
            return image
        size = self.width, self.height
        return np.stack([np.asarray(Image.fromarray(np.ascontiguousarray(channel, np.float32)).resize(
            size, RESAMPLERS[self.resampler])) for channel in np.moveaxis(image, 2, 0)], axis=2)


def wanted(size: typing.Tuple[int, int], outscale: float = 0., height: int = 0, resampler: str = 'lanczos',
           even: bool = False) -> typing.Optional[Resize]:
    """Returns the Resize for the restored frames of a clip; None if none is wanted.

    Args:
      size: (height, width) of the input, pixels.
      outscale: pixels of the output per pixel of the input, along a side; or 0.
      height: of the output, in pixels; the width follows. Or 0.
      resampler: a name in RESAMPLERS.
      even: round sides to even numbers.
    """
    factor = outscale or height / size[0]
    if not factor:
        return None
    unit = 2 if even else 1
    sides = [max(unit, unit * int(factor * side / unit + .5)) for side in size]
    return Resize(sides[0], sides[1], resampler)
