"""Frame stacks as bytes: lossless, and a crop can be taken without decoding the rest.

A stack is uint8 [H, F, W, 3]: the same row of all F frames side by side, so that the rows of a crop are one run of
bytes for all frames. It is stored as

    raw     the array's bytes, rows after rows (tile size 0 in the record)
    tiles   a grid of squares of `tile` pixels, each a PNG of its own, [tile, F * tile, 3]; squares that reach over the
            frame's right or bottom end are filled up by repeating its last column or row, so all have one size

The PNGs are written here and not by Pillow because filters decide how fast they decode, and because green is subtracted
from red and blue (modulo 256) first, which makes them a tenth smaller: see `encode_png`.
"""
import io
import struct
import zlib

import numpy as np
from PIL import Image

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
SUB = 1   # number of the first of the PNG filters used: sub, up, average


def grid(height, width, tile):
    """Rows and columns of tiles that cover a frame."""
    return -(-height // tile), -(-width // tile)


def encode(stack, tile):
    """A stack as a list of bytes objects.

    Args:
      stack: uint8 [H, F, W, 3].
      tile: side of a tile in pixels, or 0 for raw.
    Returns:
      list: one element for raw, one per tile (row by row) for tiles.
    """
    if not tile:
        return [np.ascontiguousarray(stack).tobytes()]
    height, frames, width, _ = stack.shape
    rows, columns = grid(height, width, tile)
    missing = [(0, rows * tile - height), (0, 0), (0, columns * tile - width), (0, 0)]
    padded = np.pad(decorrelate(stack), missing, 'edge')
    tiles = padded.reshape(rows, tile, frames, columns, tile, 3).transpose(0, 3, 1, 2, 4, 5)
    return [encode_png(image) for image in tiles.reshape(rows * columns, tile, frames * tile, 3)]


def decode(chunks, height, frames, width, tile):
    """The stack, uint8 [H, F, W, 3], from what `encode` gave; for checking, in plain Python.

    Raises:
      ValueError: the bytes are not such a stack.
    """
    if not tile:
        return np.frombuffer(chunks[0], np.uint8).reshape(height, frames, width, 3)
    rows, columns = grid(height, width, tile)
    padded = np.empty([rows * tile, frames, columns * tile, 3], np.uint8)
    for i, chunk in enumerate(chunks):
        y, x = i // columns * tile, i % columns * tile
        padded[y:y + tile, :, x:x + tile] = decode_png(chunk).reshape(tile, frames, tile, 3)
    return recorrelate(padded[:height, :, :width])


def decorrelate(image):
    """[..., RGB] -> [..., R-G, G, B-G] modulo 256: neighbouring channels are alike, so the differences pack better."""
    green = image[..., 1]
    return np.stack([image[..., 0] - green, green, image[..., 2] - green], -1)


def recorrelate(image):
    """Undoes `decorrelate`."""
    green = image[..., 1]
    return np.stack([image[..., 0] + green, green, image[..., 2] + green], -1)


def encode_png(image):
    """uint8 [H, W, 3] as a PNG, each row filtered as makes its residuals smallest (sum of absolute values).

    Paeth is left out: it saves 4 % on photographs and makes decoding up to 30 % slower. Searching for repeats
    (zlib's default) takes six times as long as not to, and saves nothing on residuals of photographs; coding runs
    helps only where most residuals are zero, as in drawings, and elsewhere costs 2 % of size and 5 % of decoding.
    """
    height, width, _ = image.shape
    above, left = np.zeros_like(image), np.zeros_like(image)
    above[1:], left[:, 1:] = image[:-1], image[:, :-1]
    mean = (above & left) + ((above ^ left) >> 1)   # rounded down, without leaving 8 bits
    residuals = np.stack([image - left, image - above, image - mean]).reshape(3, height, 3 * width)
    # |residual| of -128 wraps to -128 in 8 bits; seen as unsigned it is 128, as it should be
    best = np.abs(residuals.view(np.int8)).view(np.uint8).sum(2, dtype=np.int32).argmin(0)
    rows = np.empty([height, 1 + 3 * width], np.uint8)
    rows[:, 0] = best + SUB
    rows[:, 1:] = residuals[best, np.arange(height)]
    strategy = zlib.Z_HUFFMAN_ONLY if 2 * np.count_nonzero(rows) > rows.size else zlib.Z_RLE
    packer = zlib.compressobj(6, zlib.DEFLATED, 15, 9, strategy)
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return _SIGNATURE + b''.join(_chunk(*item) for item in (
        (b'IHDR', header), (b'IDAT', packer.compress(rows.tobytes()) + packer.flush()), (b'IEND', b'')))


def _chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data) & 0xffffffff)


def decode_png(data):
    """uint8 [H, W, 3] from a PNG of `encode_png`. Raises ValueError if it is none or damaged."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert('RGB'))
    except Exception as error:   # Pillow raises whatever its decoders happen to raise
        raise ValueError('a tile does not decode: %s' % error) from error
