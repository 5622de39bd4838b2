"""Signals that end a training run before its last step."""
import contextlib
import os
import signal
import sys
import threading
from typing import Any, Iterator, Optional

from data_tools.base import interrupts
from edvr.training.hooks.step_hook import Control

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LAST_STEP = 5.   # seconds for a rank that follows to end after its step


@contextlib.contextmanager
def signals(control: Control, patience: Optional[float] = None) -> Iterator[None]:
    """Lets SIGTERM, Ctrl-C and SIGHUP set `control.signal` in its context: the run ends after its step.

    A rank that only follows sets `control.following` instead and goes on: ranks step together, so rank 0, which saves,
    must end first. A second signal ends the process at once, but SIGHUP, which the shell and the kernel both send.

    Args:
      patience: seconds after which a rank that follows ends after its step, or a little later in the middle of one;
        None for rank 0.
    """
    if threading.current_thread() is not threading.main_thread():
        yield   # Python handles signals in the main thread only
        return
    left = threading.Event()

    def handle(number: int, frame: Any) -> None:
        if control.signal is not None or control.following is not None:
            if number == signal.SIGHUP:
                return
            raise KeyboardInterrupt
        if control.waits or patience is None:
            control.signal = number
        else:
            control.following = number
        if control.waits:
            raise KeyboardInterrupt
        if patience is None:
            plan = 'finishing the step and saving'
        else:
            plan = 'going on until rank 0, which saves, has ended (%g s at most)' % patience
            threading.Thread(target=_leave_after, args=(control, patience, left), daemon=True).start()
        print('%s: %s; once more ends at once' % (name(number), plan), file=sys.stderr, flush=True)

    previous = {number: signal.signal(number, handle) for number in SIGNALS + interrupts.hangup()}
    try:
        yield
    finally:
        left.set()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _leave_after(control: Control, patience: float, left: threading.Event) -> None:
    """Ends a rank that follows, unless it has `left` by itself."""
    if left.wait(patience):
        return
    control.signal = control.following
    if not left.wait(_LAST_STEP):
        # a step without its peers may never return, and Python's own end would wait for it
        os._exit(128 + (control.following or 0))


@contextlib.contextmanager
def waiting(control: Control) -> Iterator[None]:
    """Lets the first signal interrupt a wait before the first step, and set `control.signal`."""
    control.waits = True
    try:
        yield
    except KeyboardInterrupt:
        if control.signal is None:
            raise
    finally:
        control.waits = False


def name(number: int) -> str:
    """Returns the name of a signal, such as SIGTERM."""
    return signal.Signals(number).name
