"""The loss, and the PSNR that training reports."""
import math

import tensorflow.compat.v1 as tf

KINDS = ('charbonnier', 'l1', 'l2')
REDUCTIONS = ('sum', 'mean')
EPSILON = 1e-12   # inside the root of Charbonnier, as in the reference recipe


def loss(sr, gt, kind='charbonnier', reduction='sum'):
    """The loss of a batch.

    Args:
      sr: float32 [N, H, W, 3], restored frames, in [0, 1] but not clipped.
      gt: float32 [N, H, W, 3] in [0, 1], or uint8.
      kind: 'charbonnier' (sqrt(d^2 + 1e-12)), 'l1' or 'l2'.
      reduction: 'sum' over everything (the reference recipe; its size grows with batch and crop) or 'mean'.
    Returns:
      float32 scalar.
    Raises:
      ValueError: unknown kind or reduction.
    """
    if kind not in KINDS or reduction not in REDUCTIONS:
        raise ValueError('loss %r with reduction %r; kinds are %s, reductions %s'
                         % (kind, reduction, ', '.join(KINDS), ', '.join(REDUCTIONS)))
    difference = sr - as_float(gt)
    if kind == 'l1':
        values = tf.abs(difference)
    else:
        values = tf.square(difference)
        if kind == 'charbonnier':
            values = tf.sqrt(values + EPSILON)
    return tf.reduce_sum(values) if reduction == 'sum' else tf.reduce_mean(values)


def psnr(sr, gt):
    """Mean over the batch of the PSNR in dB of `sr` clipped to [0, 1], over all pixels and colours.

    Args:
      sr: float32 [N, H, W, 3].
      gt: float32 [N, H, W, 3] in [0, 1], or uint8.
    Returns:
      float32 scalar; equal images give 100 dB.
    """
    error = tf.reduce_mean(tf.square(tf.clip_by_value(sr, 0.0, 1.0) - as_float(gt)), axis=[1, 2, 3])
    return tf.reduce_mean(tf.log(tf.maximum(error, 1e-10)) * (-10.0 / math.log(10.0)))


def as_float(frames):
    """uint8 frames as float32 in [0, 1]; other dtypes are returned unchanged."""
    return tf.cast(frames, tf.float32) / 255.0 if frames.dtype == tf.uint8 else frames
