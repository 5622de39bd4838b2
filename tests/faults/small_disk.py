"""A file system that is soon full."""
import contextlib
import os
import resource
import subprocess


@contextlib.contextmanager
def small_disk(folder, kilobytes):
    """Yields (folder, limit): a folder that holds at most so many kilobytes.

    Where file systems may be mounted it is one of its own, and limit is None. Elsewhere `limit` is a function for
    subprocess.Popen's preexec_fn: each file of that process may be so large at most.
    """
    folder = str(folder)
    os.makedirs(folder)
    mounted = subprocess.call(['mount', '-t', 'tmpfs', '-o', 'size=%dk' % kilobytes, 'tmpfs', folder],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    try:
        yield folder, None if mounted else lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (kilobytes * 1024, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    finally:
        if mounted:
            subprocess.check_call(['umount', folder])
