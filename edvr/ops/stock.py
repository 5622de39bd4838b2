"""The network in stock TensorFlow operations: every device, and the graphs that are exported."""
import contextlib
import typing

import tensorflow.compat.v1 as tf

from edvr.ops import conv_cpu, deform_conv, deform_conv_stock, layers, recompute
from edvr.ops.base import KERNEL_POINTS, Ops, Sizes

Inputs = typing.Union[tf.Tensor, typing.List[tf.Tensor]]


class StockOps(Ops):
    """Adds operations to the default graph; its tensors are tf.Tensor, its variables those of tf.get_variable."""

    def __init__(self, forward_gradients: bool = False,
                 float32_scope: typing.Callable[[], typing.ContextManager] = contextlib.nullcontext) -> None:
        """Sets how operations are built.

        Args:
          forward_gradients: whether stride-1 convolutions get their gradients as convolutions, which is faster on CPUs;
            see `conv_cpu`.
          float32_scope: makes a context whose operations keep float32 where the others compute in float16: the sum of
            `mean_magnitude` may exceed the largest float16.
        """
        self._forward_gradients, self._float32_scope = forward_gradients, float32_scope
        self.offset_bound: typing.Optional[float] = None   # pixels; with it `deform_conv` also measures the excess

    def scope(self, name: str) -> typing.ContextManager:
        return tf.variable_scope(name, reuse=tf.AUTO_REUSE)

    def shape(self, x: tf.Tensor) -> typing.List[typing.Any]:
        return x.shape.as_list()

    def sizes(self, x: tf.Tensor) -> typing.List[typing.Any]:
        return layers.shape_of(x)

    def frames(self, x: tf.Tensor, sizes: typing.Optional[Sizes] = None) -> tf.Tensor:
        N, T, H, W, C = sizes or self.sizes(x)
        return tf.reshape(x, [N * T, H, W, C])

    def windows(self, x: tf.Tensor, sizes: Sizes) -> tf.Tensor:
        return tf.reshape(x, list(sizes) if len(sizes) == 5 else list(sizes) + self.sizes(x)[1:])

    def frame(self, x: tf.Tensor, index: int) -> tf.Tensor:
        return x[:, index]

    def as_window(self, x: tf.Tensor) -> tf.Tensor:
        return x[:, tf.newaxis]

    def stack(self, x: tf.Tensor) -> tf.Tensor:
        N, T, H, W, C = self.sizes(x)
        return tf.reshape(tf.transpose(x, [0, 2, 3, 1, 4]), [N, H, W, T * C])

    def as_float(self, x: tf.Tensor) -> tf.Tensor:
        return layers.as_float(x)

    def add(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return x + y

    def mul(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return x * y

    def scale(self, x: tf.Tensor, factor: float) -> tf.Tensor:
        return x * factor

    def sigmoid(self, x: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(x)

    def lrelu(self, x: tf.Tensor) -> tf.Tensor:
        return layers.lrelu(x)

    def sum_channels(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(x, axis=-1, keepdims=True)

    def mean_magnitude(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the mean of |x|, float32 scalar, computed in float32."""
        with self._float32_scope():
            return tf.reduce_mean(tf.abs(x))

    def conv(self, x: Inputs, channels: int, name: str, size: int = 3, stride: int = 1,
             activation: typing.Optional[str] = None, residual: typing.Optional[tf.Tensor] = None, block: int = 1,
             init: str = 'uniform') -> tf.Tensor:
        inputs = x if isinstance(x, (list, tuple)) else [x]
        with self.scope(name):
            weight, bias = layers.conv_variables(sum(map(self.channels, inputs)), channels, size, init)
            if stride == 1:
                return self.fused_conv(inputs, weight, bias, activation, residual, block=block)
            return layers.activate(tf.nn.bias_add(layers.convolve(x, weight, stride), bias), activation)

    def fused_conv(self, inputs: typing.Sequence[tf.Tensor], weight: tf.Tensor, bias: typing.Optional[tf.Tensor] = None,
                   activation: typing.Optional[str] = None, residual: typing.Optional[tf.Tensor] = None,
                   frames: int = 1, block: int = 1) -> tf.Tensor:
        """Returns depth_to_space(activation(convolution of the concatenated inputs + bias + residual)), stride 1.

        Args:
          inputs: float32 [B, H, W, C_i] each.
          weight: [k, k, sum of C_i, C_out], k odd.
          bias: [C_out], or None.
          activation: None, 'relu' or 'lrelu'.
          residual: float32 [B / frames, H, W, C_out], or None; `frames` images next to each other share one.
          frames: how many images share a residual.
          block: of depth_to_space.
        Returns:
          float32 [B, block * H, block * W, C_out / block^2].
        """
        x = inputs[0] if len(inputs) == 1 else tf.concat(inputs, axis=-1)
        with conv_cpu.forward_gradients() if self._forward_gradients else contextlib.nullcontext():
            y = layers.convolve(x, weight)
        if bias is not None:
            y = tf.nn.bias_add(y, bias)
        if frames > 1:
            N, H, W, C = self.sizes(residual)
            y = self.frames(self.windows(y, [N, frames, H, W, C]) + self.as_window(residual), [N, frames, H, W, C])
        elif residual is not None:
            y += residual
        y = layers.activate(y, activation)
        return y if block == 1 else tf.depth_to_space(y, block)

    def conv_with_reference(self, x: tf.Tensor, reference: tf.Tensor, channels: int, frames: int,
                            name: str, activation: typing.Optional[str] = None,
                            term: typing.Optional[tf.Tensor] = None) -> tf.Tensor:
        C = self.channels(x)
        with self.scope(name):
            weight, bias = layers.conv_variables(2 * C, channels)
            weight = tf.convert_to_tensor(weight)
            if term is None:
                term = self.fused_conv([reference], weight[:, :, C:], bias)
            return self.fused_conv([x], weight[:, :, :C], activation=activation, residual=term, frames=frames)

    def reference_term(self, reference: tf.Tensor, channels: int, name: str) -> tf.Tensor:
        C = self.channels(reference)
        with self.scope(name):
            weight, bias = layers.conv_variables(2 * C, channels)
            return self.fused_conv([reference], tf.convert_to_tensor(weight)[:, :, C:], bias)

    def deform_conv(self, x: tf.Tensor, offset_features: tf.Tensor, channels: int, groups: int, name: str
                    ) -> typing.Tuple[tf.Tensor, tf.Tensor]:
        with self.scope(name):
            weight, bias = layers.conv_variables(self.channels(x), channels, init='uniform_weight')
            packed = self.conv(offset_features, 3 * KERNEL_POINTS * groups, 'conv_offset', init='zeros')
            y, offset = self._deform_packed(x, packed, weight, bias, groups)
        return y, self._measured(offset)

    def _measured(self, offset: tf.Tensor) -> tf.Tensor:
        """Returns the mean |offset|; with `offset_bound` float32 [2], that and the mean excess of |offset| over it."""
        mean = self.mean_magnitude(offset)
        if self.offset_bound is None:
            return mean
        with self._float32_scope():
            return tf.stack([mean, tf.reduce_mean(tf.nn.relu(tf.abs(offset) - self.offset_bound))])

    def _deform_packed(self, x: tf.Tensor, packed: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor,
                       groups: int) -> typing.Tuple[tf.Tensor, tf.Tensor]:
        """Returns the deformable convolution with offsets and masks as `conv_offset` predicts them, and the offsets."""
        # no slices: their gradients would be padded to the full size and added
        offset, mask = tf.split(packed, [2 * KERNEL_POINTS * groups, KERNEL_POINTS * groups], axis=-1)
        return self.deform_conv2d(x, offset, tf.sigmoid(mask), weight, bias, groups), offset

    def deform_conv2d(self, x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, weight: tf.Tensor,
                      bias: typing.Optional[tf.Tensor], groups: int) -> tf.Tensor:
        """Returns the modulated deformable convolution with given offsets and masks, defined in `deform_conv`."""
        deform_conv.check(x, offset, mask, weight, groups)
        y = self._deform_product(x, offset, mask, weight, groups)
        return y if bias is None else tf.nn.bias_add(y, bias)

    def _deform_product(self, x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, weight: tf.Tensor,
                        groups: int) -> tf.Tensor:
        return deform_conv_stock.deform_conv2d(x, offset, mask, weight, groups)

    def upsample(self, x: tf.Tensor, factor: int, gain: float = 1.0) -> tf.Tensor:
        return layers.upsample(x, factor, gain)

    def pools(self, x: tf.Tensor) -> typing.List[tf.Tensor]:
        return [layers.max_pool(x), layers.avg_pool(x)]

    def recompute(self, function: typing.Callable, inputs: typing.Sequence[tf.Tensor]) -> typing.Any:
        return recompute.recompute(function, inputs)
