"""Four-parameter training through edvr.devices: as a library for tests, and as a program for several processes.

As a program: toy_training.py MODEL_DIR RESULT [RuntimeConfig field=value ...]; each rank writes the JSON RESULT + rank.
"""
import json
import sys

import numpy as np
import tensorflow.compat.v1 as tf

from edvr.config import RuntimeConfig
from edvr.devices import device_of

WHOLE_BATCH, STEPS, CLIP = 8, 3, 40.


class Watch(tf.train.SessionRunHook):
    """Keeps what each session.run fetches, and weights and variables' names at the end."""

    def __init__(self, fetches, weights):
        self.seen, self._fetches, self._weights = [], fetches, weights

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(self._fetches)

    def after_run(self, run_context, run_values):
        self.seen.append([np.asarray(value).ravel().tolist() for value in run_values.results])

    def end(self, session):
        self.weights = session.run(self._weights).ravel().tolist()
        self.variables = [variable.op.name for variable in tf.global_variables()]


def data(rank, size, batch):
    """Each rank's share: neighbouring samples go to different ranks, so that a step's whole batch is the same."""
    rng = np.random.RandomState(0)
    samples = rng.randn(64, 4).astype(np.float32), rng.randn(64, 1).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices(samples).shard(size, rank).repeat().batch(batch, drop_remainder=True)


def train(model_dir, config, reduction='sum', steps=STEPS):
    """Trains with Adam, clipping and whole-batch averages.

    Returns:
      dict: seen, per session.run [loss averaged, gradient norm]; weights; variables' names; rank; size; replicas.
    """
    device = device_of(config)
    rank, size = device.rank_and_size()
    watch = []

    def model_fn(features, labels, mode):
        # the seed makes all ranks draw different weights where nobody sees to it that they agree
        with tf.variable_scope('m', reuse=tf.AUTO_REUSE):
            weights = tf.get_variable('w', [4, 1], initializer=tf.random_uniform_initializer(seed=rank))
            start = tf.get_variable('start', [4, 1], initializer=tf.ones_initializer())
        reduce = tf.reduce_sum if reduction == 'sum' else tf.reduce_mean
        error = tf.matmul(features, weights * 0. + start * tf.ones_like(weights)) - labels
        loss = device.loss_factor(reduction) * reduce(tf.square(error))
        optimizer = device.wrap_optimizer(tf.train.AdamOptimizer(.1, epsilon=1.))
        pairs = optimizer.compute_gradients(loss)
        gradients, norm = tf.clip_by_global_norm([gradient for gradient, _ in pairs], CLIP)
        average, = device.average([loss])
        train_op = optimizer.apply_gradients(zip(gradients, [variable for _, variable in pairs]),
                                             tf.train.get_global_step())
        watch.append(Watch([average, norm], tf.concat([start, weights], 0)))
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, training_hooks=[watch[-1]])

    estimator = device.make_estimator(model_fn, str(model_dir), seed=3)
    batch = WHOLE_BATCH // device.num_replicas()
    device.train(estimator, lambda: data(rank, size, batch), [], steps)
    # of several replicas in a process the Estimator keeps the first one's hook
    used = next(hook for hook in watch if hook.seen)
    return dict(seen=used.seen, weights=used.weights, variables=used.variables, rank=rank, size=size,
                replicas=device.num_replicas())


if __name__ == '__main__':
    fields = dict(field.split('=') for field in sys.argv[3:])
    result = train(sys.argv[1], RuntimeConfig(**fields))
    with open('%s%d' % (sys.argv[2], result['rank']), 'w') as file:
        json.dump(result, file)
