"""Gradients of stride-1 convolutions that are faster on CPUs than TensorFlow's own, and compute the same sums.

The gradient of the input is the forward convolution of the output's gradient with the kernel flipped and its channels
exchanged. TensorFlow's CPU kernel of the forward convolution is two to three times as fast as that of the gradient.
Where there is a compiler, `native_ops.conv` computes both.
"""
import contextlib
import typing

import tensorflow.compat.v1 as tf

# Whether the kernel's gradient is computed as a convolution too: the operation of TensorFlow 1 for it reaches half the
# speed of its convolution, for few channels a few hundredths. oneDNN's is fast.
FILTER_AS_CONVOLUTION = tf.__version__.startswith('1.')

_NAME = 'EdvrConvForward'


@contextlib.contextmanager
def forward_gradients() -> typing.Iterator[None]:
    """Returns a context whose Conv2D operations get their gradients as convolutions: stride 1, SAME, odd kernels."""
    # an override keeps the forward operation, which TensorFlow fuses with its successors
    with tf.get_default_graph().gradient_override_map({'Conv2D': _NAME}):
        yield


def _input_gradient(weight: tf.Tensor, grad: tf.Tensor) -> tf.Tensor:
    flipped = tf.transpose(tf.reverse(weight, axis=[0, 1]), [0, 1, 3, 2])
    return tf.nn.conv2d(grad, flipped, [1, 1, 1, 1], 'SAME')


@tf.RegisterGradient(_NAME)
def _forward(op: tf.Operation, grad: tf.Tensor) -> typing.Tuple[tf.Tensor, tf.Tensor]:
    x, weight = op.inputs
    if FILTER_AS_CONVOLUTION:
        return _input_gradient(weight, grad), _filter_gradient(x, grad, weight.shape)
    d_weight = tf.nn.conv2d_backprop_filter(x, tf.shape(weight), grad, [1, 1, 1, 1], 'SAME')
    return _input_gradient(weight, grad), d_weight


def _filter_gradient(x: tf.Tensor, grad: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Returns the gradient of a kernel of `shape` as a convolution.

    Channels become images, images channels, and one of the two is the kernel, which is faster with many channels.
    """
    exchanged = x.shape[-1] > grad.shape[-1]
    image, kernel = (grad, x) if exchanged else (x, grad)
    border = [[0, 0]] + [[int(size) // 2] * 2 for size in shape[:2]] + [[0, 0]]
    y = tf.nn.conv2d(tf.transpose(tf.pad(image, border), [3, 1, 2, 0]), tf.transpose(kernel, [1, 2, 0, 3]),
                     [1, 1, 1, 1], 'VALID')
    # the other image is shifted, so the shifts are in reverse order
    d_weight = tf.transpose(tf.reverse(y, [1, 2]), [1, 2, 3, 0]) if exchanged else tf.transpose(y, [1, 2, 0, 3])
    d_weight.set_shape(shape)
    return d_weight
