"""Decides inside the graph, with numeric operations only, whether the update of a step is applied.

A bad step changes only the global step: the order of the data and the learning rate are functions of the global step,
and a loop on the device relies on its increment. Two local variables count bad steps. They are not in checkpoints,
because no checkpoint is written between the first bad step and the next good one.
"""
import typing

import tensorflow.compat.v1 as tf

LOSS, GRADIENTS, OFFSETS, OVERFLOW, LOWEST = 1, 2, 4, 8, 16   # bits of `faults`
TEXTS = {LOSS: 'the loss is not finite', GRADIENTS: 'the gradients are not finite',
         OFFSETS: 'mean |offset| exceeds --offset_limit', OVERFLOW: 'the gradients overflow, the loss scale falls',
         LOWEST: 'the gradients overflow at a loss scale that cannot fall further'}
ADVICE = ('Try a lower --learning_rate, a longer --warmup_steps or --clip_norm, look at watch_update/gradient_norm and '
          'watch_offset/* in TensorBoard, check the data with data_tools.check_tfrecords')
OVERFLOW_ADVICE = ('Overflow in float16 does not come from the learning rate: use a more precise --precision_mode '
                   '(must_keep_origin_dtype; allow_fp32_to_fp16 has float16 in convolutions only; '
                   '--nomixed_precision on GPU), --loss_reduction=mean, '
                   'or with --loss_scale=fixed a lower --loss_scale_value')


class Verdict(typing.NamedTuple):
    """Holds the decision on the update of a step: float32 tensors [].

    Attributes:
      gate: 1 for a good step, else 0.
      faults: a sum of the bits above.
      streak: the bad steps in a row with this one.
      skipped: all bad steps since the session began.
    """
    gate: tf.Tensor
    faults: tf.Tensor
    streak: tf.Tensor
    skipped: tf.Tensor


def faults_of(loss: tf.Tensor, norm: tf.Tensor, offset_means: typing.Sequence[tf.Tensor], limit: float) -> tf.Tensor:
    """Returns the faults of a step before its update.

    Args:
      loss, norm: float32 tensors [], the loss and the norm of the gradients.
      offset_means: list of float32 tensors [], mean |offset| of each level in LQ pixels; empty if there is none.
      limit: LQ pixels; 0 means none.
      All tensors must be averages over the replicas, so that all replicas decide alike.
    Returns:
      float32 tensor [], a sum of LOSS, GRADIENTS, OFFSETS; the update is applied where it is 0.
    """
    faults = LOSS * _not(tf.is_finite(loss)) + GRADIENTS * _not(tf.is_finite(norm))
    if limit and offset_means:
        # "not within" is true for NaN too
        faults += OFFSETS * _not(tf.reduce_max([_not(mean <= limit) for mean in offset_means]) < .5)
    return faults


def overflows(faults: tf.Tensor, applied: typing.Optional[tf.Tensor], scale: tf.Tensor, dynamic: bool) -> tf.Tensor:
    """Returns the faults of a step under a loss scale, after its update.

    Gradients that overflow while the scale can still fall are normal: the next step has a lower scale. In INF/NaN mode
    and on GPUs the gradients are then infinite; in saturation mode they look finite, and only the update is missing.
    Where a dynamic scale did ask for the update, the norm alone exceeds float32: that is a fault of the training.

    Args:
      faults: of `faults_of`.
      applied: bool tensor [], whether the optimizer inside the loss scaling was asked to update; None where unknown.
      scale: float32 tensor [], the loss scale of the step.
      dynamic: whether the scale falls on overflow.
    Returns:
      float32 tensor []: as `faults`, where an overflow is OVERFLOW, or LOWEST when the scale cannot fall.
    """
    overflow = tf.equal(faults, GRADIENTS)
    if applied is not None:
        missing = tf.logical_and(tf.logical_or(overflow, tf.equal(faults, 0.)), tf.logical_not(applied))
        overflow = missing if dynamic else tf.logical_or(overflow, missing)
    kind = tf.where(scale > 1., tf.constant(float(OVERFLOW)), tf.constant(float(LOWEST))) if dynamic else float(LOWEST)
    return tf.where(overflow, kind * tf.ones_like(faults), faults)


def verdict(faults: tf.Tensor) -> Verdict:
    """Returns the Verdict on a step with these faults; evaluating it updates its counters.

    OVERFLOW skips a step. It neither adds to the streak nor ends it.
    """
    bad = tf.cast(faults > 0, tf.float32)
    overflow = tf.cast(tf.equal(faults, OVERFLOW), tf.float32)
    streak, skipped = _counter('streak'), _counter('skipped')
    before = streak.read_value()
    return Verdict(1. - bad, faults, _assign(streak, overflow * before + (1. - overflow) * (before + 1.) * bad),
                   _assign(skipped, skipped.read_value() + bad))


def explain(faults: float) -> str:
    """Describes the faults of a verdict in words."""
    return ' and '.join(text for bit, text in sorted(TEXTS.items()) if int(faults) & bit)


def advice(reason: str) -> str:
    """Returns the remedy for a `reason` of `explain`."""
    return OVERFLOW_ADVICE if TEXTS[LOWEST] in reason else ADVICE


def _not(condition: tf.Tensor) -> tf.Tensor:
    return 1. - tf.cast(condition, tf.float32)


def _counter(name: str) -> tf.Variable:
    with tf.variable_scope('guard', reuse=tf.AUTO_REUSE):
        return tf.get_variable(name, [], tf.float32, tf.zeros_initializer(), trainable=False,
                               collections=[tf.GraphKeys.LOCAL_VARIABLES],
                               synchronization=tf.VariableSynchronization.ON_WRITE,
                               aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


def _assign(variable: tf.Variable, value: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([variable.assign(value)]):
        return tf.identity(value)
