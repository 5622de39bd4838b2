"""Files that appear complete or not at all, on local disks and on TensorFlow's file systems (`gs://`, ...)."""
import codecs
import contextlib
import ctypes
import errno
import io
import json
import os
import shutil
import stat
import uuid
import warnings
from typing import IO, Any, Iterator, List, Optional

from data_tools.base import tensorflow_package
from data_tools.base.errors import UserError

PARTIAL = '.partial'
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_KINDS = ((stat.S_ISDIR, 'folder'), (stat.S_ISFIFO, 'FIFO'), (stat.S_ISCHR, 'device'), (stat.S_ISBLK, 'device'))
_ADVICE = {errno.ENOSPC: 'the disk is full: free some space or write elsewhere',
           errno.EDQUOT: 'the disk quota is used up: free some space or write elsewhere',
           errno.EFBIG: 'the file is larger than allowed here (ulimit -f)',
           errno.EACCES: 'no permission: choose a folder you may write to',
           errno.EPERM: 'no permission: choose a folder you may write to',
           errno.EROFS: 'the file system is read-only: choose another folder'}


def is_remote(path: str) -> bool:
    """Returns whether the path belongs to a TensorFlow file system (`scheme://...`) and not to the operating system."""
    return '://' in str(path)


def is_utf8(name: str) -> bool:
    """Returns whether a name can be written as UTF-8. Python keeps other bytes of file names as surrogates."""
    try:
        name.encode('utf-8')
    except UnicodeEncodeError:
        return False
    return True


def tensorflow() -> Any:
    """Returns the tensorflow module, without its log output. It takes seconds to load, so it is imported on demand.

    Raises:
      UserError: see `tensorflow_package.load`.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)   # TensorFlow 1.15 uses NumPy names that NumPy warns about
        return tensorflow_package.load()


def gfile() -> Any:
    """Returns the module of TensorFlow's file systems."""
    return tensorflow().io.gfile


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turns errors of writing `path` into a UserError that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        raise UserError('cannot write %s: %s' % (path, _ADVICE.get(error.errno, error.strerror or error))) from error
    except Exception as error:
        if not _is_tensorflow_error(error):
            raise
        # TensorFlow keeps the operating system's text but not its number
        text = str(error)
        advice = [_ADVICE[code] for code in _ADVICE if os.strerror(code) in text]
        raise UserError('cannot write %s: %s' % (path, advice[0] if advice else text)) from error


def _is_tensorflow_error(error):
    return any(cls.__name__ == 'OpError' and cls.__module__.startswith('tensorflow') for cls in type(error).__mro__)


@contextlib.contextmanager
def atomic_path(path: str) -> Iterator[str]:
    """Yields a temporary file name; after the block the file is flushed to the disk and renamed to `path`.

    If the block fails, the temporary file is removed and `path` stays as it was.

    Raises:
      UserError: disk full, no permission, ...; the text names the file.
    """
    path = str(path)
    # processes on several hosts, and threads of one, may write the same file at a time
    partial = '%s.%d-%s%s' % (path, os.getpid(), uuid.uuid4().hex[:8], PARTIAL)
    with explained(path):
        try:
            yield partial
            if not is_remote(path):
                _flush(partial)
            rename(partial, path)
        except BaseException:
            with contextlib.suppress(Exception):
                remove(partial)
            raise


def _flush(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: str, data: bytes) -> None:
    """Writes a file atomically: a reader sees the old content or the new one."""
    with atomic_path(path) as partial, open_file(partial, 'wb') as file:
        file.write(data)


def write_json(path: str, value: Any) -> None:
    """Writes a value as JSON atomically: a reader sees the old content or the new one."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + '\n').encode('utf-8'))


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Turns errors of reading `path` into a UserError that names the path."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or _is_tensorflow_error(error):
            raise UserError('%s cannot be read: %s' % (path, getattr(error, 'strerror', None) or error)) from error
        raise


def read_json(path: str) -> Any:
    """Reads a JSON file. Raises UserError if it is missing or not JSON."""
    try:
        with reading(path), open_regular(path) as file:
            return json.loads(decode_text(file.read()))
    except (ValueError, RecursionError) as error:
        raise UserError('%s is not JSON (%s): it may be cut or edited; make it again' % (path, error)) from error


def read_bytes(path: str) -> bytes:
    """Returns the content of a regular file. Raises UserError, which names it, if it cannot be read."""
    with reading(path), open_regular(path) as file:
        return bytes(file.read())


def open_file(path: str, mode: str) -> IO:
    """Opens a file of the operating system or of TensorFlow's file systems."""
    return gfile().GFile(path, mode) if is_remote(path) else open(path, mode)


def open_regular(path: str) -> IO[bytes]:
    """Opens a file to read its bytes.

    Raises:
      OSError: there is no such file, or it is a folder, a FIFO, a device or a socket: reading those may never end.
    """
    if is_remote(path):
        return open_file(path, 'rb')
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = next((name for check, name in _KINDS if check(mode)), 'special file')
        raise OSError(errno.EINVAL, 'it is a %s, not a regular file' % kind, path)
    return os.fdopen(descriptor, 'rb')


def read_text(path: str) -> str:
    """Reads a text file, see `decode_text`.

    Raises:
      OSError: as `open_regular`.
      UnicodeDecodeError: as `decode_text`.
    """
    with open_regular(path) as file:
        return decode_text(file.read())


def decode_text(data: bytes) -> str:
    """Returns the text of a file: UTF-8 with or without a byte order mark, or UTF-16 with one, as editors and shells of
    Windows write; all ends of lines become '\\n'.

    Raises:
      UnicodeDecodeError: it is neither.
    """
    encoding = 'utf-16' if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else 'utf-8-sig'
    return io.TextIOWrapper(io.BytesIO(data), encoding=encoding).read()


def exists(path: str) -> bool:
    """Returns whether there is a file or folder at `path`."""
    return gfile().exists(path) if is_remote(path) else os.path.exists(path)


def size(path: str) -> Optional[int]:
    """Returns the bytes of a file, or None if there is none."""
    if is_remote(path):
        return gfile().stat(path).length if gfile().exists(path) else None
    return os.path.getsize(path) if os.path.isfile(path) else None


def make_dir(path: str) -> None:
    """Makes a folder and its parents if they do not exist, and checks that it is writable.

    Raises:
      UserError: the folder cannot be made or is not writable. The check comes before the work, not after it.
    """
    with explained(path):
        if is_remote(path):
            gfile().makedirs(path)
            return
        os.makedirs(path, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            # the code distinguishes a missing permission from a read-only file system
            read_only = os.statvfs(path).f_flag & os.ST_RDONLY
            raise OSError(errno.EROFS if read_only else errno.EACCES, '')


def listing(path: str) -> List[str]:
    """Returns the sorted names inside a folder; empty if there is no such folder."""
    if is_remote(path):
        return sorted(name.rstrip('/') for name in gfile().listdir(path)) if gfile().isdir(path) else []
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def rename(source: str, target: str) -> None:
    """Renames, replacing the target."""
    if is_remote(target):
        gfile().rename(source, target, overwrite=True)
    else:
        os.replace(source, target)


def exchange(one: str, other: str) -> bool:
    """Exchanges two files or folders of this machine in one step; returns False if the system cannot, unchanged.

    Raises:
      OSError: one is missing, no permission, ...
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), 'renameat2', None)   # glibc 2.28
    if not renameat2:
        return False
    if not renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):   # the file system, the kernel
        return False
    raise OSError(code, os.strerror(code), one, None, other)


def remove(path: str) -> None:
    """Removes a file, a link or a folder with its content; does nothing if it does not exist."""
    if is_remote(path):
        if gfile().exists(path):
            (gfile().rmtree if gfile().isdir(path) else gfile().remove)(path)
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def remove_partials(folder: str, name: str = '') -> None:
    """Removes the temporary files of killed writers in a folder, or only those of the file `name`. No other process may
    write there."""
    for item in listing(folder):
        if item.startswith(name and name + '.') and item.endswith(PARTIAL):
            remove(os.path.join(folder, item))
