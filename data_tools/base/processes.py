"""The descendants of this process, from /proc."""
import contextlib
import os
import signal
from typing import Dict, Iterable, List


def descendants(text: str) -> List[int]:
    """Returns the ids of the descendants of this process whose command line contains `text`."""
    children: Dict[int, List[int]] = {}
    for name in os.listdir('/proc'):
        if name.isdigit():
            with contextlib.suppress(OSError):   # the process has ended in between
                children.setdefault(_parent(name), []).append(int(name))
    below, waiting = [], [os.getpid()]
    while waiting:
        found = children.get(waiting.pop(), [])
        below += found
        waiting += found
    return [pid for pid in below if text in _command_line(pid)]


def kill(pids: Iterable[int]) -> None:
    """Sends SIGKILL to processes; ignores processes that have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _parent(name):
    """Returns the id of the parent of a process; -1 for a zombie."""
    with open('/proc/%s/stat' % name) as file:
        state, parent = file.read().rpartition(')')[2].split()[:2]   # the name may contain spaces and brackets
    return -1 if state == 'Z' else int(parent)


def _command_line(pid):
    try:
        with open('/proc/%d/cmdline' % pid, 'rb') as file:
            return file.read().replace(b'\0', b' ').decode(errors='replace')
    except OSError:
        return ''
