"""Faults that a training process causes to itself, described by a text such as `signal:17:9;slow:0.2`.

    signal:N:S   sends itself signal S just before the N-th moment
    count        prints the number of moments at the end, to stderr
    slow:S       each flush to the disk takes S seconds more
    clock:S      the system's clock jumps by S seconds at the tenth moment
    rank:R       only the process that is rank R of its job does what is said behind

A moment is a call of Python's that creates, renames, removes or flushes a file or folder, or a run of a TensorFlow
session. TensorFlow's own writes lie between them.
"""
import atexit
import json
import os
import sys
import time

OPERATIONS = ('replace', 'rename', 'remove', 'unlink', 'rmdir', 'mkdir', 'fsync', 'open')


class Moments:
    """Counts moments, and disturbs them."""

    def __init__(self):
        from tensorflow.python.client import session
        self.count, self.signal, self.pause, self.jump = 0, None, 0., None
        for name in OPERATIONS:
            setattr(os, name, self._disturbed(name, getattr(os, name)))
        session.BaseSession.run = self._disturbed('run', session.BaseSession.run)

    def _disturbed(self, name, function):
        def disturbed(*args, **kwargs):
            if name == 'open' and not (len(args) > 1 and args[1] & (os.O_WRONLY | os.O_RDWR)):
                return function(*args, **kwargs)
            self.count += 1
            if self.signal and self.count == self.signal[0]:
                os.kill(os.getpid(), self.signal[1])
            if self.jump is not None and self.count == 10:
                shift_clock(self.jump)
            if name == 'fsync':
                time.sleep(self.pause)
            return function(*args, **kwargs)
        return disturbed


def shift_clock(seconds):
    true_time = time.time
    time.time = lambda: true_time() + seconds


def apply(text):
    """Disturbs this process as `text` says."""
    items = [item.split(':') for item in (text or '').split(';') if item]
    if items and items[0][0] == 'rank' and int(items.pop(0)[1]) != rank():
        return
    if not items:
        return
    moments = Moments()
    for kind, *values in items:
        if kind == 'signal':
            moments.signal = int(values[0]), int(values[1])
        elif kind == 'count':
            atexit.register(lambda: print('moments: %d' % moments.count, file=sys.stderr, flush=True))
        elif kind == 'slow':
            moments.pause = float(values[0])
        elif kind == 'clock':
            moments.jump = float(values[0])
        else:
            raise ValueError('no such disturbance: %s' % kind)


def rank():
    """The rank of this process in a job on CPUs; None for a process that is no rank."""
    return json.loads(os.environ['TF_CONFIG'])['task']['index'] if 'TF_CONFIG' in os.environ else None
