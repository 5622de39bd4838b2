"""Losses of training: formulas over the module `tf` that they get, so that naming them does not load TensorFlow.

A new loss is one entry of LOSSES.
"""
import typing

EPSILON = 1e-12   # inside the root of Charbonnier, as in the reference recipe (`epsilon`)


class Loss(typing.NamedTuple):
    """A distance between restored and true frames.

    Attributes:
      terms: function (tf, sr, gt, epsilon) -> float32 tensor of the terms whose sum or mean is the loss; sr, gt float32
        [N, H, W, 3], gt in [0, 1], sr not clipped; epsilon a float, for those that need one.
      help: what it is, for the help of the option.
    """
    terms: typing.Callable[[typing.Any, typing.Any, typing.Any, float], typing.Any]
    help: str


LOSSES = {
    'charbonnier': Loss(lambda tf, sr, gt, epsilon: tf.sqrt(tf.square(sr - gt) + epsilon), 'a smooth l1'),
    'l1': Loss(lambda tf, sr, gt, epsilon: tf.abs(sr - gt), 'absolute difference'),
    'l2': Loss(lambda tf, sr, gt, epsilon: tf.square(sr - gt), 'squared difference'),
}
REDUCTIONS = {'sum': lambda tf, terms: tf.reduce_sum(terms), 'mean': lambda tf, terms: tf.reduce_mean(terms)}
