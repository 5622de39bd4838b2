"""The eight flips and transpositions of an image, for self-ensemble: all are restored, undone and averaged."""
import numpy as np

NUM_TRANSFORMS = 8


def versions(ensemble: bool) -> int:
    """Returns how many versions of an image are restored, with or without self-ensemble."""
    return NUM_TRANSFORMS if ensemble else 1


def transform(image: np.ndarray, index: int) -> np.ndarray:
    """Returns version `index` (0..7; 0 is the image itself) of an image.

    Args:
      image: [H, W, C] of any dtype.
      index: int: bit 0 flips left-right, bit 1 flips top-bottom, then bit 2 transposes.
    Returns:
      [H, W, C], or [W, H, C] for 4..7; a view.
    """
    if index & 1:
        image = image[:, ::-1]
    if index & 2:
        image = image[::-1]
    return np.swapaxes(image, 0, 1) if index & 4 else image


def inverse(image: np.ndarray, index: int) -> np.ndarray:
    """Undoes `transform(_, index)`; works on an image of any scale."""
    if index & 4:
        image = np.swapaxes(image, 0, 1)
    if index & 2:
        image = image[::-1]
    return image[:, ::-1] if index & 1 else image
