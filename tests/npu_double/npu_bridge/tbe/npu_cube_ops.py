"""deformable_conv2d: what the adapter builds as DeformableOffsets and an ordinary convolution, in plain gathers."""
import tensorflow as tf


def deformable_conv2d(x, filter, offsets, strides=None, pads=None, data_format='NHWC', dilations=(1, 1, 1, 1), groups=1,
                      deformable_groups=1, modulated=True, name=None):
    """Arguments, manners and mistakes of the adapter's function; `strides` is written into."""
    if not modulated:
        raise RuntimeError('modulated must be True')
    if groups != 1:
        raise RuntimeError('groups must be 1')
    x, offsets = tf.convert_to_tensor(x), tf.convert_to_tensor(offsets)
    for value in (x, offsets):
        if value.dtype not in (tf.float16, tf.float32):
            raise TypeError('DataType %s not in list of allowed values: float16, float32' % value.dtype.name)
    if x.dtype != offsets.dtype:
        raise TypeError('x has type %s that does not match type %s of offsets' % (x.dtype.name, offsets.dtype.name))
    kernel_h, kernel_w = (int(size) for size in filter.get_shape().as_list()[:2])
    for what, value in (('strides', strides), ('pads', pads)):
        if not isinstance(value, (list, tuple)):
            raise TypeError("Expected list for '%s' argument, not %r" % (what, value))
    y, x_axis = (1, 2) if data_format == 'NHWC' else (2, 3)
    for axis, kernel in ((y, kernel_h), (x_axis, kernel_w)):
        if offsets.shape.as_list()[axis] is None and kernel > 1:
            raise ValueError('Negative dimension size caused by subtracting %d from %d' % (kernel, -kernel))
    with tf.name_scope(name, 'deformable_conv2d'):
        if data_format == 'NCHW':
            x, offsets = (tf.transpose(value, [0, 2, 3, 1]) for value in (x, offsets))
        sampled = _sample(x, offsets, (kernel_h, kernel_w), (strides[y], strides[x_axis]), pads,
                          (dilations[y], dilations[x_axis]), deformable_groups)
        strides[y], strides[x_axis] = kernel_h, kernel_w
        result = tf.nn.conv2d(sampled, filter, [1, kernel_h, kernel_w, 1], 'VALID')
        return tf.transpose(result, [0, 3, 1, 2]) if data_format == 'NCHW' else result


def _sample(x, offsets, kernel, strides, pads, dilations, G):
    """[N, H, W, C] -> [N, Ho * kh, Wo * kw, C]: bilinear samples times mask, zero outside."""
    (kh, kw), (N, H, W, C) = kernel, [x.shape[axis].value or tf.shape(x)[axis] for axis in range(4)]
    Ho, Wo = (offsets.shape[axis].value or tf.shape(offsets)[axis] for axis in (1, 2))
    # nobody looks while the graph is built; the device fails when it runs
    wanted = [(size + pads[2 * i] + pads[2 * i + 1] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
              for i, size in enumerate((H, W))] + [3 * G * kh * kw]
    if not offsets.shape[3:].is_compatible_with([wanted[-1]]):
        offsets = tf.placeholder_with_default(offsets, [None] * 4)
    with tf.control_dependencies([tf.assert_equal(tf.shape(offsets)[1:], tf.stack(wanted),
                                                  message='DeformableOffsets: wrong shape of offsets')]):
        parts = tf.reshape(offsets, [N, Ho, Wo, 3, G, kh, kw])
    dx, dy, mask = (parts[:, :, :, index] for index in range(3))

    def grid(count, size, stride, pad, dilation):   # [output, kernel point]
        return tf.to_float(tf.range(count)[:, None] * stride - pad + tf.range(size)[None, :] * dilation)

    rows = tf.reshape(grid(Ho, kh, strides[0], pads[0], dilations[0]), [1, Ho, 1, 1, kh, 1])
    columns = tf.reshape(grid(Wo, kw, strides[1], pads[2], dilations[1]), [1, 1, Wo, 1, 1, kw])
    ys, xs = tf.cast(rows, x.dtype) + dy, tf.cast(columns, x.dtype) + dx
    value = _bilinear(tf.reshape(x, [N, H, W, G, C // G]), ys, xs) * mask[..., None]   # [N, Ho, Wo, G, kh, kw, C / G]
    return tf.reshape(tf.transpose(value, [0, 1, 4, 2, 5, 3, 6]), [N, Ho * kh, Wo * kw, C])


def _bilinear(x, ys, xs):
    N, H, W, G = (tf.shape(x)[axis] for axis in range(4))
    shape = tf.shape(ys)
    batch = tf.broadcast_to(tf.reshape(tf.range(N), [-1, 1, 1, 1, 1, 1]), shape)
    group = tf.broadcast_to(tf.reshape(tf.range(G), [1, 1, 1, -1, 1, 1]), shape)
    total = 0.
    for corner_y in (tf.floor(ys), tf.floor(ys) + 1):
        for corner_x in (tf.floor(xs), tf.floor(xs) + 1):
            weight = (1 - tf.abs(ys - corner_y)) * (1 - tf.abs(xs - corner_x))
            row, column = tf.to_int32(corner_y), tf.to_int32(corner_x)
            inside = (row >= 0) & (row < H) & (column >= 0) & (column < W)
            index = tf.stack([batch, tf.clip_by_value(row, 0, H - 1), tf.clip_by_value(column, 0, W - 1), group], -1)
            total += tf.gather_nd(x, index) * (weight * tf.cast(inside, x.dtype))[..., None]
    return total
