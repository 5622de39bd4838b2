"""Programs as processes that begin with TensorFlow imported: a fork takes milliseconds, that import seconds.

A server process imports what the programs need and forks one process for each. Such a process has its own environment,
its own files for output and errors, and ends as a program that was started from a shell: with an exit code or by a
signal.
"""
import atexit
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
from multiprocessing import forkserver

from conftest import FAULTS, ROOT

PATIENCE = 120   # seconds after which a program counts as hung
PRELOAD = ['forked_imports']

_context = multiprocessing.get_context('forkserver')


class Program:
    """A running program.

    Attributes:
      pid: int.
    """

    def __init__(self, function, arguments, variables=None, file_limit=None):
        """
        Args:
          function: function without arguments of a module; reads sys.argv.
          arguments: list of str, the command line without the program's name.
          variables: {name: str}, added to the environment.
          file_limit: int, the most bytes a file of this program may have; None for any size.
        """
        _start_server()
        self._paths = [_new_file(), _new_file()]
        self._process = _context.Process(target=_run, args=(function, list(arguments), variables or {}, file_limit,
                                                            self._paths))
        self._process.start()
        self.pid = self._process.pid

    def poll(self):
        """The exit code, negative for a signal; None while the program runs."""
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def finish(self):
        """The finished program as subprocess.CompletedProcess with text; None for one that had to be killed."""
        self._process.join(PATIENCE)
        hung = self._process.exitcode is None
        if hung:
            self._process.kill()
            self._process.join(10)
        texts = []
        for path in self._paths:
            with open(path, errors='replace') as file:
                texts.append(file.read())
            os.remove(path)
        return None if hung else subprocess.CompletedProcess([], self._process.exitcode, *texts)


def run(function, arguments, variables=None, file_limit=None):
    """Runs a program to its end; see `Program` and `Program.finish`."""
    return Program(function, arguments, variables, file_limit).finish()


def _new_file():
    handle, path = tempfile.mkstemp()
    os.close(handle)
    return path


def _start_server():
    """Starts the server unless it runs. It finds modules by PYTHONPATH, and TensorFlow reads its variables then."""
    before = dict(os.environ)
    os.environ['PYTHONPATH'] = os.pathsep.join([ROOT, os.path.join(ROOT, 'tests'), FAULTS])
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    try:
        _context.set_forkserver_preload(PRELOAD)
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(function, arguments, variables, file_limit, paths):
    atexit._clear()   # what the server has registered is not for this process to do
    os.chdir(ROOT)
    os.environ.update(variables)
    for number, path in zip((1, 2), paths):
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, 'w'), os.fdopen(2, 'w', 1)
    sys.argv = [function.__code__.co_filename] + arguments
    sys.modules['__main__'].__spec__ = None   # by which a program would start itself again: that of pytest
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        function()
    except SystemExit as end:
        if not isinstance(end.code, int):   # multiprocessing takes None, which is success, for a failure
            sys.exit(0 if end.code is None else str(end.code))
        raise
    finally:
        atexit._run_exitfuncs()   # multiprocessing leaves out what a program does at its end
