"""Memory of the host: makes malloc keep large blocks, measures the memory of a process."""
import contextlib
import ctypes
import platform
import re
import resource

# names of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_KEEP_BYTES = 2 ** 31 - 1     # the most that mallopt's int takes
_GROW_BYTES = 64 * 2 ** 20


def tune_malloc() -> bool:
    """Makes glibc's malloc keep freed memory for the next step instead of returning it to the system.

    Each step allocates and frees the same large tensors. By default malloc maps each one again, and the page faults
    take up to half of the time on CPU. Call this before TensorFlow allocates. It overrides MALLOC_* variables.

    Returns:
      whether it was possible; False if the C library is not glibc.
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # no mmap for large blocks, whose threshold cannot be raised above 32 MB; no arenas of single threads, which consist
    # of heaps of 64 MB that go back to the system when they are empty
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEEP_BYTES), (_M_TOP_PAD, _GROW_BYTES), (_M_ARENA_MAX, 1))
    accepted = [mallopt(name, value) for name, value in settings]
    return all(accepted)


def peak_rss_mb() -> float:
    """Returns the peak resident memory of this process in MB of 10^6 bytes."""
    with contextlib.suppress(OSError), open('/proc/self/status') as file:
        # not ru_maxrss, which a child process inherits from its parent
        for found in re.finditer(r'VmHWM:\s+(\d+) kB', file.read()):
            return int(found.group(1)) * 1024 / 1e6
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage / 1e6 if platform.system() == 'Darwin' else usage * 1024 / 1e6
