"""LQ made of GT crops in the input pipeline, a function of seed and sample number."""
import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.media import realistic


@tf.autograph.experimental.do_not_convert   # TensorFlow 1.15 would translate all that it calls
def degrade(frames: tf.Tensor, scale: int, seed: int, number: tf.Tensor) -> tf.Tensor:
    """Returns LQ of the frames of a sample by a draw of `realistic`, without its codecs.

    Args:
      frames: uint8 [T, s*p, s*p, 3], the same crop of each frame.
      scale: s.
      seed: of the draws of this device.
      number: int64 scalar, number of the sample.
    Returns:
      uint8 [T, p, p, 3].
    """
    def made(gt: np.ndarray, index: np.int64) -> np.ndarray:
        random = np.random.RandomState([seed, index & 0xffffffff, index >> 32])
        degrader = realistic.Degrader(realistic.draw(random), gt.shape[1:3], scale)
        return np.stack([degrader(frame, random) for frame in gt])

    lq = tf.numpy_function(made, [frames, number], tf.uint8)
    count, height, width, _ = frames.shape.as_list()
    lq.set_shape([count, height // scale, width // scale, 3])
    return lq
