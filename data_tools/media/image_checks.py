"""Checks whether an image file can be a frame: it must convert to uint8 RGB without loss, equally in every library."""
import struct
import typing
import zlib

from PIL import Image

FORMATS = ('PNG', 'JPEG', 'BMP', 'TIFF', 'WEBP')
MAX_BYTES = 1 << 30   # of a file; the largest image that Pillow accepts, 179 megapixels, has 0.5 GB without compression

_EXACT_MODES = ('RGB', 'L', 'P', '1', 'LA', 'RGBA', 'PA')
_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_ORIENTATION, _BITS_PER_SAMPLE = 274, 258   # tags of EXIF and TIFF


def refusal(image: Image.Image, start: bytes) -> typing.Optional[str]:
    """Returns why an image cannot be a frame.

    Args:
      image: open but not loaded.
      start: the first 16 bytes of the file.
    Returns:
      the continuation of "frame X ...", or None if the image can be a frame.
    """
    if image.format == 'PNG' and start[12:16] != b'IHDR':
        return 'is damaged: a PNG begins with an IHDR chunk, but this one with %r; extract it again' % start[12:16]
    if not (image.width and image.height):
        return 'is damaged: its size is %dx%d; extract it again' % (image.height, image.width)
    bits = _bits(image)
    if bits > 8 or image.mode not in _EXACT_MODES:
        return ('has %s; only 8-bit RGB, grey or palette frames can be used without loss: convert it to 8-bit RGB first'
                % ('%d bits a channel' % bits if bits > 8 else 'mode %s' % image.mode))
    if getattr(image, 'is_animated', False):
        return 'contains several images (an animation or pages): extract each to its own file'
    return orientation_refusal(image)


def orientation_refusal(image: Image.Image) -> typing.Optional[str]:
    """Returns the `refusal` of the EXIF orientation alone, or None.

    A PNG may store the orientation behind the pixels: then only `load` finds it.
    """
    orientation = _orientation(image)
    if 2 <= orientation <= 8:
        return ('has EXIF orientation %d: some programs rotate or mirror it and others do not; store its pixels '
                'upright, for example with "magick mogrify -auto-orient"' % orientation)
    return None


def _bits(image):
    """Returns the bits a channel of an open image. Pillow silently reduces 16 bits to 8 in some modes."""
    if image.format == 'PNG':
        return 16 if any(';16' in str(tile[3]) for tile in image.tile) else 8
    if image.format == 'TIFF':
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
    return 8


def _orientation(image):
    """Returns the EXIF orientation, 1 to 8; 1, which means upright, if there is none or the EXIF block is damaged."""
    try:
        if image.format == 'TIFF':
            return int(image.tag_v2.get(_ORIENTATION, 1))
        exif = Image.Exif()
        exif.load(image.info.get('exif') or b'')
        return int(exif.get(_ORIENTATION, 1))
    except Exception:   # Pillow raises SyntaxError, struct.error, TypeError, ...; viewers ignore such a block
        return 1


def png_damage(data: bytes) -> typing.Optional[str]:
    """Returns the first problem of a PNG's chunks, or None. Pillow does not compare the checksums of the pixel data.

    Args:
      data: the content of the file.
    """
    position = len(_PNG_SIGNATURE)
    names: typing.List[bytes] = []
    while names[-1:] != [b'IEND']:
        if position + 12 > len(data):
            return 'it ends after %d bytes, before its last chunk' % len(data)
        length, name = struct.unpack_from('>I4s', data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            return 'chunk %r has %d bytes but the file ends before' % (name, length)
        if zlib.crc32(data[position + 4:end]) & 0xffffffff != struct.unpack_from('>I', data, end)[0]:
            return 'the checksum of chunk %r is wrong' % name
        names.append(name)
        position = end + 4
    return None if names.count(b'IHDR') == 1 else 'it has %d IHDR chunks' % names.count(b'IHDR')
