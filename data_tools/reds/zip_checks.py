"""Checks of a zip archive before anything is unpacked: its directory, the names and the sizes of its members."""
import os
import stat
import struct
import zipfile
from typing import Callable, Dict, Iterable, List, Optional, Tuple

from data_tools.base import files
from data_tools.base.errors import UserError

MAX_RATIO = 20   # unpacked over packed bytes; images are compressed already, so honest archives have about 1

_LOCAL_HEADER = struct.Struct('<4s5H3L2H')
_END, _END_64, _LOCATOR_64 = b'PK\x05\x06', b'PK\x06\x06', b'PK\x06\x07'
_ENCRYPTED, _SIZES_FOLLOW, _UTF8 = 0x1, 0x8, 0x800   # flags of a member
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class DamagedError(UserError):
    """The archive is cut, altered or not an archive: another attempt fails as well."""


def check_directory(path: str, archive: zipfile.ZipFile, progress: Callable[[list], Iterable]) -> None:
    """Compares the directory at the end of an archive with the header of each member.

    `zipfile` trusts the directory: one flipped bit there can hide members or change their sizes.

    Args:
      path: of the archive.
      archive: open.
      progress: wraps an iterable, for example tqdm.
    Raises:
      DamagedError: names, methods, sizes or checksums differ, the number of members is not the declared one, or members
        overlap.
    """
    members = archive.infolist()
    with open(path, 'rb') as file:
        declared = _declared_count(file)
        if declared != len(members):
            raise DamagedError('%s is damaged: it declares %d members, but its directory lists %d'
                               % (path, declared, len(members)))
        end, previous = 0, None
        for info in progress(sorted(members, key=lambda info: info.header_offset)):
            if info.header_offset < end:
                raise DamagedError('%s is damaged: members %r and %r overlap' % (path, previous, info.filename))
            end, previous = _check_header(path, file, info), info.filename
        if end > archive.start_dir:
            raise DamagedError('%s is damaged: member %r overlaps the directory' % (path, previous))


def _declared_count(file):
    """Returns the number of members that the end record declares. Raises struct.error if there is no such record."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    at = len(tail) - 22 if tail[-22:-18] == _END else tail.rfind(_END)
    count, = struct.unpack_from('<H', tail, at + 10)
    if count == 0xffff and tail[max(0, at - 20):at - 16] == _LOCATOR_64:
        file.seek(struct.unpack_from('<Q', tail, at - 12)[0])
        magic, count = struct.unpack('<4s28xQ', file.read(40))
        if magic != _END_64:
            raise struct.error('the 64-bit end record is not where it should be')
    return count


def _check_header(path, file, info):
    """Compares the header in front of a member with the directory. Returns where the member's data ends."""
    file.seek(info.header_offset)
    magic, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL_HEADER.unpack(
        file.read(_LOCAL_HEADER.size))
    name, extra = file.read(name_length), file.read(extra_length)
    size, packed = _sizes_64(extra, size, packed)
    listed = info.orig_filename.encode('utf-8' if info.flag_bits & _UTF8 else 'cp437')
    differences = [what for what, here, there in (
        ('signature', magic, b'PK\x03\x04'), ('name', name, listed), ('method', method, info.compress_type),
        ('encryption', flags & _ENCRYPTED, info.flag_bits & _ENCRYPTED),
        ('encoding', flags & _UTF8, info.flag_bits & _UTF8)) if here != there]
    # a writer that could not seek leaves zeros here and stores the values behind the data
    known = not (flags & _SIZES_FOLLOW and (crc, packed, size) == (0, 0, 0))
    if known and (crc, packed, size) != (info.CRC, info.compress_size, info.file_size):
        differences.append('size or checksum')
    if differences:
        raise DamagedError('%s is damaged: its directory and the header of member %r differ in %s'
                           % (path, info.filename, ', '.join(differences)))
    return info.header_offset + _LOCAL_HEADER.size + name_length + extra_length + info.compress_size


def _sizes_64(extra, size, packed):
    """Returns (size, packed size) of a header, whose extra field holds those that need 64 bits."""
    if 0xffffffff not in (size, packed):
        return size, packed
    while len(extra) >= 4:
        kind, length = struct.unpack_from('<HH', extra)
        if kind == 1:
            return struct.unpack_from('<QQ', extra, 4)
        extra = extra[4 + length:]
    return size, packed


def targets(path: str, members: List[zipfile.ZipInfo], folder: str,
            inside: Optional[Tuple[str, ...]]) -> Dict[str, zipfile.ZipInfo]:
    """Returns the absolute path of each file.

    Args:
      path: of the archive.
      members: files and folders.
      folder: the folder to unpack into.
      inside: the folders in `folder` that may be written; None for all.
    Raises:
      UserError: a name that leaves `folder` or `inside`, links, devices, encryption, unusual characters, names that
        collide.
    """
    root, real_parents, found = os.path.realpath(folder), {}, {}
    for info in members:
        reason = _reason(info, inside)
        if reason:
            raise _refused(path, info, reason)
        if info.filename.endswith('/'):
            continue
        parts = info.filename.split('/')
        parent = os.path.join(root, *parts[:-1])
        if parent not in real_parents:   # a link on the disk must not lead out either
            real_parents[parent] = os.path.realpath(parent)
        if os.path.commonpath([root, real_parents[parent]]) != root:
            raise _refused(path, info, 'would leave the folder through a link')
        target = os.path.join(parent, parts[-1])
        if target in found:
            raise _refused(path, info, 'comes twice')
        found[target] = info
    for target, info in found.items():
        if target in real_parents:
            raise _refused(path, info, 'is a file, but other members are below it')
    return found


def _refused(path, info, reason):
    return UserError('%s: member %r %s; refused, nothing was unpacked: remove the archive and get it from another '
                     'address' % (path, info.filename, reason))


def _reason(info, inside):
    """Returns why a member is refused for its own sake, or None."""
    name, kind = info.filename, stat.S_IFMT(info.external_attr >> 16)
    is_folder = name.endswith('/')
    parts = (name[:-1] if is_folder else name).split('/')
    if '\\' in name or os.path.isabs(name) or ':' in parts[0] or {'', '.', '..'} & set(parts):
        return 'would leave the folder'
    # `filename` ends before a NUL, `orig_filename` does not
    if not info.orig_filename.isprintable() or '~' in name or any(part[0] == '-' for part in parts):
        return 'has a control character, "~" or a leading "-" in its name'
    if name.endswith(files.PARTIAL):
        return 'has the name of an unfinished file'
    if kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG):
        return 'is a link or a device'
    if is_folder and info.file_size:
        return 'is a folder with content'
    if info.flag_bits & _ENCRYPTED:
        return 'is encrypted'
    if info.compress_type not in _METHODS:
        return 'is compressed with method %d; 0 and 8 are supported' % info.compress_type
    if inside and not is_folder and not name.startswith(tuple(prefix + '/' for prefix in inside)):
        return 'is not below %s' % ' or '.join(inside)
    return None


def check_sizes(path: str, members: Iterable[zipfile.ZipInfo]) -> None:
    """Raises UserError for an archive that would unpack to far more bytes than images can."""
    total, packed = sum(info.file_size for info in members), os.path.getsize(path)
    if total > MAX_RATIO * packed:
        raise UserError('%s declares %.1f GB, %d times its own size; images do not compress so far. Refused, nothing '
                        'was unpacked: remove the archive and get it from another address'
                        % (path, total / 1e9, total // packed))
