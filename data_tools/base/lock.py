"""Locks: one process at a time writes an output.

The package filelock is not used. Its last version for Python 3.7 (3.12.2) empties the lock file when another process
tries to lock it, which loses the name of the holder; releases the lock when a forked worker ends; and empties the
target of a symbolic link.
"""
import contextlib
import errno
import fcntl
import os
import re
import stat
import sys
import time
from typing import Iterator, Optional

from data_tools.base import files
from data_tools.base.errors import UserError

_TAKEN = (errno.EAGAIN, errno.EACCES)
_GRACE = 10.    # seconds that the workers of a killed process may take to end
_PERIOD = 0.1   # seconds between two attempts


@contextlib.contextmanager
def hold(path: str, output: str, option: str, wait: float = 0.) -> Iterator[None]:
    """Holds the lock file `path` for this process during a `with` block.

    The operating system releases the lock when the process ends, also after SIGKILL. The file alone is no lock: the
    next holder takes over a file that a killed process left. The end of the block removes the file. Processes forked
    inside the block share the lock, so the lock of a killed process stays until its last worker has ended; `hold` waits
    up to 10 s for that. The lock is exclusive between threads and, over NFS, between hosts. The object stores that
    TensorFlow writes (`gs://`, ...) have no locks: there `hold` does nothing and the caller must warn the user.

    Args:
      path: the lock file, in a folder that exists; for example OUTPUT/lock.
      output: what the lock protects, for the error.
      option: the option that chooses another output, for the error; for example '--output_dir'.
      wait: seconds to wait for another holder; 0 for an output that is written for hours.
    Raises:
      UserError: another process holds the lock (the text names it), the folder is not writable, or the file system has
        no locks.
    """
    if files.is_remote(path):
        yield
        return
    descriptor = _acquire(path, output, option, wait)
    try:
        yield
    finally:
        if _is_at(descriptor, path):
            with contextlib.suppress(OSError):
                os.unlink(path)
        os.close(descriptor)


def holder(path: str) -> Optional[str]:
    """Returns who holds a lock file, for example 'process 12 on host7, edvr.train'; None if it is free.

    Raises:
      UserError: the file cannot be read, or the file system has no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError('cannot read %s: %s' % (path, error.strerror)) from None
    try:
        return None if _try_lock(descriptor, fcntl.LOCK_SH, path) else _read(descriptor)
    finally:
        os.close(descriptor)


def _acquire(path, output, option, wait):
    """Returns a descriptor of `path` with the lock."""
    start = time.monotonic()
    while True:
        with files.explained(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(errno.EINVAL, 'it is not a regular file; remove it')
                locked = _try_lock(descriptor, fcntl.LOCK_EX, path)
                # the previous holder may have removed the very file that was opened here
                if locked and _is_at(descriptor, path):
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, ('%s\n' % _own_name()).encode('utf-8', 'replace'))
                    return descriptor
                name = _read(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        if not locked:
            orphaned = _has_ended(name)
            if time.monotonic() - start >= (max(wait, _GRACE) if orphaned else wait):
                raise UserError('another run (%s) is writing %s: wait for it, stop it, or choose another %s'
                                % (name + ('; it has ended, but its workers have not' if orphaned else ''), output,
                                   option))
            time.sleep(_PERIOD)


def _try_lock(descriptor, kind, path):
    """Returns whether the lock was free; then this process holds it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise UserError('cannot lock %s: %s; use a file system with locks' % (path, error.strerror)) from error


def _is_at(descriptor, path):
    """Returns whether `path` is the file of the descriptor."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _own_name():
    spec = getattr(sys.modules.get('__main__'), '__spec__', None)   # the module of `python -m`
    program = spec.name if spec else os.path.basename(sys.argv[0])
    return 'process %d on %s, %s' % (os.getpid(), os.uname().nodename, program or 'python')


def _read(descriptor):
    return os.pread(descriptor, 1000, 0).decode('utf-8', 'replace').strip() or 'unknown'


def _has_ended(name):
    """Returns whether a holder is a process of this host that no longer exists."""
    match = re.match(r'process ([0-9]{1,9}) on ([^,]*)', name)
    if not match or match.group(2) != os.uname().nodename:
        return False
    try:
        os.kill(int(match.group(1)), 0)
        return False
    except ProcessLookupError:
        return True
    except OSError:
        return False
