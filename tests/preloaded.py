"""Runs programs as separate processes, without the seconds that each of them needs to load TensorFlow.

One process loads TensorFlow and what the programs import, and runs nothing. Each program is forked from it and gets its
own arguments, environment, working directory, output and exit code, as a started one has. Python's own options and
what TensorFlow reads from the environment while it is loaded are those of the first process.

As a program, `python tests/preloaded.py DESCRIPTOR CONVERTED` is that first process; DESCRIPTOR is its end of a socket,
CONVERTED 1 if it runs `convert_input`.
"""
import atexit
import contextlib
import functools
import gc
import io
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from multiprocessing import reduction
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODULES = ('edvr.graph_mode', 'tensorflow.compat.v1.estimator', 'edvr.training.training_run', 'edvr.output.infer_job',
           'edvr.evaluation.clip_set', 'edvr.exporting.export_job', 'data_tools.packing.pack')
DESCRIPTORS = 4   # of each program: its request, output, errors, and where its exit status is written


class Process:
    """A program that runs; the part of subprocess.Popen that tests need."""

    def __init__(self, status):
        self.returncode = None
        self._status = os.fdopen(status, 'rb')
        line = self._status.readline()
        if not line:
            raise RuntimeError('the process that has loaded TensorFlow, which programs are forked from, has ended')
        self.pid = int(line)

    def wait(self, timeout=None):
        """The exit code, negative after a signal. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired('process %d' % self.pid, timeout)
            with self._status:
                status = int(self._status.readline())
            self.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self.returncode

    def poll(self):
        """The exit code, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def start(program, arguments, stdout, stderr, env=None, cwd=ROOT, file_limit=None, converted=False, library='',
          tracer=()):
    """Starts a program.

    Args:
      program: str, a module for `python -m`, or the path of a file that ends with .py.
      arguments: list of its arguments, taken as str.
      stdout, stderr: open files.
      env: {variable: str}, the whole environment; None means that of this process.
      cwd: str, its working directory.
      file_limit: int, the most bytes a file of this program may have; None for any size.
      converted: bool, fork it from a process that also ran `convert_input`: for one training, not for ranks of a job.
      library: str, a shared library that is preloaded (LD_PRELOAD) into the process that it is forked from.
      tracer: tuple of str, a command that runs that process and watches it and those forked from it, such as strace.
    Returns:
      Process.
    """
    request = json.dumps(dict(program=program, arguments=[str(argument) for argument in arguments], cwd=str(cwd),
                              env=dict(os.environ if env is None else env), file_limit=file_limit))
    status, write_status = os.pipe()
    with tempfile.TemporaryFile('w+') as file:
        file.write(request)
        file.flush()
        reduction.sendfds(_server(converted, library, tuple(tracer)),
                          [file.fileno(), stdout.fileno(), stderr.fileno(), write_status])
    os.close(write_status)
    return Process(status)


class Captured:
    """A program whose output is kept. Attributes: process (Process)."""

    def __init__(self, program, arguments, **options):
        """The arguments are those of `start`, without stdout and stderr."""
        self._arguments = [program] + list(arguments)
        self._files = [tempfile.TemporaryFile() for _ in range(2)]   # noqa: SIM115
        self.process = start(program, arguments, *self._files, **options)

    def finish(self, timeout):
        """Waits for the end of the program: subprocess.CompletedProcess with text `stdout` and `stderr`.

        Raises:
          subprocess.TimeoutExpired: it was killed after so many seconds.
        """
        try:
            self.process.wait(timeout)
        finally:
            self.process.kill()
            texts = []
            for file in self._files:
                file.seek(0)
                with io.TextIOWrapper(file, errors='replace') as text:   # a printed file name need not be UTF-8
                    texts.append(text.read())
        return subprocess.CompletedProcess(self._arguments, self.process.returncode, *texts)


def run(program, arguments, timeout, **options):
    """Runs a program to its end, see `Captured.finish`. The options are those of `start`."""
    return Captured(program, arguments, **options).finish(timeout)


@contextlib.contextmanager
def unread():
    """Opens a pipe that nobody reads, as the output of `start`."""
    read, write = os.pipe()
    os.close(read)
    file = os.fdopen(write, 'wb')
    try:
        yield file
    finally:
        file.close()


def skip_deprecation_checks():
    """Switches off TensorFlow's search for deprecated arguments, a fifth of the time that building a graph takes."""
    deprecation = sys.modules.get('tensorflow.python.util.deprecation')
    if deprecation:
        deprecation._PRINT_DEPRECATION_WARNINGS = False


@functools.lru_cache(maxsize=None)
def _server(converted, library, tracer):
    """A socket to the process that has loaded TensorFlow. The process ends when the socket closes."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [*tracer, sys.executable, os.path.abspath(__file__), str(theirs.fileno()), str(int(converted))]
        subprocess.Popen(command, cwd=ROOT, bufsize=0, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         pass_fds=[theirs.fileno()],
                         env=dict({name: value for name, value in os.environ.items() if name != 'PYTHONPATH'},
                                  **{'LD_PRELOAD': library} if library else {}))
    return ours


def serve(channel):
    """Forks a process for each request on `channel` (socket). Returns in that process: the request, dict."""
    running = {}   # pid: descriptor for the exit status

    def report(*unused):
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _write_line(running[pid], status)
            os.close(running.pop(pid))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, report)
    while True:
        descriptors = reduction.recvfds(channel, DESCRIPTORS)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        pid = os.fork()
        if not pid:
            return _become(descriptors, channel, running)
        running[pid] = descriptors.pop()
        _write_line(running[pid], pid)
        for descriptor in descriptors:
            os.close(descriptor)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


def _write_line(descriptor, number):
    with contextlib.suppress(BrokenPipeError):   # nobody waits for this program any more
        os.write(descriptor, b'%d\n' % number)


def _become(descriptors, channel, running):
    """Gives the forked process its files, environment and signals; returns the request, dict."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)   # also if the tests run under nohup
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    request, stdout, stderr, status = descriptors
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    with os.fdopen(request) as file:
        file.seek(0)
        found = json.load(file)
    channel.close()
    for descriptor in [stdout, stderr, status] + list(running.values()):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(found['env'])
    tempfile.tempdir = None   # that of its environment
    os.chdir(found['cwd'])
    if found['file_limit'] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (found['file_limit'], resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    return found


def convert_input():
    """Lets AutoGraph convert the functions of the input pipeline, which takes seconds and is kept.

    A program that is forked afterwards waits forever on TensorFlow 2, where nothing is done, and on TensorFlow 1.15 if
    it is one of several ranks.

    Returns:
      list of functions that remove AutoGraph's files: it would have each forked program do that at its end.
    """
    import tensorflow.compat.v1 as tf
    if tf.__version__ >= '2':
        return []
    folders = [os.path.join(ROOT, 'tests'), os.path.join(ROOT, 'tests', 'faults')]
    sys.path[:0] = folders
    import tiny_training

    from edvr.data import input_pipeline
    removals = []
    with tempfile.TemporaryDirectory() as folder, tf.Graph().as_default(), \
            mock.patch('atexit.register', removals.append):
        data = tiny_training.make_set(os.path.join(folder, 'set'), windows=2, shards=2)
        input_pipeline.train_dataset(tiny_training.configs(data, folder)[1], tiny_training.FRAMES, 4, 1)
    del sys.path[:len(folders)]
    return removals


def main():
    path = sys.path[1:]   # without the folder of this file
    sys.path[0] = ROOT
    for name in MODULES:
        __import__(name)
    skip_deprecation_checks()
    removals = convert_input() if sys.argv[2] == '1' else []
    import numpy as np
    gc.freeze()   # a collection in a forked process must not touch, and so copy, what they all share
    try:
        request = serve(socket.socket(fileno=int(sys.argv[1])))
    except EOFError:
        for remove in removals:
            remove()
        return
    np.random.seed()   # not that of all the others
    program, added = request['program'], os.environ.get('PYTHONPATH', '').split(os.pathsep)
    folder, run = request['cwd'], functools.partial(runpy.run_module, alter_sys=True)
    if program.endswith('.py'):
        folder, run = os.path.dirname(os.path.abspath(program)), runpy.run_path
    sys.path[:] = [folder] + [name for name in added if name] + path
    sys.argv[:] = [program] + request['arguments']
    _end(_exit_code(lambda: run(program, run_name='__main__')))


def _exit_code(action):
    """The exit code that Python gives to a program that does `action()`, with its message on stderr."""
    try:
        action()
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code):
    """Ends the process as Python does, but does not take the loaded modules apart, which takes longer than a fork."""
    threading._shutdown()   # waits for threads
    atexit._run_exitfuncs()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code & 0xff)


if __name__ == '__main__':
    main()
