"""Signals that end a program, as an exception: `with` and `finally` blocks end processes and remove partial files."""
import contextlib
import ctypes
import signal
import threading
from typing import Any, Iterator, Tuple

_LIBC = ctypes.CDLL(None)   # not loaded between fork and exec
_PR_SET_PDEATHSIG = 1


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


def die_with_parent() -> None:
    """Lets SIGKILL end this process when its parent ends; for the `preexec_fn` of a child."""
    if hasattr(_LIBC, 'prctl'):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


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
