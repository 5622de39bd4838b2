"""Runs of tests/tiny_training.py as processes, and their results."""
import os
import re
import signal
import sys
import time

import preloaded
import tensorflow.compat.v1 as tf
from conftest import ROOT

from edvr import checkpoints

RECIPE = dict(steps=40, save_every=4, keep_last=2, learning_rate=.01, warmup_steps=6, cosine_periods=(25, 15),
              tsa_only_steps=15, ema_decay=.9, clip_norm=50., offset_rate=.5)


PROGRAM = os.path.join(ROOT, 'tests', 'tiny_training.py')


def program():
    """The command line without flags: list of str."""
    return [sys.executable, PROGRAM]


def environment(**variables):
    """The environment of such a process: dict."""
    path = os.pathsep.join([ROOT, os.path.join(ROOT, 'tests'), os.path.join(ROOT, 'tests', 'faults')])
    return dict(os.environ, PYTHONPATH=path, **variables)


def steps(text):
    """{step: what its log line says of learning rate, loss, PSNR and offsets}."""
    return {int(step): rest for step, *rest in
            re.findall(r'Step:(\d+), (lr:\S+) (loss:\S+) .*(psnr:\S+) \|offset\| (.*)', text)}


def tensors(model_dir):
    """{name: value} of the latest checkpoint of a run."""
    reader = tf.train.NewCheckpointReader(checkpoints.latest(str(model_dir)))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def stop_rank_0_last(folder, arguments, variables, both=True):
    """Runs two processes of a job; sends SIGTERM to the second at step 3, then to the first, two steps later.

    Args:
      folder: pathlib.Path for their output.
      arguments, variables: command line and environment of each process.
      both: whether the first, which has rank 0, is stopped too; otherwise it is killed at the end.
    Returns:
      exit codes and outputs, lists.
    """
    logs = [folder / ('process_%d.log' % number) for number in (0, 1)]
    processes = []

    def wait(done):
        deadline = time.monotonic() + 200
        while not done() and all(process.poll() is None for process in processes) and time.monotonic() < deadline:
            time.sleep(.01)

    def last_step():
        return max(steps(logs[0].read_text()), default=0)

    try:
        for log, words, changes in zip(logs, arguments, variables):
            with open(str(log), 'w') as file:
                processes.append(preloaded.start(PROGRAM, words, file, file, env=changes))
        wait(lambda: last_step() >= 3)
        processes[1].send_signal(signal.SIGTERM)
        if both:
            wait(lambda: 'going on until rank 0' in logs[1].read_text())
            seen = last_step()
            wait(lambda: last_step() >= seen + 2)
            processes[0].send_signal(signal.SIGTERM)
        codes = [process.wait(120) for process in (processes if both else processes[1:])]
    finally:
        for process in processes:
            process.kill()
    return codes, [log.read_text() for log in logs]
