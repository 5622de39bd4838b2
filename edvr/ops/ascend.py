"""The network with Ascend's operator for deformable convolutions, to run on an NPU or to write for atc."""
import contextlib
import typing

import tensorflow.compat.v1 as tf

from edvr.ops import ascend_nodes
from edvr.ops.stock import StockOps


class AscendOps(StockOps):
    """Stock operations, and the Ascend operator for the deformable convolutions."""

    def __init__(self, deformable_conv2d: typing.Callable[..., tf.Tensor],
                 float32_scope: typing.Callable[[], typing.ContextManager] = contextlib.nullcontext) -> None:
        """Sets what adds the operator.

        Args:
          deformable_conv2d: function(x, offset, mask, weight, groups) -> tensor, such as that of `edvr.devices.npu`.
          float32_scope: makes a context whose operations keep float32.
        """
        super().__init__(float32_scope=float32_scope)
        self._deformable_conv2d = deformable_conv2d

    def _deform_product(self, x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, weight: tf.Tensor,
                        groups: int) -> tf.Tensor:
        return self._deformable_conv2d(x, offset, mask, weight, groups)


def exported_ops() -> AscendOps:
    """Returns the operations of a graph that is written for atc and never run; `ascend_nodes.complete` completes it."""
    return AscendOps(ascend_nodes.deformable_conv2d)
