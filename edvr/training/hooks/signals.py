"""Signals that end a training run before its last step."""
import contextlib
import signal
import sys
import threading
from typing import Any, Iterator

from data_tools.base import interrupts
from edvr.training.hooks.step_hook import Control

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def signals(control: Control) -> Iterator[None]:
    """Lets SIGTERM, Ctrl-C and SIGHUP set `control.signal` in its context: the run ends after its step.

    A second signal ends the process at once, but SIGHUP, which the shell and the kernel both send.
    """
    if threading.current_thread() is not threading.main_thread():
        yield   # Python handles signals in the main thread only
        return

    def handle(number: int, frame: Any) -> None:
        if control.signal is not None:
            if number == signal.SIGHUP:
                return
            raise KeyboardInterrupt
        control.signal = number
        if control.waits:
            raise KeyboardInterrupt
        print('%s: finishing the step and saving; once more ends at once' % name(number), file=sys.stderr, flush=True)

    previous = {number: signal.signal(number, handle) for number in SIGNALS + interrupts.hangup()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
