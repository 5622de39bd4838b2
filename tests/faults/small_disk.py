"""A small file system, to test a full disk."""
import contextlib
import os
import subprocess


@contextlib.contextmanager
def small_disk(folder, kilobytes):
    """Yields (folder, limit): a folder that holds at most so many kilobytes.

    If file systems may be mounted it is a separate one, and limit is None. Elsewhere `limit` is the number of bytes
    that each file of a process may have, for `forked.Program`.
    """
    folder = str(folder)
    os.makedirs(folder)
    mounted = subprocess.call(['mount', '-t', 'tmpfs', '-o', 'size=%dk' % kilobytes, 'tmpfs', folder],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    try:
        yield folder, None if mounted else kilobytes * 1024
    finally:
        if mounted:
            subprocess.check_call(['umount', folder])


@contextlib.contextmanager
def read_only(folder):
    """Makes a folder read-only also for root, by a mount; yields whether that is possible here."""
    folder = str(folder)
    os.makedirs(folder, exist_ok=True)
    mounted = subprocess.call(['mount', '--bind', '-o', 'ro', folder, folder], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) == 0
    try:
        yield mounted and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    finally:
        if mounted:
            subprocess.check_call(['umount', folder])
