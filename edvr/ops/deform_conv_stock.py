"""The deformable convolution in stock operations, in pieces so that intermediate values stay in the cache.

A loop processes the pixels of the output in pieces, so that the samples, P*C values a pixel, never exist as a whole.
Forward, four gathers read the corners, and the mask is a factor of their weights. The backward pass samples again
instead of keeping the samples, with `tf.image.crop_and_resize` and crops of one pixel: a bilinear sampler with a kernel
for the gradient of its coordinates, on CPU and GPU. For this, each group is an image, a border of zeros represents the
outside, and coordinates are clipped to that border.

Letters as in `deform_conv`: N batch, H W size, C channels in, G deform groups, P kernel points.
"""
import collections
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from edvr.ops import deform_conv
from edvr.ops.layers import shape_of

BEFORE, BEHIND = 2, 2   # zeros around the image: coordinates end up in [-2, size], and have a neighbour at size + 1
POINTS = 2048           # output pixels in a piece of the forward pass
PARALLEL = 2            # pieces in parallel: some of the kernels use one thread

_Sizes = collections.namedtuple('_Sizes', 'N H W C G K C_out')


def deform_conv2d(x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, weight: tf.Tensor, groups: int) -> tf.Tensor:
    """Returns the deformable convolution without bias, as `deform_conv` defines it.

    Args:
      x: float32 or float64 [N, H, W, C].
      offset: same dtype, [N, H, W, 2*G*P].
      mask: same dtype, [N, H, W, G*P], used without a sigmoid.
      weight: [K, K, C, C_out], static shape; any of its C / G consecutive input channels form a group.
      groups: G.
    Returns:
      [N, H, W, C_out], dtype of x.
    """
    kernel = deform_conv.group_major(weight, groups)
    if x.dtype.base_dtype == tf.float32:
        return _in_pieces(x, offset, mask, kernel)
    # crop_and_resize takes float32 only; other types use one piece and TensorFlow's own gradients
    sizes = _sizes(x, kernel)
    total = sizes.N * sizes.H * sizes.W
    y = _multiply(_table(x, sizes), tf.reshape(offset, [total, -1]), tf.reshape(mask, [total, -1]), tf.range(total),
                  kernel, sizes)
    return tf.reshape(y, [sizes.N, sizes.H, sizes.W, sizes.C_out])


@tf.custom_gradient
def _in_pieces(x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor,
               kernel: tf.Tensor) -> typing.Tuple[tf.Tensor, typing.Callable]:
    def gradient(dy: tf.Tensor) -> typing.List[tf.Tensor]:
        return _backward(x, offset, mask, kernel, dy)
    return _forward(x, offset, mask, kernel), gradient


def _sizes(x: tf.Tensor, kernel: tf.Tensor) -> _Sizes:
    G, P, _, C_out = kernel.shape.as_list()
    N, H, W, C = shape_of(x)
    return _Sizes(N, H, W, C, G, round(P ** 0.5), C_out)


def _forward(x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    sizes = _sizes(x, kernel)
    GP = sizes.G * sizes.K ** 2
    table = _table(x, sizes)
    total = sizes.N * sizes.H * sizes.W
    offset, mask = tf.reshape(offset, [total, 2 * GP]), tf.reshape(mask, [total, GP])

    def piece(index: tf.Tensor, results: tf.TensorArray) -> typing.Tuple[tf.Tensor, tf.TensorArray]:
        begin = index * POINTS
        end = tf.minimum(begin + POINTS, total)
        y = _multiply(table, offset[begin:end], mask[begin:end], tf.range(begin, end), kernel, sizes)
        return index + 1, results.write(index, y)

    pieces = (total + POINTS - 1) // POINTS
    results = tf.TensorArray(tf.float32, pieces, infer_shape=False, element_shape=[None, sizes.C_out])
    _, results = tf.while_loop(lambda index, _: index < pieces, piece, (0, results), parallel_iterations=PARALLEL,
                               back_prop=False)
    return tf.reshape(results.concat(), [sizes.N, sizes.H, sizes.W, sizes.C_out])


def _table(x: tf.Tensor, sizes: _Sizes) -> tf.Tensor:
    """Returns a table of pixels: [N, H, W, C] -> [N * (H + 4) * (W + 4) * G, C/G], zeros around the image."""
    border = [BEFORE, BEHIND]
    return tf.reshape(tf.pad(x, [[0, 0], border, border, [0, 0]]), [-1, sizes.C // sizes.G])


def _multiply(table: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, pixels: tf.Tensor, kernel: tf.Tensor,
              sizes: _Sizes) -> tf.Tensor:
    """Returns the convolution's output at M pixels, [M, C_out]; arguments as for `_coordinates`, mask is [M, G*P]."""
    G, P = sizes.G, sizes.K ** 2
    ys, xs, frames = _coordinates(offset, pixels, sizes)
    top, left = tf.floor(ys), tf.floor(xs)
    fraction_y, fraction_x = ys - top, xs - left
    width = sizes.W + BEFORE + BEHIND
    row = frames[:, tf.newaxis] * (sizes.H + BEFORE + BEHIND) + tf.cast(top, tf.int32)
    corner = (row * width + tf.cast(left, tf.int32)) * G + np.repeat(np.arange(G, dtype=np.int32), P)
    lower = mask * fraction_y
    upper = mask - lower
    lower_right, upper_right = lower * fraction_x, upper * fraction_x

    def weighted(steps: int, weights: tf.Tensor) -> tf.Tensor:
        return tf.gather(table, tf.reshape(corner + steps, [-1])) * tf.reshape(weights, [-1, 1])

    columns = (weighted(0, upper - upper_right) + weighted(G, upper_right)
               + weighted(width * G, lower - lower_right) + weighted((width + 1) * G, lower_right))
    matrix = tf.reshape(kernel, [P * sizes.C, sizes.C_out])
    return tf.matmul(tf.reshape(columns, [tf.shape(offset)[0], P * sizes.C]), matrix)


def _backward(x: tf.Tensor, offset: tf.Tensor, mask: tf.Tensor, kernel: tf.Tensor,
              dy: tf.Tensor) -> typing.List[tf.Tensor]:
    """Returns the gradients of x, offset, mask and kernel; a frame is a piece, and owns the gradient of its image."""
    sizes = _sizes(x, kernel)
    one = sizes._replace(N=1)
    points, GP, c = sizes.H * sizes.W, sizes.G * sizes.K ** 2, sizes.C // sizes.G
    matrix = tf.reshape(kernel, [GP * c, sizes.C_out])
    group = tf.tile(np.repeat(np.arange(sizes.G, dtype=np.int32), sizes.K ** 2), [points])

    def piece(values: typing.Sequence[tf.Tensor]) -> typing.Tuple[tf.Tensor, ...]:
        x_n, offset_n, mask_n, dy_n = values
        images = _images(x_n[tf.newaxis], one)
        mask_n, dy_n = tf.reshape(mask_n, [points, GP]), tf.reshape(dy_n, [points, sizes.C_out])
        column_mask = tf.reshape(mask_n, [-1, 1])
        ys, xs, _ = _coordinates(tf.reshape(offset_n, [points, 2 * GP]), tf.range(points), one)
        boxes = _boxes(ys, xs, one)
        samples = tf.reshape(tf.raw_ops.CropAndResize(image=images, boxes=boxes, box_ind=group,
                                                        crop_size=[1, 1]), [-1, c])
        dkernel = tf.matmul(tf.reshape(samples * column_mask, [points, GP * c]), dy_n, transpose_a=True)
        dcolumns = tf.reshape(tf.matmul(dy_n, matrix, transpose_b=True), [-1, c])
        dmask = tf.reduce_sum(samples * dcolumns, axis=-1)
        dimages = _corner_sums(dcolumns, ys, xs, mask_n, one)
        dboxes = tf.raw_ops.CropAndResizeGradBoxes(
            grads=tf.reshape(dcolumns, [-1, 1, 1, c]), image=images, box_ind=group,
            boxes=_boxes(_off_kinks(ys, sizes.H), _off_kinks(xs, sizes.W), one))
        # the two ends of a box coincide; each has half of the gradient, in units of the image's size
        dys, dxs = (tf.reshape(dboxes[:, axis] * (2.0 / _extent(size)), [points, GP]) * mask_n
                    for axis, size in enumerate((sizes.H, sizes.W)))
        doffset = tf.concat([dxs, dys], axis=-1)
        return (_images_gradient(dimages, one), tf.reshape(doffset, [sizes.H, sizes.W, 2 * GP]),
                tf.reshape(dmask, [sizes.H, sizes.W, GP]), dkernel)

    dx, doffset, dmask, dkernel = tf.map_fn(piece, (x, offset, mask, dy), dtype=(tf.float32,) * 4,
                                            parallel_iterations=PARALLEL, back_prop=False)
    gradients = [dx, doffset, dmask, tf.reshape(tf.reduce_sum(dkernel, axis=0), kernel.shape)]
    for value, gradient in zip((x, offset, mask, kernel), gradients):
        gradient.set_shape(value.shape)
    return gradients


def _images(x: tf.Tensor, sizes: _Sizes) -> tf.Tensor:
    """Returns a padded image for each group: [N, H, W, C] -> [N*G, BEFORE + H + BEHIND, BEFORE + W + BEHIND, C/G]."""
    N, H, W, C, G = sizes[:5]
    x = tf.transpose(tf.reshape(x, [N, H, W, G, C // G]), [0, 3, 1, 2, 4])
    border = [BEFORE, BEHIND]
    return tf.pad(tf.reshape(x, [N * G, H, W, C // G]), [[0, 0], border, border, [0, 0]])


def _corner_sums(values: tf.Tensor, ys: tf.Tensor, xs: tf.Tensor, mask: tf.Tensor, sizes: _Sizes) -> tf.Tensor:
    """Returns the gradient of the padded images of one frame: weighted values, added at four corners of a point.

    It is a product with the transposed matrix of the bilinear weights, which is sparse. CropAndResizeGradImage computes
    the same, but on CPUs its threads add to the same pixels without locks, and lose parts of the sums.

    Args:
      values: float32 [H*W*G*P, C/G], gradients of the samples times their mask.
      ys, xs: float32 [H*W, G*P], of `_coordinates`.
      mask: float32 [H*W, G*P].
      sizes: _Sizes of one frame.
    Returns:
      float32 [G, BEFORE + H + BEHIND, BEFORE + W + BEHIND, C/G].
    """
    G, P = sizes.G, sizes.K ** 2
    height, width = sizes.H + BEFORE + BEHIND, sizes.W + BEFORE + BEHIND
    top, left = tf.floor(ys), tf.floor(xs)
    right, lower = xs - left, mask * (ys - top)
    upper = mask - lower
    lower_right, upper_right = lower * right, upper * right
    weights = tf.stack([upper - upper_right, upper_right, lower - lower_right, lower_right], axis=-1)
    row = np.repeat(np.arange(G, dtype=np.int32), P) * height + tf.cast(top, tf.int32)
    corner = tf.reshape(row * width + tf.cast(left, tf.int32), [-1, 1])
    count, pixels = tf.shape(values)[0], G * height * width
    columns = tf.tile(tf.range(count)[:, tf.newaxis], [1, 4])
    indices = tf.stack([corner + tf.stack([0, 1, width, width + 1]), columns], axis=-1)
    sums = tf.raw_ops.SparseTensorDenseMatMul(
        a_indices=tf.reshape(indices, [-1, 2]), a_values=tf.reshape(weights, [-1]),
        a_shape=tf.cast(tf.stack([pixels, count]), tf.int64), b=values)
    return tf.reshape(sums, [G, height, width, sizes.C // G])


def _images_gradient(dimages: tf.Tensor, sizes: _Sizes) -> tf.Tensor:
    """Returns one frame without padding: [G, BEFORE + H + BEHIND, BEFORE + W + BEHIND, C/G] -> [H, W, C]."""
    inner = dimages[:, BEFORE:-BEHIND, BEFORE:-BEHIND]
    return tf.reshape(tf.transpose(inner, [1, 2, 0, 3]), [sizes.H, sizes.W, sizes.C])


def _coordinates(offset: tf.Tensor, pixels: tf.Tensor, sizes: _Sizes) -> typing.Tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the sampling points.

    Args:
      offset: [M, 2*G*P] of M output pixels.
      pixels: int32 [M], which ones, counted over [N, H, W].
      sizes: _Sizes.
    Returns:
      ys, xs: [M, G*P], pixels of the padded image; points far outside, or NaN, are at its first pixel, among zeros.
      frames: int32 [M], index in the batch.
    """
    _, H, W, _, G, K, _ = sizes
    dtype = offset.dtype
    taps = np.arange(K) - (K - 1) // 2
    tap_y, tap_x = (tf.constant(np.tile(tap, G), dtype) for tap in (np.repeat(taps, K), np.tile(taps, K)))
    rows, columns = tf.cast((pixels // W) % H, dtype), tf.cast(pixels % W, dtype)
    ys = _clip(offset[:, G * K * K:] + (rows[:, tf.newaxis] + tap_y), H)
    xs = _clip(offset[:, :G * K * K] + (columns[:, tf.newaxis] + tap_x), W)
    return ys, xs, pixels // (H * W)


def _clip(position: tf.Tensor, size: typing.Any) -> tf.Tensor:
    limit = tf.cast(size, position.dtype)
    # comparisons with NaN are false, so NaN is moved to the same place as points far outside
    inside = tf.where_v2(position >= -1, tf.minimum(position, limit), tf.constant(-BEFORE, position.dtype))
    return inside + BEFORE


def _extent(size: typing.Any) -> tf.Tensor:
    """Returns the pixels of the padded image, less one: the unit of crop_and_resize's boxes."""
    return tf.cast(size, tf.float32) + float(BEFORE + BEHIND - 1)


def _boxes(ys: tf.Tensor, xs: tf.Tensor, sizes: _Sizes) -> tf.Tensor:
    ys, xs = tf.reshape(ys, [-1]) / _extent(sizes.H), tf.reshape(xs, [-1]) / _extent(sizes.W)
    return tf.stack([ys, xs, ys, xs], axis=-1)


def _off_kinks(position: tf.Tensor, size: typing.Any) -> tf.Tensor:
    """Moves positions off whole pixels: there the kernel takes one pixel for both neighbours, and gives no gradient.

    The slope along an axis is the same everywhere between two pixels, so the result stays exact. The distance is just
    above the rounding of the conversion to boxes and back.
    """
    kink = _extent(size) * 2.0 ** -20
    whole = tf.floor(position)
    return whole + tf.clip_by_value(position - whole, kink, 1.0 - kink)
