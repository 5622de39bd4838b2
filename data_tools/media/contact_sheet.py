"""Contact sheets: a grid of small pictures with captions."""
import typing

import numpy as np
from PIL import Image, ImageDraw

CAPTION = 16   # height of a line of text, pixels
GAP = 4
Cell = typing.Tuple[str, typing.Sequence[np.ndarray]]   # caption, and images uint8 [h, w, 3] each


def sheet(cells: typing.Sequence[Cell], columns: int, height: int) -> np.ndarray:
    """Draws a grid of cells.

    Args:
      cells: caption and images of each; the images are side by side in the cell.
      columns: cells in a row.
      height: of the images in the sheet, pixels; they keep their shape. Enlarged ones show their pixels as squares.
    Returns:
      uint8 [H, W, 3].
    """
    strips = [_strip([_scaled(image, height) for image in images]) for _, images in cells]
    width = max(strip.width for strip in strips) + GAP
    rows = -(-len(cells) // columns)
    page = Image.new('RGB', (width * min(columns, len(cells)), rows * (height + CAPTION + GAP)), (24, 24, 24))
    draw = ImageDraw.Draw(page)
    for i, ((caption, _), strip) in enumerate(zip(cells, strips)):
        x, y = i % columns * width, i // columns * (height + CAPTION + GAP)
        draw.text((x + 2, y + 2), caption.encode('ascii', 'replace').decode(), fill=(255, 255, 255))
        page.paste(strip, (x, y + CAPTION))
    return np.asarray(page)


def _scaled(image, height):
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    method = Image.NEAREST if height >= image.shape[0] else Image.BICUBIC
    return Image.fromarray(np.ascontiguousarray(image)).resize((width, height), method)


def _strip(images):
    strip = Image.new('RGB', (sum(image.width + 2 for image in images) - 2, images[0].height))
    x = 0
    for image in images:
        strip.paste(image, (x, 0))
        x += image.width + 2
    return strip
