"""Convolutions for CPUs and their gradients: the same numbers as TensorFlow's own, alone and through the network."""
import numpy as np
import preloaded
import pytest
import tensorflow.compat.v1 as tf
import tiny_training
import training_runs
from helpers import session as unoptimized_session

from edvr.config import ModelConfig
from edvr.network import networks
from edvr.ops import conv_cpu, native_library, native_ops
from edvr.ops.compiled import CompiledOps
from edvr.ops.stock import StockOps

needs_compiler = pytest.mark.skipif(native_library.compiler() is None, reason='no C++ compiler')
OPS = {'stock': StockOps, 'forward': lambda: StockOps(forward_gradients=True), 'native': CompiledOps}
# the way, and whether the kernel's gradient is a convolution too
WAYS = [('forward', False), ('forward', True), pytest.param(('native', False), marks=needs_compiler)]


@pytest.fixture
def way(request, monkeypatch):
    name, filter_as_convolution = request.param
    monkeypatch.setattr(conv_cpu, 'FILTER_AS_CONVOLUTION', filter_as_convolution)
    return name


def gradients(way, dtype, N, H, W, C, cout, size):
    rng = np.random.RandomState(0)
    x, weight, grad = rng.randn(N, H, W, C), rng.randn(size, size, C, cout), rng.randn(N, H, W, cout)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        x, weight = tf.constant(x, dtype), tf.constant(weight, dtype)
        y = OPS[way]().fused_conv([x], weight)
        result = session.run([y] + tf.gradients(y, [x, weight], tf.constant(grad, dtype)))
        return result, {op.type for op in graph.get_operations()}


@pytest.mark.parametrize('way', WAYS, indirect=True, ids=str)
@pytest.mark.parametrize('case', [(2, 9, 7, 5, 40, 3), (1, 1, 1, 3, 2, 3), (1, 30, 40, 14, 3, 3), (2, 8, 8, 6, 70, 1),
                                  (1, 3, 300, 2, 3, 5), (40, 2, 2, 1, 1, 3)], ids=str)
def test_equals_stock_gradients(way, case):
    for dtype, accuracy in ((tf.float32, 1e-5), (tf.float64, 1e-13)):
        want, _ = gradients('stock', dtype, *case)
        got, types = gradients(way, dtype, *case)
        for one, other in zip(got, want):
            np.testing.assert_allclose(one, other, rtol=0, atol=accuracy * max(1, np.abs(other).max()))
        assert 'Conv2DBackpropInput' not in types
        assert ('Conv2DBackpropFilter' in types) == (way == 'forward' and not conv_cpu.FILTER_AS_CONVOLUTION)
        assert ('EdvrConvWeightGrad' in types) == (way == 'native')


NETWORK = ModelConfig(channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=1, num_frames=3)


def network_gradients(way, recompute=False):
    """A small network with offsets that are not zero.

    Returns:
      ([sr, mean offsets, gradient of every variable], set of the types of the operations).
    """
    lq = np.random.RandomState(1).rand(1, 3, 8, 12, 3).astype(np.float32)
    with tf.Graph().as_default() as graph, unoptimized_session() as session:
        outputs = networks.build(NETWORK).restore(OPS[way](), tf.constant(lq), recompute)
        variables, rng = tf.trainable_variables(), np.random.RandomState(2)
        wanted = [outputs.sr] + [outputs.offset_means[name] for name in sorted(outputs.offset_means)]
        wanted += tf.gradients(tf.reduce_sum(tf.square(outputs.sr)), variables)
        places = [tf.placeholder(tf.float32, variable.shape) for variable in variables]
        session.run([tf.assign(*pair) for pair in zip(variables, places)],
                    {place: .1 * rng.randn(*place.shape.as_list()) for place in places})
        return session.run(wanted), {op.type for op in graph.get_operations()}


@pytest.fixture(scope='module')
def stock():
    """Values and gradients by TensorFlow's own operations."""
    return network_gradients('stock')[0]


@pytest.mark.parametrize('way', WAYS, indirect=True, ids=str)
@pytest.mark.parametrize('recompute', [False, True])
def test_network_gradients_are_the_same(way, recompute, stock):
    """Values and every variable's gradient; what is compared took the way it should."""
    results, types = network_gradients(way, recompute)
    assert ('EdvrConvWeightGrad' in types) == (way == 'native')
    assert ('EdvrConv' in types) == (way == 'native')
    for value, want in zip(results, stock):
        np.testing.assert_allclose(value, want, rtol=0, atol=2e-4 * max(1, np.abs(want).max()))


@needs_compiler
@pytest.mark.parametrize('C, cout', [(3, 40), (40, 3), (30, 37)])
def test_weight_gradient_of_many_tiles(C, cout):
    """Several tiles in every direction, units of several tiles; either image on the left."""
    rng, N, H, W = np.random.RandomState(0), 9, 70, 75
    x, grad = rng.randn(N, H, W, C), rng.randn(N, H, W, cout)
    with tf.Graph().as_default(), tf.Session() as session:
        got = session.run(native_ops.conv_weight_gradient(tf.constant(x), tf.constant(grad), (3, 5)))
    padded = np.pad(x, [(0, 0), (1, 1), (2, 2), (0, 0)], 'constant')
    want = [[padded[:, i:i + H, j:j + W].reshape(-1, C).T @ grad.reshape(-1, cout) for j in range(5)]
            for i in range(3)]
    np.testing.assert_allclose(got[0], want, rtol=0, atol=1e-9)
    np.testing.assert_allclose(got[1], grad.sum((0, 1, 2)), rtol=0, atol=1e-9)


@needs_compiler
def test_weight_gradient_refuses_wrong_shapes():
    with tf.Graph().as_default(), tf.Session() as session:
        x, grad = (tf.placeholder_with_default(np.zeros(shape, np.float32), None) for shape in
                   ((2, 5, 7, 3), (2, 5, 6, 4)))
        with pytest.raises(tf.errors.InvalidArgumentError, match=r'\[2,5,7,3\].*\[2,5,6,4\]'):
            session.run(native_ops.conv_weight_gradient(x, grad, (3, 3)))


def definition(inputs, weight, bias, residual, slope, block):
    """What `native_ops.conv` computes, in NumPy."""
    x = np.concatenate(inputs, axis=-1)
    kh, kw, _, cout = weight.shape
    N, H, W, _ = x.shape
    padded = np.pad(x, [(0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)], 'constant')
    y = sum(padded[:, i:i + H, j:j + W] @ weight[i, j] for i in range(kh) for j in range(kw)) + bias
    if residual is not None:
        y = y + np.repeat(residual, N // len(residual), axis=0)
    y = np.where(y > 0, y, slope * y)
    y = y.reshape(N, H, W, block, block, cout // block ** 2).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(N, H * block, W * block, -1)


FUSED = [dict(), dict(slope=0.), dict(slope=.125, share=2), dict(slope=.125, channels=(3, 5, 1), share=1),
         dict(block=2), dict(block=3, slope=.125, cout=18), dict(kernel=(1, 1), share=2), dict(kernel=(5, 3), W=2),
         dict(H=1, W=1), dict(W=40, cout=70), dict(W=25, kernel=(1, 5), channels=(2, 2))]


def fused_case(N=4, H=5, W=13, channels=(6,), cout=8, kernel=(3, 3), share=0, slope=1., block=1):
    rng = np.random.RandomState(0)
    inputs = [rng.randn(N, H, W, C) for C in channels]
    residual = rng.randn(N // share, H, W, cout) if share else None
    return inputs, rng.randn(*kernel, sum(channels), cout), rng.randn(cout), residual, slope, block


def tensors(case, dtype):
    inputs, weight, bias, residual, slope, block = case
    residual = None if residual is None else tf.constant(residual, dtype)
    return ([tf.constant(x, dtype) for x in inputs], tf.constant(weight, dtype), tf.constant(bias, dtype), residual,
            slope, block)


def run_fused(case, dtype):
    inputs, weight, bias, residual, slope, block = tensors(case, dtype)
    return native_ops.conv(inputs, weight, bias, slope, residual, block)


@needs_compiler
@pytest.mark.parametrize('options', FUSED, ids=str)
def test_fused_values(options):
    case = fused_case(**options)
    want = definition(*case)
    for dtype, accuracy in ((tf.float64, 1e-13), (tf.float32, 1e-5)):
        with tf.Graph().as_default(), tf.Session() as session:
            y = run_fused(case, dtype)
            assert y.shape.as_list() == list(want.shape)
            np.testing.assert_allclose(session.run(y), want, rtol=0, atol=accuracy * np.abs(want).max())


@needs_compiler
@pytest.mark.parametrize('options', FUSED, ids=str)
def test_fused_gradients_numerically(options):
    """Of every argument, against differences of the NumPy definition along random directions."""
    case = fused_case(**options)
    rng, step = np.random.RandomState(1), 1e-6
    direction = rng.randn(*definition(*case).shape)
    with tf.Graph().as_default(), tf.Session() as session:
        inputs, weight, bias, residual, slope, block = tensors(case, tf.float64)
        arguments = inputs + [weight, bias] + ([] if residual is None else [residual])
        y = native_ops.conv(inputs, weight, bias, slope, residual, block)
        gradients = session.run(tf.gradients(y, arguments, tf.constant(direction)))
    values = case[0] + list(case[1:3]) + ([] if case[3] is None else [case[3]])
    for which, gradient in enumerate(gradients):
        change, ends = rng.randn(*values[which].shape), []
        for sign in (1, -1):
            moved = list(values)
            moved[which] = values[which] + sign * step * change
            n = len(case[0])
            again = (moved[:n], moved[n], moved[n + 1], moved[n + 2] if len(moved) > n + 2 else None) + case[4:]
            ends.append((definition(*again) * direction).sum())
        want = (ends[0] - ends[1]) / (2 * step)
        assert abs((gradient * change).sum() - want) < 1e-5 * max(1, np.abs(gradient * change).sum())


@needs_compiler
def test_fused_same_result_with_any_number_of_threads():
    results = []
    for threads in (1, 3):
        config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        with tf.Graph().as_default(), tf.Session(config=config) as session:
            results.append(session.run(run_fused(fused_case(N=8, H=20, W=30, slope=.125), tf.float32)))
    assert np.array_equal(*results)


@needs_compiler
def test_fused_unknown_sizes_and_empty_batch():
    inputs, weight, bias, _, slope, block = fused_case(block=2, slope=.125)
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float64, [None, None, None, 6])
        y = native_ops.conv([x], tf.constant(weight), tf.constant(bias), slope, None, block)
        assert y.shape.as_list() == [None, None, None, 2]
        np.testing.assert_allclose(session.run(y, {x: inputs[0]}), definition(inputs, weight, bias, None, slope, block),
                                   rtol=0, atol=1e-12)
        assert session.run(y, {x: inputs[0][:0]}).shape == (0, 10, 26, 2)


@needs_compiler
@pytest.mark.parametrize('shapes, block, text', [
    (([2, 5, 7, 3], [3, 3, 4, 2], [2], None), 1, 'weight takes 4 channels, x has 3'),
    (([2, 5, 7, 3], [2, 3, 3, 2], [2], None), 1, 'kh and kw odd'),
    (([2, 5, 7, 3], [3, 3, 3, 2], [3], None), 1, r'bias has shape \[3\]; it must be \[2\]'),
    (([2, 5, 7, 3], [3, 3, 3, 2], [2], [2, 5, 6, 2]), 1, r'residual has shape \[2,5,6,2\]'),
    (([3, 5, 7, 3], [3, 3, 3, 2], [2], [2, 5, 7, 2]), 1, 'N or a divisor'),
    (([2, 5, 7, 3], [3, 3, 3, 2], [2], None), 2, '2 channels cannot be arranged in blocks of 2x2'),
], ids=str)
def test_fused_refuses_wrong_shapes(shapes, block, text):
    with tf.Graph().as_default(), tf.Session() as session:
        x, weight, bias, residual = (None if shape is None else tf.placeholder_with_default(
            np.zeros(shape, np.float32), None) for shape in shapes)
        with pytest.raises(tf.errors.InvalidArgumentError, match=text):
            session.run(native_ops.conv([x], weight, bias, 1., residual, block))


WINOGRAD = [dict(channels=(16,), cout=16, H=16, W=16, N=1), dict(channels=(19,), cout=37, H=9, W=14, slope=.125),
            dict(channels=(16, 3, 40), cout=72, H=6, W=11, slope=0., share=2), dict(channels=(16,), cout=18, block=3),
            dict(channels=(17,), cout=3, H=8, W=9, share=4), dict(channels=(32,), cout=24, W=60, block=2),
            dict(channels=(16,), cout=16, H=64, W=4, N=1),
            dict(channels=(33,), cout=128, H=17, W=5, block=2, slope=.125, share=1)]


@needs_compiler
@pytest.mark.parametrize('options', WINOGRAD, ids=str)
def test_winograd_values(options):
    """Sizes of all remainders of a tile, vector and panel. Float32 loses at most twice what the direct way loses."""
    case = fused_case(**options)
    want = definition(*case)
    for dtype, accuracy in ((tf.float64, 1e-13), (tf.float32, 1e-5)):
        with tf.Graph().as_default(), tf.Session() as session:
            inputs, weight, bias, residual, slope, block = tensors(case, dtype)
            direct, fast = session.run([native_ops.conv(inputs, weight, bias, slope, residual, block, compute)
                                        for compute in ('exact', 'fast')])
        np.testing.assert_allclose(fast, want, rtol=0, atol=accuracy * np.abs(want).max())
        assert not np.array_equal(direct, fast)   # it went the other way


@needs_compiler
@pytest.mark.parametrize('options', [dict(H=3, W=99), dict(kernel=(1, 3)), dict(kernel=(5, 5)), dict(channels=(15,)),
                                     dict(N=1)], ids=str)
def test_where_winograd_does_not_pay_the_direct_way_is_taken(options):
    case = fused_case(**dict(dict(channels=(16,), cout=16, H=8, W=9), **options))
    with tf.Graph().as_default(), tf.Session() as session:
        inputs, weight, bias, residual, slope, block = tensors(case, tf.float32)
        assert np.array_equal(*session.run([native_ops.conv(inputs, weight, bias, slope, residual, block, compute)
                                            for compute in ('exact', 'fast')]))


NARROW = [dict(cout=3, W=130, H=17, N=1, share=1), dict(cout=1, W=1, H=1), dict(cout=2, W=7, H=15, slope=.125),
          dict(cout=3, W=8, H=33, channels=(64,), slope=0., share=2, N=2), dict(cout=1, W=65, kernel=(1, 1)),
          dict(cout=2, W=9, kernel=(5, 3)), dict(cout=3, W=3, H=2, kernel=(3, 7))]


@needs_compiler
@pytest.mark.parametrize('options', NARROW, ids=str)
def test_values_of_few_output_channels(options):
    """Remainders of blocks, strips and bands, borders wider than the image; more exact than Winograd's way."""
    case = fused_case(**dict(dict(channels=(32,)), **options))
    want = definition(*case)
    for dtype, accuracy in ((tf.float64, 1e-14), (tf.float32, 1e-6)):
        with tf.Graph().as_default(), tf.Session() as session:
            inputs, weight, bias, residual, slope, block = tensors(case, dtype)
            y = native_ops.conv(inputs, weight, bias, slope, residual, block, 'fast')
            np.testing.assert_allclose(session.run(y), want, rtol=0, atol=accuracy * np.abs(want).max())


@needs_compiler
def test_input_gradient_of_few_channels_with_any_number_of_threads():
    rng = np.random.RandomState(0)
    weight, grad = rng.randn(3, 3, 3, 48), rng.randn(2, 35, 70, 48)
    results = []
    for dtype, threads, way in ((tf.float64, 1, 'exact'), (tf.float64, 1, 'fast'), (tf.float32, 1, 'fast'),
                                (tf.float32, 3, 'fast')):
        config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        with tf.Graph().as_default(), tf.Session(config=config) as session:
            d_x = native_ops.conv_input_gradient(tf.constant(weight, dtype), tf.constant(grad, dtype), way)
            results.append(session.run(d_x))
    exact, same, single, threaded = results
    np.testing.assert_allclose(same, exact, rtol=0, atol=1e-14 * np.abs(exact).max())
    np.testing.assert_allclose(single, exact, rtol=0, atol=1e-6 * np.abs(exact).max())
    assert np.array_equal(single, threaded)


@needs_compiler
def test_winograd_same_result_with_any_number_of_threads_and_past_the_caches():
    """The second size is written past the caches: the same pixels all the same."""
    rng = np.random.RandomState(0)
    x, weight = rng.randn(1, 192, 180, 16).astype(np.float32), rng.randn(3, 3, 16, 64).astype(np.float32)
    results = []
    for threads, rows in ((1, 192), (3, 192), (1, 20)):
        config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        with tf.Graph().as_default(), tf.Session(config=config) as session:
            y = native_ops.conv([tf.constant(x[:, :rows])], tf.constant(weight), compute='fast')
            results.append(session.run(y))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0][:, :16], results[2][:, :16])


GRADIENTS = [   # N, H, W, C, C_out: remainders of tiles, blocks of tiles, vectors, panels, and several units of sums
    (1, 64, 64, 16, 16), (2, 65, 66, 19, 37), (1, 4, 1027, 17, 16), (1, 1025, 5, 16, 33), (20, 16, 16, 40, 72),
    (3, 90, 91, 16, 18)]


@needs_compiler
@pytest.mark.parametrize('case', GRADIENTS, ids=str)
def test_gradients_by_winograd(case):
    """Those of input, kernel and bias. Float32 loses at most four times what the direct way loses."""
    N, H, W, C, cout = case
    rng = np.random.RandomState(0)
    values = [rng.randn(N, H, W, C), rng.randn(3, 3, C, cout), rng.randn(cout), rng.randn(N, H, W, cout)]
    results = {}
    for dtype, way in ((tf.float64, 'exact'), (tf.float64, 'fast'), (tf.float32, 'exact'), (tf.float32, 'fast')):
        with tf.Graph().as_default() as graph, tf.Session() as session:
            x, weight, bias, grad = (tf.constant(value, dtype) for value in values)
            y = CompiledOps(way).fused_conv([x], weight, bias)
            results[dtype, way] = session.run(tf.gradients(y, [x, weight, bias], grad))
            assert {op.get_attr('compute') for op in graph.get_operations() if op.type.startswith('EdvrConv')} == {
                way.encode()}
    exact = results[tf.float64, 'exact']
    for part, name in enumerate(('input', 'weight', 'bias')):
        size = np.abs(exact[part]).max()
        errors = [np.abs(results[key][part] - exact[part]).max() / size for key in list(results)[1:]]
        assert errors[0] < 1e-13 and errors[1] < 1e-6 and errors[2] < 4e-6, name
    for part in (0, 1):   # it went the other way
        assert not np.array_equal(results[tf.float32, 'exact'][part], results[tf.float32, 'fast'][part])


@needs_compiler
@pytest.mark.parametrize('case', [(1, 63, 64, 16, 16, 3), (1, 64, 64, 15, 16, 3), (1, 64, 64, 16, 15, 3),
                                  (1, 3, 2048, 16, 16, 3), (1, 64, 64, 16, 16, 5), (1, 64, 64, 16, 16, 1)], ids=str)
def test_where_winograd_does_not_pay_the_gradient_of_the_kernel_is_direct(case):
    N, H, W, C, cout, size = case
    rng = np.random.RandomState(0)
    with tf.Graph().as_default(), tf.Session() as session:
        x, grad = tf.constant(rng.randn(N, H, W, C), tf.float32), tf.constant(rng.randn(N, H, W, cout), tf.float32)
        direct, fast = session.run([native_ops.conv_weight_gradient(x, grad, (size, size), way)
                                    for way in ('exact', 'fast')])
    assert all(np.array_equal(*pair) for pair in zip(direct, fast))


@needs_compiler
def test_gradients_by_winograd_are_the_same_with_any_number_of_threads():
    rng = np.random.RandomState(0)
    x, grad = rng.randn(4, 60, 62, 24).astype(np.float32), rng.randn(4, 60, 62, 32).astype(np.float32)
    results = []
    for threads in (1, 3):
        config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        with tf.Graph().as_default(), tf.Session(config=config) as session:
            gradient = native_ops.conv_weight_gradient(tf.constant(x), tf.constant(grad), (3, 3), 'fast')
            results.append(session.run(gradient))
    assert all(np.array_equal(*pair) for pair in zip(*results))


@needs_compiler
def test_a_deterministic_fast_training_is_the_same_with_more_threads(tmp_path):
    folder = tiny_training.make_set(tmp_path / 'set', windows=2, shards=1, height=48, width=48)
    runs = {}
    # Processes, because all sessions of a process share the threads of the first. With one thread TensorFlow 1.15 adds
    # in another order in its own operations, also with --convolutions=exact.
    for threads in (2, 3):
        runs[threads] = preloaded.Captured(
            'edvr.train', tiny_training.arguments(folder, tmp_path / str(threads), channels=16, patch_size=48, steps=2,
                                                  save_every=2, cosine_periods=(2,), kernels='native',
                                                  convolutions='fast', intra_op_threads=threads),
            env=training_runs.environment())
    for run in runs.values():
        done = run.finish(timeout=240)
        assert done.returncode == 0, done.stderr
    two, three = (training_runs.tensors(tmp_path / str(threads)) for threads in runs)
    assert set(two) == set(three)
    assert not [name for name in two if not np.array_equal(two[name], three[name])]


@needs_compiler
def test_a_values_gradient_that_is_no_number_stays_none():
    x, grad = np.ones((1, 64, 64, 16), np.float32), np.zeros((1, 64, 64, 16), np.float32)
    grad[0, 9, 9, 3] = np.nan
    with tf.Graph().as_default(), tf.Session() as session:
        weight, bias = session.run(native_ops.conv_weight_gradient(tf.constant(x), tf.constant(grad), (3, 3), 'fast'))
    assert np.isnan(weight[:, :, :, 3]).all() and np.isnan(bias[3])
    assert not np.isnan(np.delete(weight, 3, axis=-1)).any()


def computes(graph):
    return [op.get_attr('compute') for op in graph.get_operations() if op.type == 'EdvrConv']


@needs_compiler
def test_convolutions_are_exact_unless_asked_otherwise():
    x, weight = np.ones((1, 8, 8, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
    with tf.Graph().as_default() as graph:
        for ops in (CompiledOps('fast'), CompiledOps()):
            ops.fused_conv([x], weight)
        assert computes(graph) == [b'fast', b'exact']


def rounded(x):
    """To bfloat16, to nearest, ties to even; float32 that holds such values."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    bits = bits + np.uint32(0x7fff) + (bits >> np.uint32(16) & np.uint32(1))
    return (bits & np.uint32(0xffff0000)).view(np.float32)


def winograd_in_bfloat16(x, weight):
    """The 3x3 convolution of x [N, H, W, C], H and W multiples of 4, by F(4x4, 3x3) with rounded factors, in NumPy."""
    points = np.array([2 ** -.5, -2 ** -.5, 2 ** .5, -2 ** .5])
    near, far = .5, 2.   # squares of the points
    scale = np.where(points ** 2 == points[0] ** 2, 2 * near * (near - far), 2 * far * (far - near))[:, None]
    G = np.concatenate([[[1, 0, 0]], np.stack([points ** k for k in range(3)], 1) / scale, [[0, 0, 1]]])
    A = np.concatenate([[[1, 0, 0, 0]], np.stack([points ** k for k in range(4)], 1), [[0, 0, 0, 1]]])
    B = [[1, 0, -2.5, 0, 1, 0]] + [np.poly([0] + [q for q in points if q != p])[::-1].tolist() + [0] for p in points]
    B = np.array(B + [[0, 1, 0, -2.5, 0, 1]])
    N, H, W, _ = x.shape
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], 'constant')
    tiles = np.stack([np.stack([padded[:, i:i + H:4, j:j + W:4] for j in range(6)]) for i in range(6)])
    V = rounded(np.einsum('ai,bj,ijnyxc->abnyxc', B, B, tiles))
    U = rounded(np.einsum('ai,bj,ijco->abco', G, G, weight))
    M = np.einsum('abnyxc,abco->abnyxo', V.astype(np.float64), U)
    return np.einsum('ai,bj,abnyxo->nyixjo', A, A, M).reshape(N, H, W, -1)


def test_emulated_bfloat16_is_a_convolution():
    inputs, weight, bias = fused_case(N=1, H=8, W=12, channels=(17,))[:3]
    want = definition(inputs, weight, 0 * bias, None, 1., 1)
    error = np.abs(winograd_in_bfloat16(inputs[0], weight) - want) / want.std()
    assert 1e-3 < error.mean() < 1e-2 and error.max() < .1


@needs_compiler
@pytest.mark.skipif(not native_library.has_bfloat16(), reason='this CPU lacks AVX512_BF16')
@pytest.mark.parametrize('channels, cout', [(16, 16), (17, 40), (64, 5)])
def test_bfloat16_equals_its_emulation(channels, cout):
    """But for a few factors next to the middle of two bfloat16 values, which float32 puts on the other side."""
    inputs, weight, bias = fused_case(N=1, H=16, W=20, channels=(channels,), cout=cout)[:3]
    x, weight = inputs[0].astype(np.float32), weight.astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        got = session.run(native_ops.conv([tf.constant(x)], tf.constant(weight), compute='bf16'))
    want, exact = winograd_in_bfloat16(x, weight), definition([x], weight, 0 * bias, None, 1., 1)
    assert np.abs(got - want).mean() < 1e-4 * want.std() and np.abs(got - want).max() < 5e-3 * want.std()
    assert np.abs(got - exact).mean() > 1e-3 * want.std()
