"""The network with the compiled operators, CPU only: convolutions, deformable and plain, and enlargement."""
import contextlib
import typing

import tensorflow.compat.v1 as tf

from edvr.ops import deform_conv, native_ops
from edvr.ops.base import KERNEL_POINTS, SLOPES
from edvr.ops.stock import StockOps


class CompiledOps(StockOps):
    """Stock operations for what is not worth an operator of its own, such as the few convolutions with a stride."""

    def __init__(self, compute: str = 'exact',
                 float32_scope: typing.Callable[[], typing.ContextManager] = contextlib.nullcontext) -> None:
        """Sets how convolutions are computed.

        Args:
          compute: how convolutions are computed: 'exact', 'fast' or 'bf16'; training takes 'exact'.
          float32_scope: makes a context whose operations keep float32.
        """
        super().__init__(float32_scope=float32_scope)
        self._compute = compute

    def fused_conv(self, inputs: typing.Sequence[tf.Tensor], weight: tf.Tensor, bias: typing.Optional[tf.Tensor] = None,
                   activation: typing.Optional[str] = None, residual: typing.Optional[tf.Tensor] = None,
                   frames: int = 1, block: int = 1) -> tf.Tensor:
        return native_ops.conv(inputs, weight, bias, SLOPES[activation], residual, block, self._compute)

    def _deform_packed(self, x: tf.Tensor, packed: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor,
                       groups: int) -> typing.Tuple[tf.Tensor, tf.Tensor]:
        # the operator takes offsets and masks packed, which saves copies; the slice serves their mean only
        y = native_ops.deform_conv_packed(x, packed, weight, bias, groups)
        return y, packed[..., :2 * KERNEL_POINTS * groups]

    def deform_conv2d(self, x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, weight: tf.Tensor,
                      bias: typing.Optional[tf.Tensor], groups: int) -> tf.Tensor:
        deform_conv.check(x, offset, mask, weight, groups)
        return native_ops.deform_conv(x, offset, mask, weight, bias, groups)

    def upsample(self, x: tf.Tensor, factor: int, gain: float = 1.0) -> tf.Tensor:
        return native_ops.upsample(x, factor, gain)
