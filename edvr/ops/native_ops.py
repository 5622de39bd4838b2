"""The operators of the compiled library with their gradients: convolutions, deformable and plain, and enlargement.

CPU only. Every operator raises native_library.BuildError if the library cannot be built or loaded.
"""
import typing

import tensorflow.compat.v1 as tf

from edvr.ops.native_library import load


def deform_conv(x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, weight: tf.Tensor, bias: typing.Optional[tf.Tensor],
                deform_groups: int) -> tf.Tensor:
    """Returns the modulated deformable convolution; stride 1, "same" padding.

    A sampling point without a corner inside the image, or whose offset is not a number, contributes zero and gets zero
    gradient. Derivatives at whole coordinates are those towards the right and the bottom. Results do not depend on the
    number of threads.

    Args:
      x: float32 or float64 [N, H, W, C].
      offset: like x's dtype [N, H, W, 2*G*K], [all dx | all dy], each group-major, then kernel point; K = kh*kw.
      mask: [N, H, W, G*K].
      weight: [kh, kw, C, Cout], kh and kw odd.
      bias: [Cout], or None.
      deform_groups: G; divides C.
    Returns:
      [N, H, W, Cout], with gradients to all five.
    Raises:
      tf.errors.InvalidArgumentError: when run, on shapes that do not agree; the text has the numbers.
    """
    if bias is None:
        bias = tf.zeros(tf.shape(weight)[3:], weight.dtype)
    return load().edvr_deform_conv(x, offset, mask, weight, bias, deform_groups=deform_groups)


def deform_conv_packed(x: tf.Tensor, packed: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, deform_groups: int
                       ) -> tf.Tensor:
    """Returns `deform_conv` with offset and mask as a convolution predicts them.

    Args:
      packed: [N, H, W, 3*G*K], the offset, then the mask before its sigmoid.
      x, weight, bias, deform_groups: as in `deform_conv`; bias is not None.
    """
    mask = tf.zeros([0], x.dtype)
    return load().edvr_deform_conv(x, packed, mask, weight, bias, deform_groups=deform_groups, packed=True)


def conv(inputs: typing.Sequence[tf.Tensor], weight: tf.Tensor, bias: typing.Optional[tf.Tensor] = None,
         slope: float = 1.0, residual: typing.Optional[tf.Tensor] = None, block: int = 1, compute: str = 'exact'
         ) -> tf.Tensor:
    """Returns depth_to_space(activation(convolution of the concatenated inputs + bias + residual), block), stride 1.

    Results do not depend on the number of threads.

    Args:
      inputs: list of float32 or float64 [N, H, W, C_i].
      weight: same dtype [kh, kw, sum of C_i, Cout], kh and kw odd, static.
      bias: [Cout], or None.
      slope: >= 0, what values below zero are multiplied by: 1 for no activation, 0 for ReLU.
      residual: [M, H, W, Cout], or None; M divides N, and N/M images next to each other share one.
      block: 1 for none.
      compute: 'exact', by the definition; 'fast', 3x3 kernels by Winograd's F(4x4, 3x3) where that saves time: up to
        three times as fast, errors of twice the size; to three channels or fewer with the sums in another order;
        'bf16', as 'fast' with bfloat16 factors in Winograd's algorithm, float32 only: a relative error of 1 %.
    Returns:
      [N, block * H, block * W, Cout / block^2], with gradients to all of them.
    Raises:
      tf.errors.InvalidArgumentError: when run, on shapes that do not agree; the text has the numbers. Or
        when built, for 'bf16' on a processor without it.
    """
    if bias is None:
        bias = tf.zeros([0], inputs[0].dtype)
    return load().edvr_conv(inputs, weight, bias, [] if residual is None else [residual], slope=slope, block=block,
                            compute=compute)


def conv_input_gradient(weight: tf.Tensor, grad: tf.Tensor, compute: str = 'exact') -> tf.Tensor:
    """Returns the gradient of the input of a stride-1 "same" convolution.

    Args:
      weight: float32 or float64 [kh, kw, C, Cout], kh and kw odd.
      grad: same dtype [N, H, W, Cout], gradient of the convolution's output.
      compute: 'exact' or 'fast', as in `conv`.
    Returns:
      [N, H, W, C].
    """
    return load().edvr_conv([grad], weight, tf.zeros([0], grad.dtype), [], transposed=True, compute=compute)


def conv_weight_gradient(x: tf.Tensor, grad: tf.Tensor, kernel_size: typing.Sequence[int], compute: str = 'exact'
                         ) -> typing.Tuple[tf.Tensor, tf.Tensor]:
    """Returns the gradients of the kernel and the bias of a stride-1 "same" convolution.

    Args:
      x: float32 or float64 [N, H, W, C].
      grad: same dtype [N, H, W, Cout], gradient of the convolution's output.
      kernel_size: (kh, kw), odd.
      compute: 'exact', by the definition, or 'fast', 3x3 kernels by Winograd's F(3x3, 4x4) where that saves time.
    Returns:
      [kh, kw, C, Cout] and [Cout].
    """
    return load().edvr_conv_weight_grad(x, grad, kernel_size=list(kernel_size), compute=compute)


def register_block(a: tf.Tensor, b: tf.Tensor, units: int, repeats: int) -> tf.Tensor:
    """Computes the register block of the matrix product again and again, to measure the processor.

    Args:
      a, b: float32 or float64 [depth]; all rows of the left matrix are a, all columns of the right one b.
      units: number of results, which are divided among the threads.
      repeats: number of products that a unit adds up.
    Returns:
      [units, rows, columns] of the block; every value is repeats * (a . b).
    """
    return load().edvr_register_block(a, b, units=units, repeats=repeats)


def upsample(x: tf.Tensor, factor: int, gain: float = 1.0) -> tf.Tensor:
    """Returns `layers.upsample` in one pass, with its gradient.

    Args:
      x: float32 or float64 [N, H, W, C].
      factor: s.
      gain: what the result is multiplied by.
    Returns:
      [N, s*H, s*W, C].
    """
    return load().edvr_upsample(x, factor=factor, gain=gain)


@tf.RegisterGradient('EdvrUpsample')
def _upsample_gradient(op: tf.Operation, grad: tf.Tensor) -> tf.Tensor:
    if op.get_attr('gradient'):
        raise LookupError('%s is a gradient itself; second derivatives are not supported' % op.name)
    return load().edvr_upsample(grad, factor=op.get_attr('factor'), gain=op.get_attr('gain'), gradient=True)


@tf.RegisterGradient('EdvrDeformConv')
def _gradient(op: tf.Operation, grad: tf.Tensor) -> typing.List[tf.Tensor]:
    x, offset, mask, weight, _ = op.inputs
    attributes = {name: op.get_attr(name) for name in ('deform_groups', 'packed')}
    return list(load().edvr_deform_conv_grad(x, offset, mask, weight, grad, **attributes))


@tf.RegisterGradient('EdvrConv')
def _conv_gradient(op: tf.Operation, grad: tf.Tensor) -> typing.List[typing.Optional[tf.Tensor]]:
    if op.get_attr('transposed'):
        raise LookupError('%s is a gradient itself; second derivatives are not supported' % op.name)
    count, slope, block = (op.get_attr(name) for name in ('inputs', 'slope', 'block'))
    compute = 'exact' if op.get_attr('compute') == b'exact' else 'fast'
    inputs, (weight, bias, *residual) = op.inputs[:count], op.inputs[count:]
    # an activated value has the same sign as the value before the activation
    if slope == 0.0:
        grad = tf.raw_ops.ReluGrad(gradients=grad, features=op.outputs[0])
    elif slope != 1.0:
        grad = tf.raw_ops.LeakyReluGrad(gradients=grad, features=op.outputs[0], alpha=slope)
    if block > 1:
        grad = tf.space_to_depth(grad, block)
    d_residual = []
    for value in residual:
        shape = tf.shape(value)
        d_residual.append(tf.reduce_sum(tf.reshape(grad, tf.concat([shape[:1], [-1], shape[1:]], 0)), axis=1))
    first, d_inputs, d_weight = 0, [], []
    for x in inputs:
        channels = int(x.shape[-1])
        d_inputs.append(conv_input_gradient(weight[:, :, first:first + channels], grad, compute))
        of_part, d_bias = conv_weight_gradient(x, grad, weight.shape.as_list()[:2], compute)
        d_weight.append(of_part)
        first += channels
    d_bias = None if bias.shape[0] == 0 else d_bias
    return d_inputs + [tf.concat(d_weight, axis=2), d_bias] + d_residual
