"""Fingerprints of files: they change with the content and need a few small reads instead of the whole file.

A fingerprint covers the size of a file and some blocks of it. For a PNG or JPEG these are its start and its end: the
end of a PNG carries checksums of all pixels. For a video they are spread over the whole file. All other images are read
as a whole: a change of pixels leaves the size and both ends of a BMP or TIFF as they were. Names, folders and times are
left out: a copy on another host has the same fingerprint.
"""
import hashlib
import os
import typing

from data_tools.base import files
from data_tools.base.errors import UserError

BLOCK = 4096
VIDEO_BLOCKS = 32
_COMPRESSED = b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff'   # how PNG and JPEG files begin


def of_file(path: str, blocks: int) -> str:
    """Returns the digest of a file's size and of `blocks` blocks from its start to its end, 16 hexadecimal digits.

    Raises:
      UserError: the file cannot be read.
    """
    digest = hashlib.sha1()
    try:
        with files.open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(b'%d' % size)
            last = max(0, size - BLOCK)
            for start in sorted({last * i // (blocks - 1) for i in range(blocks)}):
                file.seek(start)
                digest.update(file.read(BLOCK))
    except OSError as error:
        raise UserError('cannot read %s: %s' % (path, error.strerror or error)) from None
    return digest.hexdigest()[:16]


def of_image(path: str) -> str:
    """Returns the fingerprint of an image file, 16 hexadecimal digits. Raises UserError if it cannot be read."""
    try:
        with files.open_regular(path) as file:
            start = file.read(BLOCK)
            if start.startswith(_COMPRESSED):
                return of_file(path, 2)
            digest = hashlib.sha1(b'%d' % os.fstat(file.fileno()).st_size + start)
            for block in iter(lambda: file.read(1 << 20), b''):
                digest.update(block)
    except OSError as error:
        raise UserError('cannot read %s: %s' % (path, error.strerror or error)) from None
    return digest.hexdigest()[:16]


def of_value(value: bytes) -> str:
    """Returns the fingerprint of the bytes of an image in a data base."""
    parts = [value[:BLOCK], value[-BLOCK:]] if value.startswith(_COMPRESSED) else [value]
    return hashlib.sha1(b'%d' % len(value) + b''.join(parts)).hexdigest()[:16]


def combined(parts: typing.Iterable[str]) -> str:
    """Returns one fingerprint of several, 16 hexadecimal digits."""
    return hashlib.sha1('\n'.join(parts).encode('utf-8')).hexdigest()[:16]
