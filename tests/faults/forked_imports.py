"""What the server of `forked` does once for all of its programs: their imports, and AutoGraph's work on the input.

AutoGraph takes seconds to convert the functions of the input pipeline, and keeps what it has converted. TensorFlow 2
starts threads for that, which a fork would lose: there only the imports are shared.
"""
import os
import tempfile

import restore_slowly  # noqa: F401
import tensorflow.compat.v1 as tf
import tiny_training

from edvr.data import input_pipeline
from edvr.training import run  # noqa: F401

if tf.__version__ < '2':
    with tempfile.TemporaryDirectory() as _folder, tf.Graph().as_default():
        _set = tiny_training.make_set(os.path.join(_folder, 'set'), windows=2, shards=2)
        input_pipeline.train_dataset(tiny_training.configs(_set, _folder)[1], tiny_training.FRAMES, 4, 1)
