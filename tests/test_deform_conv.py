"""The deformable convolution against plain NumPy: values, and gradients taken numerically in float64."""
import numpy as np
import numpy_edvr
import pytest
import tensorflow.compat.v1 as tf
from facts import raises_facts
from helpers import ops_of
from helpers import session as unoptimized_session

from edvr.ops import native_library
from edvr.ops.stock import StockOps

SHAPES = [   # N, H, W, C, C_out, G, K
    (1, 4, 4, 2, 3, 1, 3),
    (2, 5, 7, 4, 2, 2, 3),
    (1, 3, 5, 8, 4, 8, 3),
    (2, 3, 4, 4, 3, 2, 1),
    (1, 1, 1, 2, 2, 1, 3),
]
needs_compiler = pytest.mark.skipif(native_library.compiler() is None, reason='no C++ compiler')
OFFSETS = ['random', 'far', 'whole', 'borders', 'zero']


def make_inputs(shape, kind, seed=0):
    """float64 [x, offset, mask, weight, bias]."""
    N, H, W, C, C_out, G, K = shape
    random = np.random.RandomState(seed)
    offset = random.randn(N, H, W, 2 * G * K * K)
    if kind == 'far':
        offset *= 100
    elif kind == 'whole':
        offset = np.round(offset * 2)
    elif kind == 'zero':
        offset *= 0
    elif kind == 'borders':   # exactly at -1, 0, size - 1 and size of the image, and a bit to each side
        P, taps = K * K, np.arange(K) - (K - 1) // 2
        for half, size, tap in ((0, W, np.tile(taps, K)), (1, H, np.repeat(taps, K))):
            wanted = random.choice([-1, 0, size - 1, size], (N, H, W, G, P)) + random.choice([-0.5, 0, 0.5],
                                                                                             (N, H, W, G, P))
            place = np.arange(size)[:, None] if half else np.arange(size)
            place = np.broadcast_to(place, (H, W))[None, :, :, None, None]
            offset[..., half * G * P:(half + 1) * G * P] = (wanted - place - tap).reshape(N, H, W, G * P)
    return [random.randn(N, H, W, C), offset, random.rand(N, H, W, G * K * K), random.randn(K, K, C, C_out),
            random.randn(C_out)]


def run(inputs, G, dtype='float32', dynamic=False, cotangent=None, impl='tf'):
    """The output, and with a cotangent the gradients of all five inputs after it."""
    with tf.Graph().as_default(), unoptimized_session() as session:
        feeds = [tf.placeholder(dtype, [None, None, None, value.shape[3]] if dynamic and index < 3 else value.shape)
                 for index, value in enumerate(inputs)]
        y = ops_of(impl).deform_conv2d(*feeds, G)
        fetches = [y] if cotangent is None else [y] + tf.gradients(y, feeds, tf.constant(cotangent, dtype))
        return session.run(fetches, dict(zip(feeds, inputs)))


@pytest.mark.parametrize('kind', OFFSETS)
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_values(shape, kind):
    inputs = make_inputs(shape, kind)
    wanted = numpy_edvr.deform_conv(*inputs, G=shape[5])
    assert np.abs(run(inputs, shape[5], 'float64')[0] - wanted).max() < 1e-12
    assert np.abs(run(inputs, shape[5], 'float32', dynamic=kind == 'random')[0] - wanted).max() < 2e-4


@pytest.mark.parametrize('kind', ['random', 'far', 'borders'])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_gradients_numerically(shape, kind):
    """Right-hand differences where a derivative has two sides, as the operator promises."""
    inputs = make_inputs(shape, kind)
    cotangent = np.random.RandomState(1).randn(*shape[:3] + (shape[4],))
    gradients = run(inputs, shape[5], 'float64', cotangent=cotangent)[1:]
    random, step, start = np.random.RandomState(2), 1e-7, numpy_edvr.deform_conv(*inputs, G=shape[5])
    for index, gradient in enumerate(gradients):
        for _ in range(4):
            direction = random.rand(*inputs[index].shape)   # positive: to the right, to the bottom
            direction *= random.rand(*direction.shape) < 0.5
            moved = list(inputs)
            moved[index] = inputs[index] + step * direction
            change = numpy_edvr.deform_conv(*moved, G=shape[5]) - start
            numeric = (change * cotangent).sum() / step
            assert abs((gradient * direction).sum() - numeric) < 1e-5 * max(1, abs(numeric)), index


@pytest.mark.parametrize('kind', OFFSETS)
@pytest.mark.parametrize('shape', SHAPES[1:], ids=str)
def test_float32_gradients_are_those_of_float64(shape, kind):
    """float32 goes through other operations; zero offsets, where training starts, are in the list."""
    inputs = [value.astype(np.float32).astype(np.float64) for value in make_inputs(shape, kind)]
    cotangent = np.random.RandomState(1).randn(*shape[:3] + (shape[4],))
    exact = run(inputs, shape[5], 'float64', cotangent=cotangent)
    single = run(inputs, shape[5], 'float32', dynamic=shape[0] > 1, cotangent=cotangent)
    for name, one, other in zip(['y', 'x', 'offset', 'mask', 'weight', 'bias'], exact, single):
        assert np.abs(one - other).max() <= 1e-4 * np.abs(one).max(), name


@needs_compiler
@pytest.mark.parametrize('kind', ['borders', 'zero', 'whole'])
def test_the_compiled_operator_has_the_same_derivatives_at_whole_coordinates(kind):
    shape = (2, 5, 6, 16, 4, 2, 3)
    inputs = make_inputs(shape, kind)
    cotangent = np.random.RandomState(1).randn(*shape[:3] + (shape[4],))
    ways = [run(inputs, shape[5], 'float64', cotangent=cotangent, impl=impl) for impl in ('tf', 'native')]
    for name, stock, compiled in zip(['y', 'x', 'offset', 'mask', 'weight', 'bias'], *ways):
        np.testing.assert_allclose(compiled, stock, rtol=1e-10, atol=1e-10, err_msg=name)


@pytest.mark.parametrize('impl', ['tf', pytest.param('native', marks=needs_compiler)])
def test_zero_offsets_get_a_gradient(impl):
    inputs = make_inputs((1, 6, 6, 4, 4, 2, 3), 'zero')
    gradient = run(inputs, 2, cotangent=np.ones((1, 6, 6, 4)), impl=impl)[2]
    # none only where a corner point lies outside with both its neighbours along the axis
    assert np.count_nonzero(gradient) > 0.8 * gradient.size


def test_many_pieces():
    """More pixels than a piece of the loop holds, and a last piece that is not full."""
    shape = (3, 40, 41, 4, 4, 2, 1)
    assert shape[0] * shape[1] * shape[2] > 2 * 2048
    inputs = make_inputs(shape, 'random')
    assert np.abs(run(inputs, 2)[0] - numpy_edvr.deform_conv(*inputs, G=2)).max() < 1e-4


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_nan_offsets_sample_nothing(dtype):
    inputs = make_inputs((2, 5, 5, 4, 3, 2, 3), 'random')
    inputs[1][0, 1, 2, ::5] = np.nan
    inputs[1][1, 3, 3, ::7] = np.inf
    wanted = numpy_edvr.deform_conv(*inputs, G=2)
    y, *gradients = run(inputs, 2, dtype, cotangent=np.ones((2, 5, 5, 3)))
    assert np.abs(y - wanted).max() < 1e-4
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize('axis', ['x', 'y'])
def test_offset_layout_by_a_shift_of_one_pixel(axis):
    """All dx lie in the first half, all dy in the second; positive is right and down."""
    G, H, W = 2, 5, 6
    image = np.random.RandomState(0).randn(1, H, W, 4)
    offset = np.zeros((1, H, W, 2 * G * 9))
    offset[..., slice(0, 9 * G) if axis == 'x' else slice(9 * G, None)] = 1
    weight = np.zeros((3, 3, 4, 4))
    weight[1, 1] = np.eye(4)
    y, = run([image, offset, np.ones((1, H, W, G * 9)), weight, np.zeros(4)], G)
    if axis == 'x':
        assert np.allclose(y[:, :, :-1], image[:, :, 1:], atol=1e-6) and not y[:, :, -1].any()
    else:
        assert np.allclose(y[:, :-1], image[:, 1:], atol=1e-6) and not y[:, -1].any()


def test_offset_and_mask_of_one_point_of_one_group():
    """Group 1, point 2 (top right) alone moves, and alone counts half."""
    G = 2
    image = np.random.RandomState(0).randn(1, 6, 6, 4)
    offset, mask = np.zeros((1, 6, 6, 2 * G * 9)), np.zeros((1, 6, 6, G * 9))
    offset[..., 9 + 2], offset[..., 18 + 9 + 2], mask[..., 9 + 2] = -1, 2, 0.5
    weight = np.zeros((3, 3, 4, 4))
    weight[0, 2] = np.eye(4)
    y, = run([image, offset, mask, weight, np.zeros(4)], G)
    # the point is at (-1, +1); moved by (+2, -1) it is at (+1, 0)
    assert np.allclose(y[0, :-1, :, 2:], 0.5 * image[0, 1:, :, 2:], atol=1e-6)
    assert not y[..., :2].any()


def test_without_offsets_it_is_a_convolution():
    x, offset, mask, weight, bias = make_inputs((2, 6, 5, 4, 3, 2, 3), 'zero')
    y, = run([x, offset, np.ones_like(mask), weight, bias], 2)
    assert np.abs(y - numpy_edvr.convolve(x, weight, bias)).max() < 1e-5


@pytest.mark.parametrize('change, facts', [
    (dict(offset=35), ['offset', '35 channels', '3x3', 'deform_groups=2', 36]),
    (dict(mask=17), ['mask', '17 channels']),
    (dict(x=6), ['x', '6 channels']),
])
def test_shapes_that_do_not_fit(change, facts):
    with tf.Graph().as_default(), raises_facts(ValueError, *facts):
        x, offset, mask = (tf.zeros([1, 4, 4, dict(dict(x=4, offset=36, mask=18), **change)[name]])
                           for name in ('x', 'offset', 'mask'))
        StockOps().deform_conv2d(x, offset, mask, tf.zeros([3, 3, 4, 4]), None, 2)


def test_groups_that_do_not_divide():
    with tf.Graph().as_default(), raises_facts(ValueError, 'deform_groups', 3, 4):
        StockOps().deform_conv2d(tf.zeros([1, 4, 4, 4]), tf.zeros([1, 4, 4, 54]), tf.zeros([1, 4, 4, 27]),
                                 tf.zeros([3, 3, 4, 4]), None, 3)


def test_torchvision_agrees():
    torch = pytest.importorskip('torch')
    ops = pytest.importorskip('torchvision').ops
    shape = (2, 6, 7, 8, 5, 4, 3)
    G, P = 4, 9
    inputs = make_inputs(shape, 'random')
    x, offset, mask, weight, bias = inputs
    pairs = offset.reshape(2, 6, 7, 2, G * P)[..., ::-1, :]   # (dy, dx)
    interleaved = np.moveaxis(pairs, 3, 4).reshape(2, 6, 7, 2 * G * P)

    def tensor(value):
        return torch.tensor(np.ascontiguousarray(value.transpose(0, 3, 1, 2)))

    wanted = ops.deform_conv2d(tensor(x), tensor(interleaved), torch.tensor(weight.transpose(3, 2, 0, 1).copy()),
                               torch.tensor(bias), padding=1, mask=tensor(mask)).numpy().transpose(0, 2, 3, 1)
    assert np.abs(run(inputs, G, 'float64')[0] - wanted).max() < 1e-10


@pytest.mark.parametrize('threads', [1, 4])
def test_many_points_that_share_pixels_get_the_same_right_gradient_each_time(threads):
    """Threads that add to the same pixels without locks lose parts of the sums, in some of the runs only."""
    N, H, W, C, G = 2, 32, 32, 16, 4
    random = np.random.RandomState(3)
    values = [random.randn(N, H, W, C), 3 * random.randn(N, H, W, 18 * G), random.rand(N, H, W, 9 * G),
              random.randn(3, 3, C, C) / 12, random.randn(C)]
    values = [value.astype(np.float32) for value in values]
    cotangent = random.randn(N, H, W, C).astype(np.float32)
    wanted = run(values, G, 'float64', cotangent=cotangent)[1:]
    with tf.Graph().as_default(), \
            tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=threads)) as session:
        feeds = [tf.placeholder(tf.float32, value.shape) for value in values]
        gradients = tf.gradients(StockOps().deform_conv2d(*feeds, G), feeds, tf.constant(cotangent))
        results = [session.run(gradients, dict(zip(feeds, values))) for _ in range(20)]
    for result in results:
        for gradient, first, exact in zip(result, results[0], wanted):
            np.testing.assert_array_equal(gradient, first)
            assert np.abs(gradient - exact).max() < 2e-5 * np.abs(exact).max()
