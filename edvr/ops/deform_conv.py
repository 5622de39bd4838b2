"""Modulated deformable convolution (DCNv2, arXiv 1811.11168): one definition, several implementations.

Point k of output (y, x) samples its group's channels of the input at (y - p + k // K + dy, x - p + k % K + dx),
p = (K - 1) / 2, bilinearly. The image is zero outside its borders, so a point less than one pixel outside still
gets the share of the corners inside. Derivatives at whole coordinates are those towards the right and the bottom
(floor and floor + 1), as in torchvision's operator: offsets are zero when training starts, and need a gradient there,
also at points at exactly -1, which every border pixel then has. A NaN coordinate is treated as far outside. The
gradient of Ascend's operator at exactly -1 is known from its sources only (docs/ascend.md): its AI CPU kernel gives
the same, the kernel of the Ascend 950 gives 0, other kernels were not found.

Letters: N batch, H W size, C channels in, G deform groups, K kernel size, P = K*K points.
"""
import tensorflow.compat.v1 as tf

from edvr.ops import ascend_nodes, deform_conv_stock

IMPLS = ('tf', 'native', 'npu')
EXPORTED = 'npu_nodes'   # the nodes of 'npu' in a graph that is written and never run, see ascend_nodes


def deform_conv(x, offset, mask, weight, bias, deform_groups, impl='tf'):
    """Stride 1, padding (K - 1) / 2, dilation 1: the output is as large as the input.

    Args:
      x: float [N, H, W, C]; float32 is what every implementation takes, 'tf' and 'native' also take float64.
      offset: same dtype, [N, H, W, 2*G*P], pixels: all dx, then all dy, each group-major, then kernel point.
      mask: same dtype, [N, H, W, G*P], group-major, then kernel point; used without a sigmoid.
      weight: [K, K, C, C_out], K odd; any of its C / G consecutive input channels form a group.
      bias: [C_out], or None.
      deform_groups: int, G, divides C.
      impl: 'tf' (stock operations, every device), 'native' (compiled operator, CPU), 'npu' (Ascend) or EXPORTED.
    Returns:
      [N, H, W, C_out], dtype of x.
    Raises:
      ValueError: unknown impl, or shapes that do not fit each other.
    """
    _check(x, offset, mask, weight, deform_groups, impl)
    if impl == 'native':
        from edvr.ops import native_ops
        return native_ops.deform_conv(x, offset, mask, weight, bias, deform_groups)
    if impl == EXPORTED:
        y = ascend_nodes.deformable_conv2d(x, offset, mask, weight, deform_groups)
    elif impl == 'npu':
        from edvr.devices import adapter
        y = adapter.deformable_conv2d(x, offset, mask, weight, deform_groups)
    else:
        y = _tf(x, offset, mask, weight, deform_groups)
    return y if bias is None else tf.nn.bias_add(y, bias)


def resolve_impl(name, device='cpu'):
    """The implementation that 'auto' selects on a device; other names are returned unchanged.

    Args:
      name: 'auto', 'tf', 'native' or 'npu'.
      device: 'cpu', 'gpu' or 'npu'.
    Returns:
      'tf', 'native' or 'npu'. Prints one line on stderr if 'auto' cannot use the compiled operator.
    Raises:
      ValueError: unknown name.
    """
    if name in IMPLS:
        return name
    if name != 'auto':
        raise ValueError('dcn_impl is %r; it must be one of auto, %s' % (name, ', '.join(IMPLS)))
    if device == 'npu':
        return 'npu'
    if device == 'cpu':
        from edvr.ops import native_library
        if native_library.available():
            return 'native'
    return 'tf'


def _check(x, offset, mask, weight, G, impl):
    if impl not in IMPLS + (EXPORTED,):
        raise ValueError('impl is %r; it must be one of %s' % (impl, ', '.join(IMPLS)))
    K, K2, C, _ = weight.shape.as_list()
    if K != K2 or K % 2 == 0:
        raise ValueError('the kernel is %dx%d; it must be square and odd' % (K, K2))
    if C % G:
        raise ValueError('deform_groups is %d, which does not divide the %d input channels' % (G, C))
    for name, value, wanted in (('x', x, C), ('offset', offset, 2 * G * K * K), ('mask', mask, G * K * K)):
        if value.shape.as_list()[-1] != wanted:
            raise ValueError('%s has %s channels; a %dx%d kernel with %d input channels and deform_groups=%d takes %d'
                             % (name, value.shape.as_list()[-1], K, K, C, G, wanted))


def _tf(x, offset, mask, weight, G):
    K, _, C, C_out = weight.shape.as_list()
    # the samples are group-major, so the small kernel is permuted instead of the samples
    kernel = tf.transpose(tf.reshape(tf.convert_to_tensor(weight), [K * K, G, C // G, C_out]), [1, 0, 2, 3])
    return deform_conv_stock.sample_and_multiply(x, offset, mask, kernel)
