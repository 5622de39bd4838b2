"""The loss, and the PSNR that training reports."""
import math

import tensorflow.compat.v1 as tf

from edvr.config.losses import EPSILON, LOSSES, REDUCTIONS
from edvr.ops.layers import as_float


def loss(sr: tf.Tensor, gt: tf.Tensor, kind: str = 'charbonnier', reduction: str = 'sum',
         epsilon: float = EPSILON) -> tf.Tensor:
    """Computes the loss of a batch.

    Args:
      sr: float32 [N, H, W, 3], restored frames, in [0, 1] but not clipped.
      gt: float32 [N, H, W, 3] in [0, 1], or uint8.
      kind: name of LOSSES.
      epsilon: of `charbonnier`.
      reduction: 'sum' over everything (the reference recipe; its size grows with batch and crop) or 'mean'.
    Returns:
      float32 scalar.
    Raises:
      ValueError: unknown kind or reduction.
    """
    if kind not in LOSSES or reduction not in REDUCTIONS:
        raise ValueError('loss %r with reduction %r; kinds are %s, reductions %s'
                         % (kind, reduction, ', '.join(LOSSES), ', '.join(REDUCTIONS)))
    return REDUCTIONS[reduction](tf, LOSSES[kind].terms(tf, sr, as_float(gt), epsilon))


def of_samples(sr: tf.Tensor, gt: tf.Tensor, kind: str = 'charbonnier', epsilon: float = EPSILON) -> tf.Tensor:
    """Computes the loss of each sample, the mean over its values: float32 [N]; arguments of `loss`."""
    return tf.reduce_mean(LOSSES[kind].terms(tf, sr, as_float(gt), epsilon), axis=[1, 2, 3])


def psnr(sr: tf.Tensor, gt: tf.Tensor) -> tf.Tensor:
    """Computes the mean over the batch of the PSNR in dB of `sr` clipped to [0, 1], over all pixels and colours.

    Args:
      sr: float32 [N, H, W, 3].
      gt: float32 [N, H, W, 3] in [0, 1], or uint8.
    Returns:
      float32 scalar; equal images give 100 dB.
    """
    error = tf.reduce_mean(tf.square(tf.clip_by_value(sr, 0.0, 1.0) - as_float(gt)), axis=[1, 2, 3])
    return tf.reduce_mean(tf.log(tf.maximum(error, 1e-10)) * (-10.0 / math.log(10.0)))
