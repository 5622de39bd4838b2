"""Modulated deformable convolution (DCNv2, arXiv 1811.11168): its definition for all backends.

Point k of output (y, x) samples its group's channels of the input at (y - p + k // K + dy, x - p + k % K + dx),
p = (K - 1) / 2, bilinearly. The image is zero outside its borders, so a point less than one pixel outside still
gets the share of the corners inside. Derivatives at whole coordinates are those towards the right and the bottom
(floor and floor + 1), as in torchvision's operator: offsets are zero when training starts, and need a gradient there,
also at points at exactly -1, which every border pixel then has. A NaN coordinate is treated as far outside. The
gradient of Ascend's operator at exactly -1 is known from its sources only (docs/ascend.md): its AI CPU kernel gives
the same, the kernel of the Ascend 950 gives 0, other kernels were not found.

Stride 1, padding p, dilation 1: the output is as large as the input. Offsets are in pixels: all dx, then all dy, each
group-major, then kernel point; masks are group-major, then kernel point.

Letters: N batch, H W size, C channels in, G deform groups, K kernel size, P = K*K points.
"""
import tensorflow.compat.v1 as tf


def group_major(weight: tf.Tensor, groups: int) -> tf.Tensor:
    """Returns the kernel in the order of samples that are group-major: it is small, so it is permuted, not the samples.

    Args:
      weight: [K, K, C, C_out], static shape; any of its C / G consecutive input channels form a group.
      groups: G.
    Returns:
      [G, P, C / G, C_out].
    """
    K, _, C, C_out = weight.shape.as_list()
    return tf.transpose(tf.reshape(tf.convert_to_tensor(weight), [K * K, groups, C // groups, C_out]), [1, 0, 2, 3])


def check(x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, weight: tf.Tensor, groups: int) -> None:
    """Raises ValueError for arguments that do not fit each other.

    Args:
      x: [N, H, W, C].
      offset: [N, H, W, 2*G*P].
      mask: [N, H, W, G*P].
      weight: [K, K, C, C_out], K odd.
      groups: G, divides C.
    """
    K, K2, C, _ = weight.shape.as_list()
    if K != K2 or K % 2 == 0:
        raise ValueError('the kernel is %dx%d; it must be square and odd' % (K, K2))
    if C % groups:
        raise ValueError('deform_groups is %d, which does not divide the %d input channels' % (groups, C))
    for name, value, wanted in (('x', x, C), ('offset', offset, 2 * groups * K * K), ('mask', mask, groups * K * K)):
        if value.shape.as_list()[-1] != wanted:
            raise ValueError('%s has %s channels; a %dx%d kernel with %d input channels and deform_groups=%d takes %d'
                             % (name, value.shape.as_list()[-1], K, K, C, groups, wanted))
