"""The compiled deformable convolution and enlargement: values and gradients, bad shapes."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from facts import raises_facts
from helpers import ops_of

from edvr.ops import native_library, native_ops

needs_compiler = pytest.mark.skipif(native_library.compiler() is None, reason='no C++ compiler')


def reference(x, offset, mask, weight, bias, groups):
    """The definition, point by point, in float64."""
    N, H, W, C = x.shape
    kh, kw = weight.shape[:2]
    K, run = kh * kw, C // groups
    out = np.tile(bias.astype(np.float64), (N, H, W, 1))
    for n, y, x0, g, k in np.ndindex(N, H, W, groups, K):
        j = g * K + k
        sy = y - kh // 2 + k // kw + offset[n, y, x0, groups * K + j]
        sx = x0 - kw // 2 + k % kw + offset[n, y, x0, j]
        if not (-1 < sy < H and -1 < sx < W):   # NaN included
            continue
        fy, fx, sample = int(np.floor(sy)), int(np.floor(sx)), np.zeros(run)
        for cy, cx in ((fy, fx), (fy, fx + 1), (fy + 1, fx), (fy + 1, fx + 1)):
            if 0 <= cy < H and 0 <= cx < W:
                sample += (1 - abs(sy - cy)) * (1 - abs(sx - cx)) * x[n, cy, cx, g * run:(g + 1) * run]
        out[n, y, x0] += mask[n, y, x0, j] * sample @ weight[k // kw, k % kw, g * run:(g + 1) * run]
    return out


def inputs(seed, N=2, H=5, W=7, C=8, cout=6, G=2, kernel=(3, 3), reach=2.0):
    """Random arguments; offsets keep 0.05 away from whole numbers, where the gradient has a step."""
    rng = np.random.RandomState(seed)
    K = kernel[0] * kernel[1]
    offset = np.floor(rng.uniform(-reach, reach, (N, H, W, 2 * G * K))) + rng.uniform(0.05, 0.95, (N, H, W, 2 * G * K))
    return [rng.randn(N, H, W, C), offset, rng.rand(N, H, W, G * K), rng.randn(kernel[0], kernel[1], C, cout),
            rng.randn(cout)]


def run(values, groups, dtype=np.float64, direction=None):
    """The operator's output; with `direction` [N, H, W, Cout] also the gradients of sum(output * direction)."""
    with tf.Graph().as_default(), tf.Session() as session:
        arguments = [tf.constant(value.astype(dtype)) for value in values]
        out = native_ops.deform_conv(*arguments, deform_groups=groups)
        if direction is None:
            return session.run(out)
        return session.run((out, tf.gradients(out, arguments, direction.astype(dtype))))


@needs_compiler
@pytest.mark.parametrize('case', [
    dict(G=1), dict(G=2), dict(G=8), dict(G=4, C=32, cout=64), dict(G=1, kernel=(1, 1)), dict(G=2, kernel=(1, 1)),
    dict(kernel=(3, 1)), dict(N=1, H=1, W=1), dict(H=1, W=6), dict(N=3, H=9, W=13, cout=33), dict(G=3, C=9, cout=1),
    dict(reach=9.0), dict(G=2, C=16, H=11, W=12)], ids=str)
def test_values(case):
    values = inputs(0, **case)
    want = reference(*values, groups=case.get('G', 2))
    np.testing.assert_allclose(run(values, case.get('G', 2)), want, rtol=0, atol=1e-12 * np.abs(want).max())
    got = run(values, case.get('G', 2), np.float32)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@needs_compiler
@pytest.mark.parametrize('case', [
    dict(G=1, C=3, cout=2), dict(G=2, C=4, cout=3), dict(G=8, C=8, cout=2, H=3, W=3), dict(G=2, C=4, cout=3, reach=5.0),
    dict(G=1, C=16, cout=2, H=3), dict(G=2, C=4, kernel=(1, 1)), dict(N=1, H=1, W=1, C=2, G=1),
    dict(N=1, H=4, W=1)], ids=str)
def test_gradients_numerically(case):
    """Every gradient against central differences of the NumPy definition, along random directions."""
    groups = case.get('G', 2)
    values = inputs(1, **dict(dict(H=3, W=4), **case))
    rng = np.random.RandomState(2)
    direction = rng.randn(*(values[0].shape[:3] + values[3].shape[3:]))
    _, gradients = run(values, groups, direction=direction)
    step = 1e-6
    for which, gradient in enumerate(gradients):
        assert gradient.shape == values[which].shape
        for _ in range(4):
            change = rng.randn(*gradient.shape)
            ends = []
            for sign in (1, -1):
                moved = list(values)
                moved[which] = values[which] + sign * step * change
                ends.append((reference(*moved, groups=groups) * direction).sum())
            want = (ends[0] - ends[1]) / (2 * step)
            assert abs((gradient * change).sum() - want) < 1e-6 * max(1, np.abs(gradient * change).sum())


@needs_compiler
@pytest.mark.parametrize('dtype, accuracy', [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_packed_offsets_and_mask(dtype, accuracy):
    """The same as a sigmoid outside, values and gradients, with masks from closed to open."""
    values = [value.astype(dtype) for value in inputs(7, N=3, H=6)]
    values[2] = np.linspace(-100, 100, values[2].size).astype(dtype).reshape(values[2].shape)
    direction = np.random.RandomState(8).randn(3, 6, 7, 6).astype(dtype)
    results = []
    for packed in (False, True):
        with tf.Graph().as_default(), tf.Session() as session:
            x, offset, mask, weight, bias = arguments = [tf.constant(value) for value in values]
            if packed:
                y = native_ops.deform_conv_packed(x, tf.concat([offset, mask], -1), weight, bias, 2)
            else:
                y = native_ops.deform_conv(x, offset, tf.sigmoid(mask), weight, bias, 2)
            results.append(session.run([y] + tf.gradients(y, arguments, direction)))
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, rtol=0, atol=accuracy * np.abs(one).max())


@needs_compiler
@pytest.mark.parametrize('run_length', [8, 16, 64, 128, 5])
def test_float32_gradients_equal_float64(run_length):
    """The code of each number of channels of a group, in the precision used in training, over several tiles."""
    values = inputs(3, N=2, H=12, W=13, C=run_length * 2, G=2, cout=40)
    direction = np.random.RandomState(4).randn(2, 12, 13, 40)
    _, want = run(values, 2, direction=direction)
    out, got = run(values, 2, np.float32, direction)
    assert np.isfinite(out).all()
    for one, other in zip(got, want):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * np.abs(other).max())


@needs_compiler
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf, 1e30, -1e30, 1e9, -3e9, 8.0, -8.5, -9.0])
def test_offsets_outside_contribute_nothing(bad):
    values = inputs(5)
    masked = [value.copy() for value in values]
    groups, K = 2, 9
    hit = np.random.RandomState(6).rand(2, 5, 7, groups * K) < 0.3
    values[1][..., :groups * K][hit] = bad             # dx of some points, dy of others
    values[1][..., groups * K:][np.roll(hit, 1, 1)] = bad
    hit |= np.roll(hit, 1, 1)
    masked[2][hit] = 0                                   # the same points, switched off by their mask
    direction = np.random.RandomState(7).randn(2, 5, 7, 6)
    for dtype in (np.float32, np.float64):
        out, gradients = run(values, groups, dtype, direction)
        want, masked_gradients = run(masked, groups, dtype, direction)
        np.testing.assert_array_equal(out, want)
        for which in (0, 3, 4):
            np.testing.assert_array_equal(gradients[which], masked_gradients[which])
        assert not gradients[1][np.concatenate([hit, hit], -1)].any()
        assert not gradients[2][hit].any()


@needs_compiler
def test_borders_exactly():
    """Whole-number positions on and around the border; the slope there is the one towards larger coordinates.

    So it is in torchvision: at -1, where the sample itself is zero, the slope is the first pixel; at the last pixel it
    is minus that pixel; from the size on it is zero.
    """
    x = np.arange(1., 13).reshape(1, 3, 4, 1)
    for dy in (-2, -1, 0, 1, 2, 3):
        for dx in (-2, -1, 0, 1, 2, 3, 4):
            offset = np.zeros((1, 3, 4, 2))
            offset[..., 0], offset[..., 1] = dx, dy
            values = [x, offset, np.ones((1, 3, 4, 1)), np.ones((1, 1, 1, 1)), np.zeros(1)]
            out, gradients = run(values, 1, direction=np.ones((1, 3, 4, 1)))
            padded = np.pad(x[0, :, :, 0], 8, mode='constant')
            at = padded[8 + dy:11 + dy, 8 + dx:12 + dx]
            np.testing.assert_array_equal(out[0, :, :, 0], at)
            right, below = padded[8 + dy:11 + dy, 9 + dx:13 + dx], padded[9 + dy:12 + dy, 8 + dx:12 + dx]
            np.testing.assert_array_equal(gradients[1][0], np.stack([right - at, below - at], -1))


@needs_compiler
@pytest.mark.parametrize('factor', [1, 2, 3, 4])
@pytest.mark.parametrize('size', [(1, 1), (1, 5), (4, 3)])
def test_upsample(factor, size):
    """Values and gradient are those of the stock operations."""
    rng = np.random.RandomState(0)
    x, direction = rng.randn(2, *size, 3), rng.randn(2, factor * size[0], factor * size[1], 3)
    results = {}
    for way in ('tf', 'native'):
        with tf.Graph().as_default() as graph, tf.Session() as session:
            value = tf.constant(x)
            y = ops_of(way).upsample(value, factor, gain=2.5)
            results[way] = session.run((y, tf.gradients(y, value, direction)[0]))
            assert ('EdvrUpsample' in {op.type for op in graph.get_operations()}) == (way == 'native')
    for got, want in zip(results['native'], results['tf']):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


@needs_compiler
def test_upsample_refuses_wrong_shapes():
    with tf.Graph().as_default(), tf.Session() as session:
        grad = tf.placeholder_with_default(np.zeros((1, 4, 5, 2), np.float32), None)
        with raises_facts(tf.errors.InvalidArgumentError, "output's gradient", '[1,4,5,2]'):
            session.run(native_library.load().edvr_upsample(grad, factor=2, gradient=True))


@needs_compiler
@pytest.mark.parametrize('dtype, accuracy', [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize('depth, units, repeats', [(1, 1, 1), (37, 3, 2), (128, 9, 5)])
def test_register_block(dtype, accuracy, depth, units, repeats):
    rng = np.random.RandomState(0)
    a, b = rng.rand(2, depth).astype(dtype)
    with tf.Graph().as_default(), tf.Session() as session:
        y = session.run(native_ops.register_block(tf.constant(a), tf.constant(b), units, repeats))
    assert y.ndim == 3 and len(y) == units and y.dtype == dtype
    np.testing.assert_allclose(y, repeats * np.dot(a.astype(np.float64), b), rtol=accuracy)


@needs_compiler
def test_register_block_refuses_vectors_of_two_lengths():
    with tf.Graph().as_default(), tf.Session() as session:
        a, b = (tf.placeholder_with_default(np.zeros(size, np.float32), None) for size in (4, 5))
        with raises_facts(tf.errors.InvalidArgumentError, 'register_block', '[4]', '[5]'):
            session.run(native_ops.register_block(a, b, 1, 1))


@needs_compiler
def test_dynamic_shapes_and_empty_batch():
    values = inputs(8)
    with tf.Graph().as_default(), tf.Session() as session:
        places = [tf.placeholder(tf.float64, [None] * value.ndim) for value in values]
        out = native_ops.deform_conv(*places, deform_groups=2)
        gradients = tf.gradients(out, places)
        got = session.run(out, dict(zip(places, values)))
        np.testing.assert_allclose(got, reference(*values, groups=2), atol=1e-10)
        empty = [value[:0] for value in values[:3]] + values[3:]
        nothing, none = session.run((out, gradients), dict(zip(places, empty)))
        assert nothing.shape == (0, 5, 7, 6)
        assert not none[3].any() and not none[4].any()


@needs_compiler
def test_static_shape_is_inferred():
    with tf.Graph().as_default():
        places = [tf.placeholder(tf.float32, shape) for shape in
                  ([None, 5, None, 8], [None, 5, None, 36], [None, 5, None, 18], [3, 3, 8, 6], [6])]
        assert native_ops.deform_conv(*places, deform_groups=2).shape.as_list() == [None, 5, None, 6]


@needs_compiler
def test_same_result_with_any_number_of_threads():
    values = inputs(9, N=3, H=16, W=17, C=16, cout=8)
    direction = np.ones((3, 16, 17, 8))
    results = []
    for threads in (1, 3):
        config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        with tf.Graph().as_default(), tf.Session(config=config) as session:
            arguments = [tf.constant(value.astype(np.float32)) for value in values]
            out = native_ops.deform_conv(*arguments, deform_groups=2)
            results.append(session.run([out] + tf.gradients(out, arguments, direction.astype(np.float32))))
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


@needs_compiler
@pytest.mark.parametrize('which, shape, groups, text', [
    (0, (2, 5, 7), 2, r'x has shape \[2,5,7\]; it must be \[N, H, W, C\]'),
    (1, (2, 5, 7, 18), 2, r'offset has shape \[2,5,7,18\].* must be \[2,5,7,36\]'),
    (2, (2, 5, 6, 18), 2, r'mask has shape \[2,5,6,18\].* must be \[2,5,7,18\]'),
    (3, (3, 3, 4, 6), 2, r'weight takes 4 channels, x has 8'),
    (3, (2, 2, 8, 6), 2, r'weight has shape \[2,2,8,6\].* odd'),
    (4, (5,), 2, r'bias has shape \[5\]; it must be \[6\]'),
    (4, (6,), 3, r'deform_groups is 3, which does not divide the 8 channels'),
])
def test_wrong_shapes(which, shape, groups, text):
    values = inputs(10)
    values[which] = np.zeros(shape)
    with tf.Graph().as_default(), tf.Session() as session:
        places = [tf.placeholder_with_default(value, None) for value in values]
        with pytest.raises(tf.errors.InvalidArgumentError, match=text):
            session.run(native_ops.deform_conv(*places, deform_groups=groups))
