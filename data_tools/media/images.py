"""Reads and writes images as uint8 RGB without loss."""
import io
import typing
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import icc, image_checks


class Header(typing.NamedTuple):
    """Holds what an image file states before its pixels.

    Attributes:
      size: height and width, pixels.
      profile: the ICC profile, see `icc`; b'' for none.
    """
    size: typing.Tuple[int, int]
    profile: bytes


def read_header(path: str) -> Header:
    """Reads the header of a file: no pixel is decoded.

    Raises:
      UserError: names the path; raised for everything that `read_image` refuses and that the header shows.
    """
    try:
        with files.open_regular(path) as file, _open(file, path) as image:
            return Header((image.height, image.width), icc.embedded(image))
    except UserError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def read_image(path: str, to_srgb: bool = False) -> np.ndarray:
    """Reads a frame as uint8 [H, W, 3], RGB.

    PNG, JPEG, BMP, TIFF and WebP are read, independent of the file's name. Grey, black-and-white, palette and
    interlaced images are converted (no value changes), and so are images with an alpha channel that is opaque
    everywhere.

    Args:
      path: of the file.
      to_srgb: convert colours by an embedded ICC profile to sRGB; else values stay as they are.
    Raises:
      UserError: names the path of a file that is missing, not regular, truncated, damaged or not an image; for
        more than 8 bits a channel, several images in one file (animations, pages), transparency and an EXIF orientation
        other than upright: converting those loses data or depends on the program; for more than 179 megapixels or
        1 GiB.
    """
    try:
        size = files.size(path)
        if size is not None and size > image_checks.MAX_BYTES:
            raise UserError('frame %s has %d bytes; more than %d are not read: it is damaged or not an image'
                            % (path, size, image_checks.MAX_BYTES))
        with files.open_regular(path) as file:
            data = file.read()
    except UserError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
    return decode_image(data, path, to_srgb)


def decode_image(data: bytes, path: str, to_srgb: bool = False) -> np.ndarray:
    """Decodes the bytes of a file as `read_image` does, with its errors; `path` is for the error only."""
    try:
        with _open(io.BytesIO(data), path) as image:
            damage = image_checks.png_damage(data) if image.format == 'PNG' else None
            if damage:
                raise ValueError(damage)
            image.load()
            _refuse(path, image_checks.orientation_refusal(image))
            profile = icc.embedded(image) if to_srgb else b''
            image = _without_alpha(image, path)
            if profile and not icc.problem(profile):
                image = icc.to_srgb(image, profile)
            return np.ascontiguousarray(np.asarray(image if image.mode == 'RGB' else image.convert('RGB')))
    except UserError:
        raise
    except Exception as error:   # Pillow raises OSError, SyntaxError, struct.error, zlib.error ... on broken files
        raise UserError('frame %s does not decode (%s): it is cut, damaged or not an image; copy or extract it again'
                        % (path, error)) from error


def _open(file, path):
    """Opens the PIL.Image of a file without loading it, and does all checks that need no pixels."""
    start = file.read(16)
    file.seek(0)
    try:
        image = Image.open(file, formats=image_checks.FORMATS)
    except UnidentifiedImageError:
        raise UserError('%s: not an image, or a damaged one (PNG, JPEG, BMP, TIFF and WebP are read); copy or extract '
                        'it again, convert it, or remove it' % path) from None
    except Image.DecompressionBombError:
        raise UserError('frame %s declares more than %d megapixels, the most that is read: it is damaged, or its '
                        'pixels must be divided among several files' % (path, 2 * Image.MAX_IMAGE_PIXELS / 1e6)
                        ) from None
    _refuse(path, image_checks.refusal(image, start))
    return image


def _refuse(path, reason):
    if reason:
        raise UserError('frame %s %s' % (path, reason))


def _unreadable(path, error):
    text = (isinstance(error, OSError) and error.strerror) or error
    return UserError('cannot read frame %s: %s; replace or remove it' % (path, text))


def _without_alpha(image, path):
    if image.mode in ('LA', 'RGBA', 'PA') or 'transparency' in image.info:
        image = image.convert('RGBA')
        lowest = image.getextrema()[3][0]
        if lowest < 255:
            raise UserError('frame %s is transparent in places (lowest alpha %d of 255): flatten it onto a background '
                            'first' % (path, lowest))
    return image


def write_png(path: str, image: np.ndarray, profile: bytes = b'') -> None:
    """Writes uint8 [H, W, 3] as PNG, atomically, with an ICC profile. Raises UserError when it cannot be written."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError('a frame must be uint8 [H, W, 3], not %s %s' % (image.dtype, list(image.shape)))
    files.write_bytes(path, encode_png(image, profile))


def encode_png(image: np.ndarray, profile: bytes = b'') -> bytes:
    """Encodes uint8 [H, W, 3] as the bytes of a PNG file, with an ICC profile unless that is empty.

    Of repeats only runs are searched: on frames that takes a sixth of the time of Pillow's default, and 1 to 8 % more
    bytes.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'PNG', compress_level=1, compress_type=zlib.Z_RLE, icc_profile=profile)
    return buffer.getvalue()
