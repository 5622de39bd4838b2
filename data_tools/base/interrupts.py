"""Signals that end a program, as an exception: `with` and `finally` blocks end processes and remove partial files."""
import contextlib
import os
import signal
import sys
import threading
from typing import Any, Collection, Iterator, List, Tuple

# 1 is PR_SET_PDEATHSIG; the parent may have ended before it was set
_BOUND = '''
import ctypes, os, signal, sys
parent, cores, *command = sys.argv[1:]
libc = ctypes.CDLL(None)
if hasattr(libc, 'prctl'):
    libc.prctl(1, signal.SIGKILL)
if os.getppid() == int(parent):
    if cores:
        os.sched_setaffinity(0, map(int, cores.split(',')))
    os.execvp(command[0], command)
'''


class Stopped(KeyboardInterrupt):
    """A signal ends the program.

    Attributes:
      number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def hangup() -> Tuple[int, ...]:
    """Returns (SIGHUP,), the signal of a closed terminal; () if it is ignored, as under nohup."""
    return () if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (signal.SIGHUP,)


def bound(command: List[str], cores: Collection[int] = ()) -> List[str]:
    """Returns a command that becomes `command`, for a child which SIGKILL ends when this process ends.

    A `preexec_fn` would do the same, but is not safe in a process with threads.

    Args:
      cores: those that it may use; empty for all that this process may use.
    """
    return [sys.executable, '-I', '-S', '-c', _BOUND, str(os.getpid()), ','.join(map(str, cores))] + command


@contextlib.contextmanager
def raised(*numbers: int) -> Iterator[None]:
    """Raises Stopped in its block for the first of the signals `numbers`; later ones are ignored until the block ends.

    Outside the main thread, where Python handles no signals, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
