"""Runs of tests/tiny_training.py as processes, and their results."""
import os
import re
import sys

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
