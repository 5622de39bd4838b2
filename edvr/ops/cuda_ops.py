"""The network on NVIDIA GPUs with an operator for the sampling of the deformable convolution.

On hosts without a GPU a double of the driver tests the operator. Letters as in `deform_conv`: N batch, H W size,
C channels in, G deform groups, K kernel size, P = K*K kernel points; M = N*H*W.
"""
import contextlib
import math
import typing

import tensorflow.compat.v1 as tf

from edvr.ops import cuda_library, deform_conv
from edvr.ops.layers import shape_of
from edvr.ops.stock import StockOps

MOST_BYTES = 1 << 29   # of the samples that exist at once; they are P times as large as the input
_BITS = 62             # of a sum of integers, less its sign and one for rounding


class CudaOps(StockOps):
    """Adds stock operations, but for the deformable convolution."""

    def __init__(self, deterministic: bool = False,
                 float32_scope: typing.Callable[[], typing.ContextManager] = contextlib.nullcontext) -> None:
        """Sets how gradients are added.

        Args:
          deterministic: whether the gradient of the input is a sum of integers, which does not depend on the order of
            the threads; else of floats, in any order.
          float32_scope: makes a context whose operations keep float32.
        """
        super().__init__(float32_scope=float32_scope)
        self._deterministic = deterministic

    def _deform_product(self, x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, weight: tf.Tensor,
                        groups: int) -> tf.Tensor:
        if x.dtype.base_dtype not in (tf.float32, tf.float16):
            return super()._deform_product(x, offset, mask, weight, groups)
        return deform_conv2d(x, offset, mask, weight, groups, self._deterministic)


def deform_conv2d(x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, weight: tf.Tensor, groups: int,
                  deterministic: bool = False) -> tf.Tensor:
    """Returns the deformable convolution without bias, as `deform_conv` defines it.

    Args:
      x: float32 or float16 [N, H, W, C]; float16 has sums of float32.
      offset: float32, or x's dtype, [N, H, W, 2*G*P].
      mask: offset's dtype, [N, H, W, G*P].
      weight: x's dtype, [K, K, C, C_out], static shape.
      groups: G.
      deterministic: whether the gradient of x does not depend on the order of its terms.
    Returns:
      [N, H, W, C_out], dtype of x.
    Raises:
      BuildError: the operator cannot be built or loaded.
    """
    K, _, C, C_out = weight.shape.as_list()
    matrix = tf.reshape(deform_conv.group_major(weight, groups), [K * K * C, C_out])
    pieces = _pieces(x, K)
    parts = [tf.split(value, pieces) if len(pieces) > 1 else [value] for value in (x, offset, mask)]
    results = [_convolve(part, shifts, shares, matrix, groups, K, deterministic)
               for part, shifts, shares in zip(*parts)]
    return results[0] if len(results) == 1 else tf.concat(results, axis=0)


def _pieces(x: tf.Tensor, K: int) -> typing.List[int]:
    """Returns the images of each piece whose samples take at most MOST_BYTES; one piece for an open shape."""
    N, H, W, C = x.shape.as_list()
    if None in (N, H, W) or not N:
        return [-1]
    most = max(1, MOST_BYTES // max(1, H * W * C * K * K * x.dtype.size))
    return [min(most, N - first) for first in range(0, N, most)]


def _convolve(x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, matrix: tf.Tensor, groups: int, K: int,
              deterministic: bool) -> tf.Tensor:
    module = cuda_library.load()
    sizes: typing.Dict[str, int] = dict(deform_groups=groups, kernel_size=K)

    @tf.custom_gradient
    def convolve(x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, matrix: tf.Tensor
                 ) -> typing.Tuple[tf.Tensor, typing.Callable]:
        def gradient(dy: tf.Tensor) -> typing.List[tf.Tensor]:
            dy = tf.reshape(dy, [-1, matrix.shape.as_list()[1]])
            # sampled again instead of kept: the samples of all layers would not fit the memory of a card. Without the
            # dependency TensorFlow would take the samples of the forward pass for the same, and keep them.
            with tf.control_dependencies([dy]):
                columns = module.edvr_cuda_sample(x, offset, mask, **sizes)
            d_matrix = tf.matmul(columns, dy, transpose_a=True)
            d_columns = tf.matmul(dy, matrix, transpose_b=True)
            unit = _unit(d_columns, mask) if deterministic else tf.constant(1.)
            d_x, d_offset, d_mask = module.edvr_cuda_sample_grad(
                x, offset, mask, d_columns, unit, S=tf.int64 if deterministic else tf.float32, **sizes)
            if deterministic:
                d_x = tf.cast(d_x, tf.float64) / tf.cast(unit, tf.float64)
            return [tf.cast(d_x, x.dtype), d_offset, d_mask, d_matrix]
        N, H, W, _ = shape_of(x)
        columns = module.edvr_cuda_sample(x, offset, mask, **sizes)
        return tf.reshape(tf.matmul(columns, matrix), [N, H, W, matrix.shape.as_list()[1]]), gradient
    return convolve(x, offset, mask, matrix)


def _unit(d_columns: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Returns the factor by which terms become integers whose sum fits 64 bits: a power of two, float32 scalar.

    It is NaN if a term is not finite, so that the gradient is no number either.
    """
    largest = [tf.reduce_max(tf.abs(tf.cast(value, tf.float64))) for value in (d_columns, mask)]
    bound = largest[0] * largest[1] * tf.cast(tf.size(mask), tf.float64)   # at most every point adds to a pixel
    exponent = tf.floor(_BITS - tf.math.log(bound) / math.log(2.))
    unit = tf.pow(tf.constant(2., tf.float64), tf.clip_by_value(exponent, -126., 126.))
    # not that of the bound: the largest of values with a NaN may be a number
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in (d_columns, mask)])
    return tf.cast(tf.where_v2(finite, unit, tf.constant(float('nan'), tf.float64)), tf.float32)
