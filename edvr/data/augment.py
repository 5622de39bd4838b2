"""Crop, flips, transpose and reversal as arithmetic on the indices of pixels; pixels are copied once, at the end.

A crop of a stack is one gather of pixels. Three vectors give their indices: one number per row, per column and per
frame, whose sum is the index of the pixel in the bytes of the stack. Flips reverse a vector; the transpose swaps two.
"""
import tensorflow.compat.v1 as tf


def reverse_if(vector: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
    """Returns the vector, reversed if `condition` (bool scalar) is true."""
    return tf.cond(condition, lambda: vector[::-1], lambda: tf.identity(vector))


def pixel_numbers(frames: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, horizontal: tf.Tensor, vertical: tf.Tensor,
                  transpose: tf.Tensor, backwards: tf.Tensor) -> tf.Tensor:
    """Computes the indices of the pixels of a crop after augmentation.

    Args:
      frames, rows, columns: int32 [F], [h], [w]: the terms of frame, row and column in the index of a pixel.
      horizontal: bool scalar, flip columns.
      vertical: bool scalar, flip rows.
      transpose: bool scalar, swap rows and columns after the flips; the crop must be square for a static shape.
      backwards: bool scalar, reverse the frames.
    Returns:
      int32 [F, h, w].
    """
    frames = reverse_if(frames, backwards)
    rows = reverse_if(rows, vertical)
    columns = reverse_if(columns, horizontal)
    # one sum computes both cases: after a transpose, columns run down and rows run across
    down, across = tf.cond(transpose, lambda: (columns, rows), lambda: (rows, columns))
    return frames[:, None, None] + (down[:, None] + across[None, :])[None]
