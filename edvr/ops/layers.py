"""Layers in stock TensorFlow operations, for every device. NHWC; letters as in `base`."""
import math
import typing
import zlib

import numpy as np
import tensorflow.compat.v1 as tf

from edvr.ops.base import SLOPES


def shape_of(x: tf.Tensor) -> typing.List[typing.Any]:
    """Returns the shape of `x`: int where static, scalar int32 tensor elsewhere."""
    dynamic = None
    sizes = x.shape.as_list()
    for axis, size in enumerate(sizes):
        if size is None:
            dynamic = tf.shape(x) if dynamic is None else dynamic
            sizes[axis] = dynamic[axis]
    return sizes


def uniform(random: np.random.RandomState, shape: typing.Sequence[int], fan_in: int) -> np.ndarray:
    """Returns U(+-1/sqrt(fan_in)): the reference's initial values of plain convolutions, of weight and bias."""
    return random.uniform(-1, 1, shape) / math.sqrt(fan_in)


def scaled_he_normal(random: np.random.RandomState, shape: typing.Sequence[int], fan_in: int) -> np.ndarray:
    """Returns He normal times 0.1: residual blocks start near the identity, which keeps deep stacks stable."""
    return random.normal(0, 0.1 * math.sqrt(2.0 / fan_in), shape)


def zeros(random: np.random.RandomState, shape: typing.Sequence[int], fan_in: int) -> np.ndarray:
    """Returns zeros."""
    return np.zeros(shape)


INITIAL_VALUES = {   # name, see `Ops.conv` -> functions for weight and bias
    'uniform': (uniform, uniform), 'uniform_weight': (uniform, zeros), 'scaled_he': (scaled_he_normal, zeros),
    'zeros': (zeros, zeros)}


def variable(name: str, shape: typing.Sequence[int], draw: typing.Callable, fan_in: int) -> tf.Variable:
    """Returns a float32 variable of the current scope; existing ones are shared.

    Its initial value follows from the seed of the graph and its full name alone. So it is the same on every device and
    rank and in every TensorFlow, whose own initializers depend on the operations built before. In a graph without a
    seed, whose weights are loaded, it is zero.

    Args:
      name: of the variable in its scope.
      shape: its shape.
      draw: function(np.random.RandomState, shape, fan-in) -> array, such as `uniform`.
      fan_in: products in each sum of the layer.
    """
    full_name, seed = '%s/%s' % (tf.get_variable_scope().name, name), tf.get_default_graph().seed

    def initial_value(shape: typing.Sequence[int], dtype: tf.DType = tf.float32,
                      partition_info: typing.Any = None) -> tf.Tensor:
        if seed is None or draw is zeros:   # no large constant in the graph
            return tf.zeros(shape, dtype)
        random = np.random.RandomState([seed & 0xffffffff, zlib.crc32(full_name.encode())])
        return tf.constant(draw(random, shape, fan_in), dtype)

    return tf.get_variable(name, shape, tf.float32, initial_value)


def as_float(frames: tf.Tensor) -> tf.Tensor:
    """Returns uint8 frames as float32 in [0, 1]; other dtypes unchanged."""
    return tf.cast(frames, tf.float32) / 255.0 if frames.dtype == tf.uint8 else frames


def lrelu(x: tf.Tensor) -> tf.Tensor:
    """Returns the leaky ReLU of `x`."""
    return tf.nn.leaky_relu(x, alpha=SLOPES['lrelu'])


def activate(x: tf.Tensor, activation: typing.Optional[str] = None) -> tf.Tensor:
    """Returns `x` after the activation: None, 'relu' or 'lrelu'."""
    return {'relu': tf.nn.relu, 'lrelu': lrelu}[activation](x) if activation else x


def convolve(x: tf.Tensor, weight: tf.Tensor, stride: int = 1) -> tf.Tensor:
    """Returns the convolution of `x` [B, H, W, C_in] with `weight` [k, k, C_in, C_out], k odd, padded by (k - 1) / 2.

    Padding is explicit for strides: TensorFlow's SAME pads an even size at the far side only, which shifts the
    sampling grid by a pixel.
    """
    if stride == 1:
        return tf.nn.conv2d(x, weight, [1, 1, 1, 1], 'SAME')
    pad = (int(weight.shape[0]) - 1) // 2
    return tf.nn.conv2d(pad_border(x, pad), weight, [1, stride, stride, 1], 'VALID')


def pad_border(x: tf.Tensor, pad: int, mode: str = 'CONSTANT') -> tf.Tensor:
    """Returns `x` [B, H, W, C] with `pad` pixels of zeros (or in another mode of tf.pad) on each of the four sides."""
    return tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]], mode)


def conv_variables(channels_in: int, channels_out: int, size: int = 3, init: str = 'uniform'
                   ) -> typing.Tuple[tf.Variable, tf.Variable]:
    """Returns weight [size, size, channels_in, channels_out] and bias [channels_out] in the current scope.

    Args:
      channels_in, channels_out: C_in, C_out.
      size: of the kernel.
      init: a name in INITIAL_VALUES.
    """
    fan_in, (of_weight, of_bias) = size * size * channels_in, INITIAL_VALUES[init]
    weight = variable('weight', [size, size, channels_in, channels_out], of_weight, fan_in)
    return weight, variable('bias', [channels_out], of_bias, fan_in)


def upsample(x: tf.Tensor, factor: int, gain: float = 1.0) -> tf.Tensor:
    """Returns the bilinear enlargement by a whole factor with half-pixel centres, borders replicated.

    Output pixel s*i + r lies at i + (r + 0.5) / s - 0.5 of the input, so each of the s phases is a fixed weighted sum
    of two neighbours. Shifts compute it in any dtype, with static or dynamic sizes, on every device.

    Args:
      x: float [B, H, W, C].
      factor: s.
      gain: what the result is multiplied by.
    Returns:
      [B, s*H, s*W, C].
    """
    y = _upsample_axis(_upsample_axis(x, factor, axis=1), factor, axis=2)
    return y if gain == 1.0 else y * gain


def _upsample_axis(x: tf.Tensor, factor: int, axis: int) -> tf.Tensor:
    sizes = shape_of(x)
    first, last = [0] * 4, [0] * 4
    last[axis] = sizes[axis] - 1
    edge = list(sizes)
    edge[axis] = 1
    before = tf.concat([tf.slice(x, first, edge), _cut(x, sizes, axis, 0)], axis)
    after = tf.concat([_cut(x, sizes, axis, 1), tf.slice(x, last, edge)], axis)
    phases = []
    for phase in range(factor):
        shift = (phase + 0.5) / factor - 0.5
        neighbour = before if shift < 0 else after
        phases.append(x if shift == 0 else (1 - abs(shift)) * x + abs(shift) * neighbour)
    sizes[axis] = sizes[axis] * factor
    return tf.reshape(tf.stack(phases, axis=axis + 1), sizes)


def _cut(x: tf.Tensor, sizes: typing.Sequence, axis: int, begin: int) -> tf.Tensor:
    """Returns `x` without its last (begin=0) or first (begin=1) element along `axis`."""
    start, length = [0] * 4, list(sizes)
    start[axis], length[axis] = begin, sizes[axis] - 1
    return tf.slice(x, start, length)


def max_pool(x: tf.Tensor) -> tf.Tensor:
    """Returns the maximum over 3x3 pixels, stride 2, one pixel of padding on every side; float [B, H, W, C].

    Replicated borders give the same maxima as borders of minus infinity: each copy's original is in the window.
    """
    with tf.get_default_graph().gradient_override_map({'MirrorPad': _BORDER_GRADIENT}):
        padded = pad_border(x, 1, 'SYMMETRIC')
    return tf.nn.max_pool2d(padded, 3, 2, 'VALID')


_BORDER_GRADIENT = 'EdvrReplicatedBorder'


@tf.RegisterGradient(_BORDER_GRADIENT)
def _border_gradient(op: tf.Operation, dy: tf.Tensor) -> typing.List[typing.Optional[tf.Tensor]]:
    """Adds the gradients of the copies to those of the pixels; Ascend's AI Core has no MirrorPadGrad."""
    for axis in (1, 2):
        sizes = shape_of(dy)
        begin, size, after = [0] * 4, list(sizes), [[0, 0] for _ in range(4)]
        size[axis], after[axis][1] = 1, sizes[axis] - 3
        first = tf.pad(tf.slice(dy, begin, size), after)
        begin[axis] = sizes[axis] - 1
        last = tf.pad(tf.slice(dy, begin, size), [pair[::-1] for pair in after])
        begin[axis], size[axis] = 1, sizes[axis] - 2
        dy = tf.slice(dy, begin, size) + first + last
    return [dy, None]


def avg_pool(x: tf.Tensor) -> tf.Tensor:
    """Returns the average over 3x3 pixels, stride 2, one pixel of zeros on every side that counts; float [B, H, W, C].
    """
    return tf.nn.avg_pool2d(pad_border(x, 1), 3, 2, 'VALID')
