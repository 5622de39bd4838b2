"""Runs a sequence of programs: a program whose command changed runs again, and so do all after it."""
import os
import signal
import subprocess
import sys
import time
from typing import List, NamedTuple, Sequence

from data_tools.base import interrupts
from data_tools.base.errors import UserError
from data_tools.base.files import read_json, remove, write_json

MARK = '.edvr_demo'           # a folder without it is not deleted


class Step(NamedTuple):
    """One program of the sequence.

    Attributes:
      name: of its mark and of its log.
      module: the program, for `python -m`.
      arguments: of the program.
      stale: its results, in the folder of the demonstration, which are removed if its command changes.
    """
    name: str
    module: str
    arguments: List[str]
    stale: Sequence[str] = ()

    @property
    def command(self) -> List[str]:
        """Returns the arguments of Python."""
        return ['-m', self.module] + self.arguments


def prepare(out: str, fresh: bool) -> None:
    """Makes the folder; with `fresh`, empties the folder of an earlier demonstration.

    Raises:
      UserError: the folder holds other files.
    """
    marks = os.path.join(out, MARK)
    if os.path.isdir(out) and os.listdir(out) and not os.path.isdir(marks):
        raise UserError('--output_dir=%s holds files that no demonstration made; name another folder' % out)
    if fresh:
        remove(out)
    os.makedirs(marks, exist_ok=True)


def run(out: str, steps: Sequence[Step]) -> float:
    """Runs the steps that are not done, and all after them; returns the seconds of the whole sequence."""
    for number, step in enumerate(steps):
        mark = _mark(out, step)
        if os.path.exists(mark) and read_json(mark)['command'] == step.command:
            print('== %s: done before' % step.name, flush=True)
            continue
        if os.path.exists(mark):     # of another command; without a mark it was interrupted, and continues
            forget(out, step)
        for later in steps[number + 1:]:     # first, so that after a kill no old result is used as a new one
            forget(out, later)
        run_step(out, step)
    return sum(read_json(_mark(out, step))['seconds'] for step in steps)


def forget(out: str, step: Step) -> None:
    """Removes the results of a step, and the mark that it is done."""
    for name in step.stale:
        remove(os.path.join(out, name))
    remove(_mark(out, step))


def _mark(out: str, step: Step) -> str:
    return os.path.join(out, MARK, step.name)


def run_step(out: str, step: Step) -> None:
    """Runs one program and marks it as done; NAME.log holds its output.

    Raises:
      UserError: the program fails.
    """
    print('== %s: python %s' % (step.name, ' '.join(step.command)), flush=True)
    start = time.time()
    log = os.path.join(out, step.name + '.log')
    code = run_logged([sys.executable] + step.command, log)
    if code:
        raise UserError('%s ended with exit code %d (its output: %s). Run the demonstration again to continue, '
                        'or with --fresh to start over' % (step.module, code, log))
    write_json(_mark(out, step), {'command': step.command, 'seconds': time.time() - start})


def run_logged(command: Sequence[str], log: str) -> int:
    """Runs a command, shows its output and appends it to the file `log`; returns its exit code.

    Ctrl-C, SIGTERM and SIGHUP are forwarded: the program saves what it can, and its exit code is returned.
    """
    with open(log, 'a') as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                                   start_new_session=True)
        before = {number: signal.signal(number, lambda number, frame: process.send_signal(number))
                  for number in (signal.SIGINT, signal.SIGTERM) + interrupts.hangup()}
        try:
            for line in process.stdout or ():
                sys.stdout.write(line)
                sys.stdout.flush()
                file.write(line)
            return process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
