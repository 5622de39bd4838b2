"""How long each step waits for its batch, measured by the input pipeline itself.

The dataset becomes a zip of (clock, batch, clock). A zip evaluates its parts in order, in the thread that requests the
next element, so the difference of the clocks is the time that the step waits: near zero while the prefetch buffer has a
batch ready. This holds where the session pulls batches itself. Where a thread reads ahead of the device (NPU,
tf.distribute) the difference would be the waiting time of that thread, so nothing is measured there.
"""
from typing import Any, Dict, Tuple

import tensorflow.compat.v1 as tf

from edvr.training.model_fn import DATA_WAIT


def timed(dataset: 'tf.data.Dataset') -> 'tf.data.Dataset':
    """Adds the feature 'data_wait' (float32 [], seconds) to a dataset of (features dict, labels)."""
    clock = tf.data.Dataset.range(1).repeat().map(lambda _: tf.timestamp())
    result = tf.data.Dataset.zip((clock, dataset, clock)).map(_with_wait)
    options = tf.data.Options()
    if hasattr(options.experimental_optimization, 'inject_prefetch'):
        # TensorFlow 2 would add its own prefetch behind the clocks
        options.experimental_optimization.inject_prefetch = False
    return result.with_options(options)


def _with_wait(before: 'tf.Tensor', batch: Any, after: 'tf.Tensor') -> Tuple[Dict[str, 'tf.Tensor'], 'tf.Tensor']:
    features, labels = batch
    return dict(features, **{DATA_WAIT: tf.cast(after - before, tf.float32)}), labels
