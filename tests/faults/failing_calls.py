"""Programs whose system calls fail: failing_calls.cc, preloaded, makes chosen calls on files of a folder fail.

ffmpeg is not affected where it is linked statically, as imageio-ffmpeg's is.
"""
import errno
import os
import shutil
import struct
import subprocess

import preloaded
from conftest import FAULTS
from forked import PATIENCE
from training_runs import environment

KINDS = ('write', 'sync', 'rename', 'open', 'mkdir', 'read')
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
ALWAYS = 1 << 40   # a count that no program reaches
_COUNTERS = struct.Struct('=7Q')   # of each kind, and of the calls that failed


def missing():
    """Returns why no library can be built here; empty if it can."""
    return '' if shutil.which('g++') else 'g++ is not installed'


def build(folder):
    """Builds the library; returns its path."""
    path = os.path.join(str(folder), 'failing_calls.so')
    subprocess.run(['g++', '-O1', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared', '-o', path,
                    os.path.join(FAULTS, 'failing_calls.cc'), '-ldl'], check=True)
    return path


def run(library, program, arguments, under, fault=('write', 0, 0, 0)):
    """Runs a program to its end.

    Args:
      library: path of the built library.
      program, arguments: see `preloaded.start`.
      under: folder whose files are meant; calls on others are neither counted nor fail.
      fault: (kind of call, number of the first that fails from 1 on, how many fail, errno).
    Returns:
      (subprocess.CompletedProcess with text, or None for one that had to be killed; {kind: calls}; calls that failed).
    """
    counter = os.path.join(os.path.dirname(library), 'counter')
    with open(counter, 'wb') as file:
        file.write(bytes(_COUNTERS.size))
    variables = dict(FAILING_CALLS='%s:%d:%d:%d' % fault, FAILING_CALLS_UNDER=str(under), FAILING_CALLS_COUNTER=counter,
                     LD_PRELOAD=library)
    captured = preloaded.Captured(program, arguments, env=environment(**variables), library=library)
    try:
        done = captured.finish(PATIENCE)
    except subprocess.TimeoutExpired:
        done = None
    with open(counter, 'rb') as file:
        *calls, failed = _COUNTERS.unpack(file.read())
    return done, dict(zip(KINDS, calls)), failed
