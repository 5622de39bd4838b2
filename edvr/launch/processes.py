"""Runs the processes of a job, which start and end together."""
from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from typing import BinaryIO, Callable

from data_tools.base import interrupts
from data_tools.base.errors import UserError
from edvr.launch.plan import Environment

TAIL = 25        # lines of a failed process's log to show
_PAUSE = 0.1     # seconds between two checks of the processes
_DEATH_GRACE = 5.  # seconds for the others to end after one has failed: they wait for it and have nothing new to save
_WAITS = b'waiting for '   # begins a line that says what a process waits for


def run_together(command: list[str], environments: dict[int, Environment], log_dir: str, grace: float,
                 bind_cores: bool = True, leads: bool = True, look: Callable[[], None] | None = None) -> int:
    """Runs `command` once for each rank, until all have succeeded, one has failed, or a signal stops the job.

    Args:
      command: program and arguments.
      environments: {rank: changes to the environment of this process}.
      log_dir: directory for rank_N.log; it is made if needed.
      grace: seconds for processes to end by themselves when the job is stopped.
      bind_cores: whether each process gets its own part of the cores that this one may use.
      leads: whether the processes wait for each other, and the first one's output is shown here. When the job is
        stopped, rank 0 ends before the others; a host without it waits for that, for it may still have to save.
        Otherwise all are stopped at the same time. What the others wait for is shown, too.
      look: called several times a second and at the end.
    Returns:
      exit code: 0, that of the first rank that failed, or 128 + signal.
    Raises:
      UserError: the log directory or a log cannot be written.
    """
    try:
        os.makedirs(log_dir, exist_ok=True)
    except OSError as error:
        raise UserError('the log directory %s cannot be made: %s' % (log_dir, error.strerror)) from None
    shares = core_shares(len(environments)) if bind_cores else [None] * len(environments)
    ranks: list[_Rank] = []
    with interrupts.raised(signal.SIGINT, signal.SIGTERM, *interrupts.hangup()):
        try:
            for (rank, environment), cores in zip(sorted(environments.items()), shares):
                log = os.path.join(log_dir, 'rank_%d.log' % rank)
                ranks.append(_Rank(rank, command, environment, log, cores, show=leads and not ranks))
            return _watch(ranks, look or (lambda: None))
        except interrupts.Stopped as stop:
            # a process that ends within a step leaves the others waiting for it, so the one that saves ends first
            plan = ('all processes end' if not leads else 'rank 0 saves, then all end' if 0 in environments else
                    'rank 0 saves on its host; waiting for it')
            print('stopping: %s (%g s at most)' % (plan, grace), file=sys.stderr, flush=True)
            if leads and 0 not in environments:
                # ranks go on with their steps after the signal; the first one that ends has lost rank 0
                _terminate(ranks)
                _wait(lambda: not ranks or any(rank.poll() is not None for rank in ranks), grace)
            else:
                _end(ranks[:1] if leads else ranks, grace)
            return 128 + stop.number
        finally:
            _end(ranks, _DEATH_GRACE)


def core_shares(count: int) -> list[set[int] | None]:
    """Returns the cores that this process may use in `count` equal parts; None for each if they are too few."""
    cores = sorted(os.sched_getaffinity(0))
    size = len(cores) // count
    return [set(cores[index * size:(index + 1) * size]) if size and count > 1 else None for index in range(count)]


class _Rank:
    """A process of the job, its log file and the thread that fills it."""

    def __init__(self, number: int, command: list[str], changes: Environment, log: str, cores: set[int] | None,
                 show: bool) -> None:
        self.number, self.log, self.shows = number, log, show
        environment = dict(os.environ, PYTHONUNBUFFERED='1')
        for name, value in changes.items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        try:
            file = open(log, 'ab', buffering=0)   # noqa: SIM115 the thread that fills it closes it
            self._begin = file.tell()   # behind the lines of earlier runs
        except OSError as error:
            raise UserError('the log %s cannot be written: %s' % (log, error.strerror)) from None
        # any end of the launcher ends its processes; in a separate session Ctrl-C reaches only the launcher, which
        # ends them in order
        self._process = subprocess.Popen(interrupts.bound(command, cores or ()), env=environment,
                                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                         start_new_session=True)
        self._reader = threading.Thread(target=self._copy, args=(self._process.stdout, file, show), daemon=True)
        self._reader.start()

    def _copy(self, output: BinaryIO, file: io.FileIO, show: bool) -> None:
        """Reads to the end whatever fails: the process would wait for a reader of its output for ever."""
        failed = False
        with file:
            for line in iter(output.readline, b''):
                try:
                    file.write(line)
                except OSError as error:
                    if not failed:
                        print('warning: the log %s cannot be written: %s; lines are lost until it can be' % (
                            self.log, error.strerror), file=sys.stderr, flush=True)
                    failed = True
                if show or line.startswith(_WAITS):
                    with contextlib.suppress(OSError):   # a closed terminal does not stop the job
                        sys.stdout.buffer.write(line if show else b'rank %d: %s' % (self.number, line))
                        sys.stdout.buffer.flush()

    def poll(self) -> int | None:
        return self._process.poll()

    def signal_group(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signum)

    def terminate(self) -> None:
        if self.poll() is None:
            self._process.terminate()

    def finish(self) -> None:
        """Waits for the process and for the end of its output; kills the rest of its group."""
        self._process.wait()
        self.signal_group(signal.SIGKILL)
        self._reader.join(5)

    def tail(self) -> list[str]:
        with open(self.log, 'rb') as file:
            file.seek(self._begin)
            return file.read().decode(errors='replace').splitlines()[-TAIL:]


def _watch(ranks: list[_Rank], look: Callable[[], None]) -> int:
    """Waits until all have ended (0) or one has failed (its exit code); calls `look()` meanwhile."""
    while True:
        codes = [(rank, rank.poll()) for rank in ranks]
        look()
        for rank, code in codes:
            if code:
                _report(rank, code)
                return code if code > 0 else 128 - code
        if all(code == 0 for _, code in codes):
            return 0
        time.sleep(_PAUSE)


def _report(rank: _Rank, code: int) -> None:
    rank.finish()
    how = 'ended with exit code %d' % code if code > 0 else 'was killed by %s' % signal.Signals(-code).name
    said = ' (see above)' if rank.shows else ':\n' + '\n'.join('  | ' + line for line in rank.tail())
    print('error: rank %d %s; the end of %s%s' % (rank.number, how, rank.log, said), file=sys.stderr, flush=True)


def _end(ranks: list[_Rank], grace: float) -> None:
    """Sends SIGTERM to processes, and kills those that have not ended within `grace` seconds."""
    _terminate(ranks)
    _wait(lambda: all(rank.poll() is not None for rank in ranks), grace)
    for rank in ranks:
        if rank.poll() is None:
            rank.signal_group(signal.SIGKILL)
        rank.finish()


def _terminate(ranks: list[_Rank]) -> None:
    for rank in ranks:
        rank.terminate()


def _wait(ended: Callable[[], bool], seconds: float) -> None:
    """Waits until `ended()`, `seconds` at most."""
    deadline = time.monotonic() + seconds
    while not ended() and time.monotonic() < deadline:
        time.sleep(_PAUSE)
