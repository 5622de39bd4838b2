"""A real process, killed at random moments and by polite signals, continues as if nothing had happened."""
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny_training
from conftest import ROOT

from edvr import checkpoints

PROGRAM = os.path.join(ROOT, 'tests', 'tiny_training.py')
RECIPE = dict(steps=40, save_every=4, keep_last=2, learning_rate=.01, warmup_steps=6, cosine_periods=(25, 15),
              tsa_only_steps=15, ema_decay=.9, clip_norm=50., offset_rate=.5)


def start(folder, model_dir, pause=0.):
    environment = dict(os.environ, TINY_TRAINING_SLEEP=str(pause),
                       PYTHONPATH=os.pathsep.join([ROOT, os.path.dirname(PROGRAM)]))
    return subprocess.Popen([sys.executable, PROGRAM] + tiny_training.arguments(folder, model_dir, **RECIPE),
                            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def steps(text):
    """{step: what its log line says of learning rate, loss, PSNR and offsets}."""
    return {int(step): rest for step, *rest in
            re.findall(r'Step:(\d+), (lr:\S+) (loss:\S+) .*(psnr:\S+) \|offset\| (.*)', text)}


def output_until(process, step):
    """Reads the process's output up to the log line of `step`, or to its end."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if 'Step:%d,' % step in line:
            break
    return ''.join(lines)


def tensors(model_dir):
    reader = tf.train.NewCheckpointReader(checkpoints.latest(str(model_dir)))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    """(set, its log lines, its last checkpoint's tensors) of a run from start to end."""
    root = tmp_path_factory.mktemp('uninterrupted')
    folder = tiny_training.make_set(root / 'set')
    process = start(folder, root / 'run')
    output, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    expected = steps(output)
    assert sorted(expected) == list(range(1, 41))
    return folder, expected, tensors(root / 'run')


def assert_same(found, expected):
    assert set(found) <= set(expected)
    for step in found:
        assert found[step] == expected[step], step


def test_killed_at_random_moments(tmp_path, uninterrupted):
    folder, expected, last = uninterrupted
    seed = random.randrange(10 ** 6)
    print('seed', seed)
    rng, found, first = random.Random(seed), {}, 1
    for begin, end in ((3, 18), (20, 36)):
        process = start(folder, tmp_path, pause=.02)
        output = output_until(process, rng.randint(begin, end))
        time.sleep(rng.uniform(0., .05))   # anywhere: in a step, between steps, while saving
        process.kill()
        rest, error = process.communicate()
        found.update(steps(output + rest))
        assert found, error
        assert min(steps(output + rest)) <= first   # no step is missing
        first = max(found) + 1
    process = start(folder, tmp_path)
    output, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert 'continuing' in output
    found.update(steps(output))
    assert_same(found, expected)
    assert max(found) == 40
    after = tensors(tmp_path)
    assert set(after) == set(last)
    for name in last:
        np.testing.assert_array_equal(after[name], last[name], name)


def test_polite_signals_save_and_say_so(tmp_path, uninterrupted):
    folder, expected, _ = uninterrupted
    numbers = (signal.SIGTERM, signal.SIGINT)
    processes = [start(folder, tmp_path / str(int(number)), pause=.05) for number in numbers]   # at the same time
    for process, number in zip(processes, numbers):
        output = output_until(process, 3)
        process.send_signal(number)
        rest, error = process.communicate(timeout=60)
        assert process.returncode == 128 + number, error
        done = max(steps(output + rest))
        assert '%s: stopped at step %d of 40' % (signal.Signals(number).name, done) in rest
        assert checkpoints.step_of(checkpoints.latest(str(tmp_path / str(int(number))))) == done
        assert_same(steps(output + rest), expected)
