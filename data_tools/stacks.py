"""Frame stacks as bytes: lossless, and a crop can be taken without decoding the rest.

A stack is uint8 [H, F, W, 3]: the same row of all F frames side by side, so that the rows of a crop are one run of
bytes for all frames. It is stored as

    raw     the array's bytes, rows after rows (tile size 0 in the record)
    tiles   a grid of squares of `tile` pixels, each a PNG of its own, [tile, F * tile, 3]; squares that reach over the
            frame's right or bottom end are filled up by repeating its last column or row, so all have one size

The PNGs are written here and not by Pillow because the filter decides how fast they decode, and because the green
channel is subtracted from red and blue (modulo 256) first, which makes them smaller: see `encode_png`.
"""
import struct
import zlib

import numpy as np

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
UP, AVERAGE = 2, 3


def grid(height, width, tile):
    """Rows and columns of tiles that cover a frame."""
    return -(-height // tile), -(-width // tile)


def encode(stack, tile, **png):
    """A stack as a list of bytes objects.

    Args:
      stack: uint8 [H, F, W, 3].
      tile: side of a tile in pixels, or 0 for raw.
      **png: options of `encode_png`.
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
    return [encode_png(image, **png) for image in tiles.reshape(rows * columns, tile, frames * tile, 3)]


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


def encode_png(image, filter_type=AVERAGE, level=6, strategy=zlib.Z_FILTERED):
    """uint8 [H, W, 3] as a PNG whose rows all use one filter.

    Args:
      image: uint8 [H, W, 3].
      filter_type: UP or AVERAGE; both decode faster than Paeth, which encoders choose for most rows of a photograph.
      level, strategy: of zlib.
    """
    height, width, _ = image.shape
    above = np.zeros_like(image)
    above[1:] = image[:-1]
    if filter_type == UP:
        predicted = above
    else:
        left = np.zeros_like(image)
        left[:, 1:] = image[:, :-1]
        # the mean rounded down without leaving 8 bits
        predicted = (above & left) + ((above ^ left) >> 1)
    rows = np.empty([height, 1 + 3 * width], np.uint8)
    rows[:, 0] = filter_type
    rows[:, 1:] = (image - predicted).reshape(height, 3 * width)
    packer = zlib.compressobj(level, zlib.DEFLATED, 15, 9, strategy)
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return _SIGNATURE + b''.join(_chunk(*item) for item in (
        (b'IHDR', header), (b'IDAT', packer.compress(rows.tobytes()) + packer.flush()), (b'IEND', b'')))


def _chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data) & 0xffffffff)


def decode_png(data):
    """uint8 [H, W, 3] from a PNG of `encode_png`. Raises ValueError if it is none or damaged."""
    import io

    from PIL import Image
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert('RGB'))
    except Exception as error:   # Pillow raises whatever its decoders happen to raise
        raise ValueError('a tile does not decode: %s' % error) from error
