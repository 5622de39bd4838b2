"""Runs a sequence of programs: a program whose command changed runs again, and so do all after it."""
import os
import signal
import subprocess
import sys
import time

from data_tools.base.errors import UserError
from data_tools.base.files import read_json, remove, write_json

MARK = '.edvr_demo'           # a folder without it is not deleted


class Station:
    """One program of the sequence: its command, and its results, which a changed input makes stale."""

    def __init__(self, name, module, arguments, stale=()):
        self.name, self.module, self.stale = name, module, stale
        self.command = ['-m', module] + arguments


def prepare(out, fresh):
    """Makes the folder; with `fresh`, empties the folder of an earlier demonstration."""
    marks = os.path.join(out, MARK)
    if os.path.isdir(out) and os.listdir(out) and not os.path.isdir(marks):
        raise UserError('--output_dir=%s holds files that no demonstration made; name another folder' % out)
    if fresh:
        remove(out)
    os.makedirs(marks, exist_ok=True)


def run_line(out, line):
    """Runs the stations that are not done, and all after them; returns the seconds of the whole sequence."""
    for number, station in enumerate(line):
        mark = _mark(out, station)
        if os.path.exists(mark) and read_json(mark)['command'] == station.command:
            print('== %s: done before' % station.name, flush=True)
            continue
        if os.path.exists(mark):     # of another command; without a mark it was interrupted, and continues
            forget(out, station)
        for later in line[number + 1:]:     # first, so that after a kill no old result is used as a new one
            forget(out, later)
        run_station(out, station)
    return sum(read_json(_mark(out, station))['seconds'] for station in line)


def forget(out, station):
    """Removes the results of a station, and the mark that it is done."""
    for name in station.stale:
        remove(os.path.join(out, name))
    remove(_mark(out, station))


def _mark(out, station):
    return os.path.join(out, MARK, station.name)


def run_station(out, station):
    """Runs one program and marks it as done; NAME.log holds its output. Raises UserError if it fails."""
    print('== %s: python %s' % (station.name, ' '.join(station.command)), flush=True)
    start = time.time()
    log = os.path.join(out, station.name + '.log')
    code = run_logged([sys.executable] + station.command, log)
    if code:
        raise UserError('%s ended with exit code %d (its output: %s). Run the demonstration again to continue, '
                        'or with --fresh to start over' % (station.module, code, log))
    write_json(_mark(out, station), {'command': station.command, 'seconds': time.time() - start})


def run_logged(command, log):
    """Runs a command, shows its output and appends it to the file `log`; returns its exit code.

    Ctrl-C and SIGTERM are forwarded: the program saves what it can, and its exit code is returned.
    """
    with open(log, 'a') as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                                   start_new_session=True)
        before = {number: signal.signal(number, lambda number, frame: process.send_signal(number))
                  for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                file.write(line)
            return process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
