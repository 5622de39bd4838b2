"""The building blocks of the network and its conventions.

NHWC throughout. Convolutions are stride 1 and keep the size unless stated, have a bias, and are initialised as the
reference implementation's. Variables are called `weight` ([kh, kw, C_in, C_out]) and `bias`, below a scope named as
the reference's layer, so that checkpoints convert by renaming and transposing.

Letters: N batch, T frames, H W size, C channels, s scale.
"""
import contextlib
import math

import tensorflow.compat.v1 as tf

from edvr.ops import conv_cpu, native_ops

_GRADIENTS = {'way': 'stock'}
_MEASURES = {'scope': contextlib.nullcontext}
_COMPUTE = {'way': 'exact'}
_SLOPES = {None: 1.0, 'relu': 0.0, 'lrelu': 0.1}   # activation -> slope below zero


def shape_of(x):
    """The shape of `x` as a list: int where static, scalar int32 tensor elsewhere."""
    dynamic = None
    sizes = x.shape.as_list()
    for axis, size in enumerate(sizes):
        if size is None:
            dynamic = tf.shape(x) if dynamic is None else dynamic
            sizes[axis] = dynamic[axis]
    return sizes


def variable(name, shape, initializer):
    """A float32 variable of the current scope; existing ones are shared."""
    return tf.get_variable(name, shape, tf.float32, initializer)


def uniform(fan_in):
    """U(+-1/sqrt(fan_in)): the reference's initialisation of plain convolutions, of weight and bias."""
    limit = 1.0 / math.sqrt(fan_in)
    return tf.random_uniform_initializer(-limit, limit)


def scaled_he_normal(fan_in):
    """He normal times 0.1: residual blocks start near the identity, which keeps deep stacks stable."""
    return tf.random_normal_initializer(0.0, 0.1 * math.sqrt(2.0 / fan_in))


def lrelu(x):
    return tf.nn.leaky_relu(x, alpha=_SLOPES['lrelu'])


@contextlib.contextmanager
def convolution_gradients(way):
    """A context whose stride-1 convolutions get their gradients in this way (see conv_cpu).

    Args:
      way: 'stock', TensorFlow's own, for every device; 'forward', faster on CPUs; 'native', the fastest on CPUs, which
        needs the compiled operators and also computes the convolutions with them, see `fused_conv`.
    """
    before = _GRADIENTS['way']
    _GRADIENTS['way'] = way
    try:
        yield
    finally:
        _GRADIENTS['way'] = before


@contextlib.contextmanager
def restoring(compute):
    """Context: convolutions made in it serve restoring only, and may trade exactness for speed.

    Args:
      compute: 'exact', 'fast' or 'bf16', see `native_ops.conv`; for convolutions of the way 'native'.
    """
    before = _COMPUTE['way']
    _COMPUTE['way'] = compute
    try:
        yield
    finally:
        _COMPUTE['way'] = before


def gradients_way():
    """The way that `convolution_gradients` has set."""
    return _GRADIENTS['way']


@contextlib.contextmanager
def measures_in(scope):
    """Context: the operations of `mean_magnitude` are made in `scope()`, a context that keeps them in float32."""
    before = _MEASURES['scope']
    _MEASURES['scope'] = scope
    try:
        yield
    finally:
        _MEASURES['scope'] = before


def mean_magnitude(x):
    """The mean of |x|, float32 scalar. Its sum may exceed the largest float16, see `measures_in`."""
    with _MEASURES['scope']():
        return tf.reduce_mean(tf.abs(x))


def convolve(x, weight, stride=1):
    """`x` [B, H, W, C_in] with `weight` [k, k, C_in, C_out], k odd, padded by (k - 1) / 2 on every side.

    Padding is explicit for strides: TensorFlow's SAME pads an even size at the far side only, which shifts the
    sampling grid by a pixel.
    """
    if stride == 1:
        with conv_cpu.forward_gradients() if gradients_way() == 'forward' else contextlib.nullcontext():
            return tf.nn.conv2d(x, weight, [1, 1, 1, 1], 'SAME')
    pad = (int(weight.shape[0]) - 1) // 2
    return tf.nn.conv2d(pad_border(x, pad), weight, [1, stride, stride, 1], 'VALID')


def pad_border(x, pad, mode='CONSTANT'):
    """`x` [B, H, W, C] with `pad` pixels of zeros on each of the four sides."""
    return tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]], mode)


def conv_variables(channels_in, channels_out, size=3, weight_init=None, bias_init=None):
    """Weight [size, size, channels_in, channels_out] and bias [channels_out] in the current scope."""
    fan_in = size * size * channels_in
    weight = variable('weight', [size, size, channels_in, channels_out], weight_init or uniform(fan_in))
    return weight, variable('bias', [channels_out], bias_init or uniform(fan_in))


def fused_conv(inputs, weight, bias=None, activation=None, residual=None, frames=1, block=1):
    """depth_to_space(activation(convolution of the concatenated inputs + bias + residual)), stride 1.

    Args:
      inputs: list of float32 [B, H, W, C_i].
      weight: [k, k, sum of C_i, C_out], k odd.
      bias: [C_out], or None.
      activation: None, 'relu' or 'lrelu'.
      residual: float32 [B / frames, H, W, C_out], or None; `frames` images next to each other share one.
      frames, block: ints; block is depth_to_space's.
    Returns:
      float32 [B, block * H, block * W, C_out / block^2].
    """
    if gradients_way() == 'native':
        return native_ops.conv(inputs, weight, bias, _SLOPES[activation], residual, block, _COMPUTE['way'])
    y = convolve(inputs[0] if len(inputs) == 1 else tf.concat(inputs, axis=-1), weight)
    if bias is not None:
        y = tf.nn.bias_add(y, bias)
    if frames > 1:
        N, H, W, C = shape_of(residual)
        y = tf.reshape(tf.reshape(y, [N, frames, H, W, C]) + residual[:, tf.newaxis], [N * frames, H, W, C])
    elif residual is not None:
        y += residual
    y = activate(y, activation)
    return y if block == 1 else tf.depth_to_space(y, block)


def activate(x, activation=None):
    """`x` after the activation: None, 'relu' or 'lrelu'."""
    return {'relu': tf.nn.relu, 'lrelu': lrelu}[activation](x) if activation else x


def conv2d(x, channels, name, size=3, stride=1, weight_init=None, bias_init=None, **fused):
    """Convolution with bias.

    Args:
      x: float32 [B, H, W, C], or a list of such, which is concatenated on channels.
      channels: int, C_out.
      name: str, the layer's scope.
      size: int, odd kernel size.
      stride: int; the output is [B, ceil(H / stride), ceil(W / stride), C_out].
      weight_init, bias_init: initializers; None means `uniform`.
      fused: what follows the convolution, see `fused_conv`; with a stride only `activation`.
    """
    inputs = x if isinstance(x, (list, tuple)) else [x]
    with tf.variable_scope(name, reuse=tf.AUTO_REUSE):
        weight, bias = conv_variables(sum(int(one.shape[-1]) for one in inputs), channels, size, weight_init,
                                      bias_init)
        if stride == 1:
            return fused_conv(inputs, weight, bias, **fused)
        return activate(tf.nn.bias_add(convolve(x, weight, stride), bias), **fused)


def conv2d_with_reference(x, reference, channels, frames, name, activation=None, half=None):
    """The 3x3 convolution of every frame concatenated with its window's reference, the latter convolved only once.

    A convolution of a concatenation is the sum of two convolutions with the kernel split.

    Args:
      x: float32 [N*T, H, W, C], frames of a window next to each other.
      reference: float32 [N, H, W, C].
      channels: int, C_out.
      frames: int, T.
      name: str, the layer's scope.
      activation: None, 'relu' or 'lrelu'.
      half: the result of `reference_half` where it is known already.
    Returns:
      float32 [N*T, H, W, C_out].
    """
    C = int(x.shape[-1])
    with tf.variable_scope(name, reuse=tf.AUTO_REUSE):
        weight, bias = conv_variables(2 * C, channels)
        weight = tf.convert_to_tensor(weight)
        if half is None:
            half = fused_conv([reference], weight[:, :, C:], bias)
        return fused_conv([x], weight[:, :, :C], activation=activation, residual=half, frames=frames)


def reference_half(reference, channels, name):
    """The part of `conv2d_with_reference` that all frames of a window share; float32 [N, H, W, C_out]."""
    C = int(reference.shape[-1])
    with tf.variable_scope(name, reuse=tf.AUTO_REUSE):
        weight, bias = conv_variables(2 * C, channels)
        return fused_conv([reference], tf.convert_to_tensor(weight)[:, :, C:], bias)


def residual_block(x, name):
    """conv, ReLU, conv, and the input added; float32 [B, H, W, C] both ways."""
    C = int(x.shape[-1])
    options = dict(weight_init=scaled_he_normal(9 * C), bias_init=tf.zeros_initializer())
    with tf.variable_scope(name, reuse=tf.AUTO_REUSE):
        return conv2d(conv2d(x, C, 'conv1', activation='relu', **options), C, 'conv2', residual=x, **options)


def residual_blocks(x, count, name, first=0):
    """`count` residual blocks called `first`, `first` + 1, ... in scope `name`."""
    with tf.variable_scope(name, reuse=tf.AUTO_REUSE):
        for index in range(first, first + count):
            x = residual_block(x, str(index))
    return x


def upsample(x, factor, gain=1.0):
    """Bilinear enlargement by a whole factor with half-pixel centres, borders replicated.

    Output pixel s*i + r lies at i + (r + 0.5) / s - 0.5 of the input, so each of the s phases is a fixed weighted sum
    of two neighbours. Shifts compute it in any dtype, with static or dynamic sizes, on every device.

    Args:
      x: float [B, H, W, C].
      factor: int s.
      gain: float, what the result is multiplied by.
    Returns:
      [B, s*H, s*W, C].
    """
    if gradients_way() == 'native':
        return native_ops.upsample(x, factor, gain)
    y = _upsample_axis(_upsample_axis(x, factor, axis=1), factor, axis=2)
    return y if gain == 1.0 else y * gain


def _upsample_axis(x, factor, axis):
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


def _cut(x, sizes, axis, begin):
    """`x` without its last (begin=0) or first (begin=1) element along `axis`."""
    start, length = [0] * 4, list(sizes)
    start[axis], length[axis] = begin, sizes[axis] - 1
    return tf.slice(x, start, length)


def max_pool(x):
    """3x3, stride 2, one pixel of padding on every side; float [B, H, W, C].

    Replicated borders give the same maxima as borders of minus infinity: each copy's original is in the window.
    """
    return tf.nn.max_pool2d(pad_border(x, 1, 'SYMMETRIC'), 3, 2, 'VALID')


def avg_pool(x):
    """3x3, stride 2, one pixel of zeros on every side that counts in the average; float [B, H, W, C]."""
    return tf.nn.avg_pool2d(pad_border(x, 1), 3, 2, 'VALID')
