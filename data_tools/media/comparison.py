"""Comparison pictures: LQ | bicubic | restored | GT, side by side."""
import typing

import numpy as np
from PIL import Image, ImageDraw

_CAPTION_HEIGHT = 16


def side_by_side(panels: typing.Sequence[typing.Tuple[str, np.ndarray]]) -> np.ndarray:
    """Joins images into one, each under its caption.

    Args:
      panels: list of (str, uint8 [h, w, 3]); smaller images are enlarged to the last one's size, pixels kept visible.
    Returns:
      uint8 [16 + H, len(panels) * W, 3].
    """
    height, width = panels[-1][1].shape[:2]
    sheet = Image.new('RGB', (width * len(panels), height + _CAPTION_HEIGHT))
    draw = ImageDraw.Draw(sheet)
    for i, (caption, image) in enumerate(panels):
        sheet.paste(Image.fromarray(image).resize((width, height), Image.NEAREST), (i * width, _CAPTION_HEIGHT))
        draw.text((i * width + 4, 2), caption, fill=(255, 255, 255))
    return np.asarray(sheet)
