"""Noise on LQ crops in the input pipeline, a function of the seed."""
import typing

import tensorflow.compat.v1 as tf

from data_tools.media.noises import NOISES


def add_noise(lq: tf.Tensor, draw: tf.Tensor, seed: tf.Tensor, kinds: typing.Sequence[str], probability: float,
              strength: float) -> tf.Tensor:
    """Returns LQ with noise, or unchanged.

    Args:
      lq: uint8 [T, H, W, 3].
      draw: float32 [3] in [0, 1): they decide whether to add noise, its kind, and its strength.
      seed: int64 [2], of the noise itself.
      kinds: names of NOISES.
      probability: share of samples that get noise.
      strength: the largest noise, in the unit of each kind of NOISES.
    Returns:
      uint8 [T, H, W, 3], rounded and clipped to 0..255.
    """
    level = draw[2] * strength

    def one_of_them() -> tf.Tensor:
        kind = tf.minimum(tf.cast(draw[1] * len(kinds), tf.int32), len(kinds) - 1)
        return tf.switch_case(kind, [lambda name=name: noisy(lq, name, level, seed) for name in kinds])

    result = tf.cond(draw[0] < probability, one_of_them, lambda: tf.identity(lq))
    result.set_shape(lq.shape)
    return result


def noisy(lq: tf.Tensor, kind: str, level: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns uint8 [T, H, W, 3]: `lq` with noise of one kind of NOISES; `level` is a float32 scalar."""
    values = NOISES[kind].apply(tf.cast(lq, tf.float32), level, _Random(tf.shape(lq), seed))
    return tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)


class _Random:
    """The random numbers of one sample, as `data_tools.media.noises` uses them."""
    where = staticmethod(tf.where_v2)

    def __init__(self, shape, seed):
        self._shape, self._seed = shape, seed

    def normal(self) -> tf.Tensor:
        return tf.random.stateless_normal(self._shape, self._seed)

    def uniform(self) -> tf.Tensor:
        return tf.random.stateless_uniform(tf.concat([self._shape[:-1], [1]], 0), self._seed)
