"""Unpacks an archive that one need not trust, and goes on where an earlier run stopped."""
import os
import shutil
import stat
import zipfile
import zlib

from tqdm import tqdm

from data_tools.base.errors import UserError

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


class DamagedError(UserError):
    """The archive is cut, altered or none at all: no use to try it again."""


def unzip(path, folder):
    """Unpacks `path` into `folder`.

    All names are checked before the first byte is written. Each file is written under another name, checked against the
    archive's CRC and then renamed; a file already there with the right size is whole and stays.

    Returns:
      int, the number of files in the archive.
    Raises:
      DamagedError: no zip archive, or a damaged one.
      UserError: encrypted, members that would land outside `folder` or are links, disk full.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.filename.endswith('/')]
            targets = _targets(path, members, folder)
            missing = [(info, target) for info, target in zip(members, targets)
                       if not os.path.isfile(target) or os.path.getsize(target) != info.file_size]
            _check_room(folder, sum(info.file_size for info, _ in missing))
            with tqdm(total=len(members), initial=len(members) - len(missing), unit='file',
                      desc='unzip ' + os.path.basename(path)) as progress:
                for info, target in missing:
                    _write(archive, info, target)
                    progress.update()
            return len(members)
    except _DAMAGE as error:
        raise DamagedError('%s is not a whole zip archive (%s)' % (path, error)) from None
    except OSError as error:
        raise UserError('cannot unzip %s: %s: %s; start again when that is mended: it continues'
                        % (path, error.filename or folder, error.strerror or error)) from None


def check(path):
    """Reads all of the archive against its CRCs; DamagedError when one differs."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except _DAMAGE as error:
        raise DamagedError('%s is not a whole zip archive (%s)' % (path, error)) from None
    if bad:
        raise DamagedError('%s is damaged: %s in it' % (path, bad))


def _targets(path, members, folder):
    """Where each member goes; refuses the archive if one would leave `folder`, is a link, or comes twice."""
    root, seen, targets = os.path.realpath(folder), set(), []
    parents = {}
    for info in members:
        name, kind = info.filename, stat.S_IFMT(info.external_attr >> 16)
        parts = name.split('/')
        if '\\' in name or '\0' in name or os.path.isabs(name) or ':' in parts[0] or {'', '.', '..'} & set(parts):
            raise UserError('%s: member %r would leave the folder; refused, nothing was unpacked' % (path, name))
        if kind not in (0, stat.S_IFREG):
            raise UserError('%s: member %r is a link or a device; refused, nothing was unpacked' % (path, name))
        if info.flag_bits & 1:
            raise UserError('%s: member %r is encrypted; refused, nothing was unpacked' % (path, name))
        if name in seen:
            raise UserError('%s: member %r comes twice; refused, nothing was unpacked' % (path, name))
        seen.add(name)
        parent = os.path.join(root, *parts[:-1])
        if parent not in parents:   # a link already on the disk must not lead out either
            parents[parent] = os.path.realpath(parent)
        if os.path.commonpath([root, parents[parent]]) != root:
            raise UserError('%s: member %r would leave the folder through a link; refused, nothing was unpacked'
                            % (path, name))
        targets.append(os.path.join(parent, parts[-1]))
    return targets


def _write(archive, info, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    partial = target + '.partial'
    if os.path.islink(partial):
        os.remove(partial)
    try:
        with archive.open(info) as source, open(partial, 'wb') as file:
            shutil.copyfileobj(source, file, 1 << 20)   # raises BadZipFile at the end if the CRC differs
        os.replace(partial, target)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)
        raise


def _check_room(folder, size):
    os.makedirs(folder, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError('%s: %.1f GB are to be unpacked but only %.1f GB are free; make room and start again'
                        % (folder, size / 1e9, free / 1e9))
