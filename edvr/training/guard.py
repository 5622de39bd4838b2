"""Judges each step inside the graph, with numbers only: is its update fit to be applied?

A bad step changes nothing but the global step, which goes on: the order of the data and the learning rate are
functions of it, and a loop on the device counts on it. Two local variables count bad steps: they are not in
checkpoints, because none is written between the first bad step and the next good one.
"""
import collections

import tensorflow.compat.v1 as tf

LOSS, GRADIENTS, OFFSETS = 1, 2, 4   # bits of `faults`
TEXTS = {LOSS: 'the loss is not finite', GRADIENTS: 'the gradients are not finite',
         OFFSETS: 'mean |offset| exceeds --offset_limit'}

Verdict = collections.namedtuple('Verdict', 'gate faults streak skipped')
Verdict.__doc__ = """float32 tensors []: gate is 1 for a good step, else 0; faults a sum of LOSS, GRADIENTS, OFFSETS;
streak the bad steps in a row with this one, skipped all bad steps since the session began."""


def judge(loss, norm, offset_means, limit):
    """The verdict over a step.

    Args:
      loss, norm: float32 tensors [], the loss and the norm of the gradients.
      offset_means: list of float32 tensors [], mean |offset| of each level in LQ pixels.
      limit: float, LQ pixels; 0 means none.
      All of them must be averages over the replicas, so that all replicas judge alike.
    Returns:
      Verdict; its counters are updated by evaluating it.
    """
    faults = LOSS * _not(tf.is_finite(loss)) + GRADIENTS * _not(tf.is_finite(norm))
    if limit:
        # "not within" is true for NaN too
        faults += OFFSETS * _not(tf.reduce_max([_not(mean <= limit) for mean in offset_means]) < .5)
    bad = tf.cast(faults > 0, tf.float32)
    streak, skipped = _counter('streak'), _counter('skipped')
    return Verdict(1. - bad, faults, _assign(streak, (streak.read_value() + 1.) * bad),
                   _assign(skipped, skipped.read_value() + bad))


def explain(faults):
    """The faults of a verdict (a number) in words."""
    return ' and '.join(text for bit, text in sorted(TEXTS.items()) if int(faults) & bit)


def _not(condition):
    return 1. - tf.cast(condition, tf.float32)


def _counter(name):
    with tf.variable_scope('guard', reuse=tf.AUTO_REUSE):
        return tf.get_variable(name, [], tf.float32, tf.zeros_initializer(), trainable=False,
                               collections=[tf.GraphKeys.LOCAL_VARIABLES],
                               synchronization=tf.VariableSynchronization.ON_WRITE,
                               aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


def _assign(variable, value):
    with tf.control_dependencies([variable.assign(value)]):
        return tf.identity(value)
