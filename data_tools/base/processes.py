"""Programs that answer a question, and the descendants of this process, from /proc."""
import contextlib
import os
import signal
import subprocess
import tempfile
from typing import Dict, Iterable, List, Optional, Sequence


def answer(arguments: Sequence[str], seconds: float) -> Optional[str]:
    """Returns what a program prints, on standard error too; None if it does not start, fails, or does not end in time.

    Args:
      arguments: of the program, its path first.
      seconds: after which it, and what it has started, is killed.
    """
    with tempfile.TemporaryFile() as output:   # the end of a pipe could be held by a process that the program has left
        try:
            process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                       start_new_session=True)
        except OSError:
            return None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):   # a driver may hold it
                process.wait(1)
            return None
        output.seek(0)
        return None if code else output.read().decode(errors='replace')


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
