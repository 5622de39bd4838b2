"""Noise on LQ, a function of the seed: gaussian, salt and pepper, speckle."""
import tensorflow.compat.v1 as tf


def add_noise(lq, draw, seed, kinds, probability, strength):
    """LQ with noise, or unchanged.

    Args:
      lq: uint8 [T, H, W, 3].
      draw: float32 [3] in [0, 1): they decide whether to add noise, its kind, and its strength.
      seed: int64 [2], of the noise itself.
      kinds: tuple of 'gaussian', 'salt_pepper', 'speckle'.
      probability: float, share of samples that get noise.
      strength: float, the largest noise, see `DataConfig.noise_strength`.
    Returns:
      uint8 [T, H, W, 3], rounded and clipped to 0..255.
    """
    level = draw[2] * strength

    def one_of_them():
        kind = tf.minimum(tf.cast(draw[1] * len(kinds), tf.int32), len(kinds) - 1)
        return tf.switch_case(kind, [lambda function=_KINDS[name]: function(lq, level, seed) for name in kinds])

    noisy = tf.cond(draw[0] < probability, one_of_them, lambda: tf.identity(lq))
    noisy.set_shape(lq.shape)
    return noisy


def gaussian(lq, level, seed):
    """Adds normal noise with standard deviation `level`, in grey levels."""
    return _to_uint8(tf.cast(lq, tf.float32) + level * tf.random.stateless_normal(tf.shape(lq), seed))


def speckle(lq, level, seed):
    """Adds normal noise with a standard deviation of `level` percent of each value."""
    return _to_uint8(tf.cast(lq, tf.float32) * (1 + level / 100 * tf.random.stateless_normal(tf.shape(lq), seed)))


def salt_pepper(lq, level, seed):
    """Makes `level` percent of the pixels black or white, half of them each."""
    shape = tf.shape(lq)
    where = tf.random.stateless_uniform(tf.concat([shape[:-1], [1]], 0), seed) * tf.ones([3])
    share = level / 200
    black = tf.where(where < share, tf.zeros_like(lq), lq)
    return tf.where(where >= 1 - share, tf.fill(shape, tf.constant(255, tf.uint8)), black)


def _to_uint8(values):
    return tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)


_KINDS = dict(gaussian=gaussian, salt_pepper=salt_pepper, speckle=speckle)
