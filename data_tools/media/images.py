"""Reading and writing images as uint8 RGB, losslessly or not at all."""
import io

import numpy as np
from PIL import Image

from data_tools.base import files
from data_tools.base.errors import UserError

_EXACT = ('RGB', 'L', 'P', '1', 'LA', 'RGBA', 'PA')


def read_image(path):
    """A frame as uint8 [H, W, 3], RGB.

    Grey, black-and-white, palette and interlaced images are converted (no value changes), and so are images with an
    alpha channel that is opaque everywhere.

    Raises:
      UserError: naming the path, for anything that is missing, cut, not an image, has more than 8 bits a channel, or
        is really transparent: converting those would lose something.
    """
    try:
        with files.open_file(path, 'rb') as file:
            data = file.read()
    except Exception as error:
        raise UserError('cannot read frame %s: %s' % (path, error)) from error
    return decode_image(data, path)


def decode_image(data, path):
    """As `read_image`, from the file's bytes; `path` is for the error only."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            _check_depth(data, image, path)
            return _to_rgb(image, path)
    except UserError:
        raise
    except Exception as error:   # Pillow raises OSError, SyntaxError, struct.error, zlib.error ... on broken files
        raise UserError('frame %s does not decode (%s): it is cut, damaged or not an image; copy or extract it again'
                        % (path, error)) from error


def _check_depth(data, image, path):
    sixteen_bit_png = data[:8] == b'\x89PNG\r\n\x1a\n' and data[24] == 16   # Pillow would silently drop the low byte
    if sixteen_bit_png or image.mode not in _EXACT:
        kind = '16 bits a channel' if sixteen_bit_png else 'mode %s' % image.mode
        raise UserError('frame %s has %s; only 8-bit RGB, grey or palette frames can be used without loss: '
                        'convert it to 8-bit RGB first' % (path, kind))


def _to_rgb(image, path):
    if image.mode in ('LA', 'RGBA', 'PA') or 'transparency' in image.info:
        image = image.convert('RGBA')
        lowest = image.getextrema()[3][0]
        if lowest < 255:
            raise UserError('frame %s is transparent in places (lowest alpha %d of 255): flatten it onto a background '
                            'first' % (path, lowest))
    array = np.asarray(image if image.mode == 'RGB' else image.convert('RGB'))
    return np.ascontiguousarray(array)


def write_png(path, image, compress_level=6):
    """Writes uint8 [H, W, 3] as PNG, atomically. Raises UserError when it cannot be written."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError('a frame must be uint8 [H, W, 3], not %s %s' % (image.dtype, list(image.shape)))
    files.write_bytes(path, encode_png(image, compress_level))


def encode_png(image, compress_level=6):
    """uint8 [H, W, 3] as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'PNG', compress_level=compress_level)
    return buffer.getvalue()
