"""Faults that a training process brings upon itself, described by a text such as `signal:17:9;slow:0.2`.

    signal:N:S   sends itself signal S just before the N-th file operation
    count        prints the number of file operations at the end, to stderr
    slow:S       each flush to the disk takes S seconds more
    clock:S      the system's clock jumps by S seconds at the tenth file operation

A file operation is a call of Python's that creates, renames, removes or flushes a file or folder. TensorFlow's own
writes lie between them.
"""
import atexit
import os
import sys
import time

OPERATIONS = ('replace', 'rename', 'remove', 'unlink', 'rmdir', 'mkdir', 'fsync', 'open')


class Operations:
    """Counts file operations, and disturbs them."""

    def __init__(self):
        self.count, self.signal, self.pause, self.jump = 0, None, 0., None
        for name in OPERATIONS:
            setattr(os, name, self._disturbed(name, getattr(os, name)))

    def _disturbed(self, name, function):
        def operation(*args, **kwargs):
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
        return operation


def shift_clock(seconds):
    true_time = time.time
    time.time = lambda: true_time() + seconds


def apply(text):
    """Disturbs this process as `text` says."""
    if not text:
        return
    operations = Operations()
    for item in text.split(';'):
        kind, *values = item.split(':')
        if kind == 'signal':
            operations.signal = int(values[0]), int(values[1])
        elif kind == 'count':
            atexit.register(lambda: print('file operations: %d' % operations.count, file=sys.stderr, flush=True))
        elif kind == 'slow':
            operations.pause = float(values[0])
        elif kind == 'clock':
            operations.jump = float(values[0])
        else:
            raise ValueError('no such disturbance: %s' % item)
