"""The network with Ascend's operator for deformable convolutions, to run on an NPU or to write for atc."""
import contextlib
import typing

import tensorflow.compat.v1 as tf

from edvr.ops import ascend_nodes
from edvr.ops.stock import StockOps

# function(x [N, H, W, C], offsets [N, H, W, 3*G*K*K], K, G) -> [N, K*H, K*W, C]
Sample = typing.Callable[[tf.Tensor, tf.Tensor, int, int], tf.Tensor]


class AscendOps(StockOps):
    """Stock operations, and the Ascend operator for the deformable convolutions."""

    def __init__(self, sample: Sample, splits: typing.Callable[[int, int, bool], bool],
                 float32_scope: typing.Callable[[], typing.ContextManager] = contextlib.nullcontext,
                 differentiable: bool = True) -> None:
        """Sets what adds the operator.

        Args:
          sample: adds the operator, such as that of `edvr.devices.adapter`.
          splits: function(channels, groups, whether the batch is open) -> whether each group is a call of its own.
          float32_scope: makes a context whose operations keep float32.
          differentiable: whether gradients are taken of it.
        """
        super().__init__(float32_scope=float32_scope)
        self._sample, self._splits, self._differentiable = sample, splits, differentiable

    def _deform_product(self, x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, weight: tf.Tensor,
                        groups: int) -> tf.Tensor:
        kernel, offsets = weight.shape.as_list()[0], tf.concat([offset, mask], axis=-1)
        if groups == 1 or not self._splits(self.channels(x), groups, x.shape.as_list()[0] is None):
            samples = self._sample(x, offsets, kernel, groups)
        elif self._differentiable:
            samples = self._group_by_group_with_gradient(x, offsets, kernel, groups)
        else:
            samples = self._group_by_group(x, offsets, kernel, groups)
        return tf.nn.conv2d(samples, weight, [1, kernel, kernel, 1], 'VALID')

    def _group_by_group(self, x: tf.Tensor, offsets: tf.Tensor, kernel: int, groups: int) -> tf.Tensor:
        """Returns the samples of all groups by a call for each, of which only the channels of the group are kept.

        Each call gets all channels of x: with fewer, AI Core would not take it.
        """
        # all dx, all dy, all masks, each group-major
        parts = tf.split(offsets, [kernel ** 2] * (3 * groups), axis=-1)
        size, kept = self.channels(x) // groups, []
        for group in range(groups):
            sampled = self._sample(x, tf.concat(parts[group::groups], axis=-1), kernel, 1)
            kept.append(sampled[..., group * size:(group + 1) * size])
        return tf.concat(kept, axis=-1)

    def _group_by_group_with_gradient(self, x: tf.Tensor, offsets: tf.Tensor, kernel: int, groups: int) -> tf.Tensor:
        """Returns the same, with the gradient in one call of all groups, which the operator's gradient takes."""
        @tf.custom_gradient
        def sampled(x: tf.Tensor, offsets: tf.Tensor) -> typing.Tuple[tf.Tensor, typing.Callable]:
            def gradient(dy: tf.Tensor) -> typing.List[tf.Tensor]:
                # not run: the gradient reads only the inputs of the operator
                whole = self._sample(x, offsets, kernel, groups)
                return tf.gradients(whole, [x, offsets], dy)
            return self._group_by_group(x, offsets, kernel, groups), gradient
        return sampled(x, offsets)


def exported_ops(splits: typing.Callable[[int, int, bool], bool]) -> AscendOps:
    """Returns the operations of a graph that is written for atc and never run; `ascend_nodes.complete` completes it."""
    return AscendOps(ascend_nodes.sample, splits, differentiable=False)
