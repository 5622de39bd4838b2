"""The learning rate as a pure function of the global step, so that a resumed run has the right one."""
import math

import numpy as np
import tensorflow.compat.v1 as tf

from edvr.config import TrainingConfig


def learning_rate(step: tf.Tensor, config: TrainingConfig) -> tf.Tensor:
    """Computes cosine annealing with restarts and linear warm-up.

    Period i has length p_i and weight w_i; within it, t updates after its start,
    `rate = min + w_i * (max - min) / 2 * (1 + cos(pi * t / p_i))`. The update at the very end of a period still
    belongs to it (at the minimum). SGDR, arXiv 1608.03983, with BasicSR's convention for the period's end.

    Args:
      step: int tensor [], updates done before this one; below 2**24.
      config: has the periods and the rates.
    Returns:
      float32 tensor [].
    """
    periods = np.asarray(config.periods, np.float32)
    ends = np.cumsum(config.periods).astype(np.float32)
    step = tf.cast(step, tf.float32)
    position = tf.minimum(step, ends[-1])
    starts = ends - periods
    # a vector over the periods with exactly one current element needs no gather and no control flow
    current = tf.cast(tf.logical_and(tf.logical_or(position > starts, starts == 0), position <= ends), tf.float32)
    fraction = tf.clip_by_value((position - starts) / periods, 0., 1.)
    span = config.learning_rate - config.learning_rate_min
    rates = config.learning_rate_min + np.float32(config.weights) * span / 2 * (1 + tf.cos(math.pi * fraction))
    rate = tf.reduce_sum(current * rates)
    if config.warmup_steps:
        rate *= tf.minimum(1., (step + 1) / config.warmup_steps)
    return rate
