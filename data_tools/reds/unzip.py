"""Unpacks an untrusted archive, and continues where an earlier run stopped."""
import contextlib
import functools
import os
import shutil
import zipfile
import zlib
from typing import Optional, Tuple

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.base.progress import progress_bar
from data_tools.reds import zip_checks
from data_tools.reds.zip_checks import DamagedError

_CHUNK = 1 << 20


def unzip(path: str, folder: str, inside: Optional[Tuple[str, ...]] = None) -> int:
    """Unpacks `path` into `folder`.

    All headers, names and sizes are checked before the first byte is written. Each file is written under another name,
    checked against the archive's CRC and then renamed. A file that exists already stays if its size and CRC are right.

    Args:
      path: of the archive.
      folder: made if absent.
      inside: the folders in `folder` that the archive may write; None for all.
    Returns:
      The number of files in the archive.
    Raises:
      DamagedError: not a zip archive, or a damaged one.
      UserError: members that would land outside `folder` or `inside` or are links, encrypted or too large; disk full.
    """
    with _opened(path, 'unzip') as archive:
        targets = zip_checks.targets(path, archive.infolist(), folder, inside)
        zip_checks.check_sizes(path, targets.values())
        os.makedirs(folder, exist_ok=True)
        with progress_bar(total=len(targets), unit='file', desc='unzip ' + os.path.basename(path)) as progress:
            missing = []
            for target, info in targets.items():
                if _is_complete(target, info):
                    progress.update()
                else:
                    missing.append((info, target))
            _check_room(folder, sum(info.file_size for info, _ in missing))
            for info, target in missing:
                _write(archive, info, target)
                progress.update()
        return len(targets)


def check(path: str) -> int:
    """Compares all of an archive with its CRCs, and counts its files. Raises DamagedError."""
    with _opened(path, 'read') as archive:
        members = [info for info in archive.infolist() if not info.filename.endswith('/')]
        for info in progress_bar(members, unit='file', desc='check ' + os.path.basename(path)):
            with archive.open(info) as source:
                while source.read(_CHUNK):   # raises BadZipFile at the end if the CRC differs
                    pass
        return len(members)


@contextlib.contextmanager
def _opened(path, verb):
    """Opens an archive with a valid directory; turns errors in the block into UserErrors."""
    try:
        with files.open_regular(path) as file, zipfile.ZipFile(file) as archive:
            progress = functools.partial(progress_bar, unit='file', desc='directory of ' + os.path.basename(path))
            zip_checks.check_directory(path, archive, progress)
            yield archive
    except UserError:
        raise
    except OSError as error:
        raise UserError('cannot %s %s: %s: %s; fix that and start again: it continues'
                        % (verb, path, error.filename or path, error.strerror or error)) from None
    except Exception as error:   # zipfile raises BadZipFile, zlib.error, struct.error, ValueError, ... on damage
        raise DamagedError('%s is not a complete zip archive (%s)' % (path, error or type(error).__name__)) from None


def _is_complete(target, info):
    """Returns whether there is a file with the size and the CRC of a member."""
    if not os.path.isfile(target) or os.path.getsize(target) != info.file_size:
        return False
    crc = 0
    with open(target, 'rb') as file:
        for data in iter(lambda: file.read(_CHUNK), b''):
            crc = zlib.crc32(data, crc)
    return crc & 0xffffffff == info.CRC


def _write(archive, info, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    partial = target + files.PARTIAL
    files.remove(partial)   # it may be a link
    try:
        with archive.open(info) as source, open(partial, 'wb') as file:
            shutil.copyfileobj(source, file, _CHUNK)   # raises BadZipFile at the end if the CRC differs
        os.replace(partial, target)
    except BaseException:
        files.remove(partial)
        raise


def _check_room(folder, size):
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError('%s: %.1f GB are to be unpacked but only %.1f GB are free; free some space and start again: it '
                        'continues' % (folder, size / 1e9, free / 1e9))
