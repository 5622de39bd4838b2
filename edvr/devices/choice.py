"""Chooses the device of a program for --device=auto."""
import functools
from typing import List, NamedTuple

from edvr.devices import DEVICES


class Choice(NamedTuple):
    """The device of a process.

    Attributes:
      device: a name of DEVICES.
      reason: why it was chosen.
    """
    device: str
    reason: str


@functools.lru_cache(maxsize=None)
def choose(asked: str = 'auto') -> Choice:
    """Returns the device of this process: the requested one, or for 'auto' the first that the host has."""
    if asked != 'auto':
        return Choice(asked, '--device')
    absent: List[str] = []
    for name, device in reversed(list(DEVICES.items())):   # the CPU, which is always there, is the first
        found, reason = device.presence()
        if found:
            return Choice(name, reason or ', '.join(absent))
        absent.append(reason)
    raise AssertionError('the CPU is always there')
