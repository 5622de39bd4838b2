"""The network, stage by stage and whole, against plain NumPy with random weights; sizes, layouts and limits."""
import zlib

import numpy as np
import numpy_edvr
import pytest
import tensorflow.compat.v1 as tf
from facts import raises_facts
from helpers import session as unoptimized_session

from data_tools.base.errors import UserError
from edvr.config import ConfigError, ModelConfig
from edvr.network import alignment, fusion, losses, networks, reconstruction
from edvr.ops import layers
from edvr.ops.stock import StockOps

TINY = dict(channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=1)
VARIANTS = {
    'plain': {},
    'no_tsa': dict(with_tsa=False),
    'seven_frames': dict(num_frames=7),
    'predeblur': dict(with_predeblur=True),
    'hr_in': dict(hr_in=True),
    'predeblur_hr_in': dict(with_predeblur=True, hr_in=True),
    'x2': dict(scale=2),
    'x3': dict(scale=3),
    'one_group': dict(deform_groups=1),
    'eight_groups': dict(deform_groups=8),
}


OPS = StockOps()


def randomise(session, seed=0):
    """Gives every variable random values, so large that no gate or offset stays where it starts; returns them."""
    random, weights, feed = np.random.RandomState(seed), {}, {}
    variables = tf.trainable_variables()
    for variable in variables:
        shape = variable.shape.as_list()
        fan_in = np.prod(shape[:-1]) if len(shape) > 1 else 4
        value = random.randn(*shape) / np.sqrt(fan_in)
        if 'conv_offset' in variable.op.name:
            value *= 0.7
        feed[variable.initializer.inputs[1]] = value.astype(np.float32)
        weights[variable.op.name[len('edvr/'):]] = value.astype(np.float32).astype(np.float64)
    session.run([variable.initializer for variable in variables], feed)   # one run: each costs
    return weights


def run_stage(build, inputs, config):
    """`build(placeholders)` within edvr/, with static and with unknown sizes: outputs of both, and the reference."""
    results = []
    for dynamic in (False, True):
        with tf.Graph().as_default(), unoptimized_session() as session:
            feeds = [tf.placeholder(tf.float32, [None if dynamic and 1 < axis < value.ndim - 1 else size
                                                 for axis, size in enumerate(value.shape)]) for value in inputs]
            with tf.variable_scope('edvr'):
                outputs = build(*feeds)
            reference = numpy_edvr.Network(randomise(session), config)
            results.append(session.run(outputs, dict(zip(feeds, inputs))))
    return results, reference


def close(results, wanted, tolerance=2e-5):
    for result in results:
        assert result.shape == wanted.shape
        assert np.abs(result - wanted).max() < tolerance * max(1, np.abs(wanted).max())


def check_variables(config, variables):
    shapes = {variable.op.name: tuple(variable.shape.as_list()) for variable in variables}
    assert shapes == networks.variable_shapes(config) and len(shapes) == len(variables)
    assert all(name.startswith('edvr/') for name in shapes)
    assert any(name.startswith('edvr/fusion/') for name in shapes)
    assert sum('conv_offset' in name for name in shapes) == 8


@pytest.mark.parametrize('variant', sorted(VARIANTS))
def test_whole_network(variant):
    config = ModelConfig(**dict(TINY, **VARIANTS[variant]))
    size = (16, 32) if config.hr_in else (8, 12) if variant == 'plain' else (4, 8)
    frames = np.random.RandomState(3).randint(0, 256, (2, config.num_frames) + size + (3,)).astype(np.uint8)
    for shape in [frames.shape] + [[None, config.num_frames, None, None, 3]] * (variant == 'plain'):
        with tf.Graph().as_default(), unoptimized_session() as session:
            lq = tf.placeholder(tf.uint8, shape)
            outputs = networks.build(config).restore(OPS, lq)
            check_variables(config, tf.trainable_variables())
            reference = numpy_edvr.Network(randomise(session), config)
            sr, means = session.run([outputs.sr, outputs.offset_means], {lq: frames})
        assert sr.shape == (2, size[0] * config.upscale, size[1] * config.upscale, 3)
        wanted = [reference.restore(window / 255.0) for window in frames]
        assert np.abs(sr - np.stack([each[0] for each in wanted])).max() < 1e-4
        assert set(means) == {'l3', 'l2', 'l1', 'cas'}
        for name, mean in means.items():
            assert abs(mean - np.mean([each[1][name] for each in wanted])) < 1e-4
            assert mean > 0.05   # the offsets are at work


@pytest.mark.parametrize('hr_in', [False, True])
@pytest.mark.parametrize('predeblur', [False, True])
def test_pyramid(predeblur, hr_in):
    config = ModelConfig(**dict(TINY, with_predeblur=predeblur, hr_in=hr_in))
    frames = np.random.RandomState(0).rand(2, 32, 16, 3)
    with tf.Graph().as_default(), unoptimized_session() as session:
        levels = networks.build(config).extract_features(OPS, tf.constant(frames, tf.float32))
        reference = numpy_edvr.Network(randomise(session), config)
        results = session.run(levels)
    for result, wanted in zip(results, reference.pyramid(frames)):
        close([result], wanted)


def test_alignment():
    config = ModelConfig(num_frames=3, **TINY)
    random = np.random.RandomState(0)
    levels = [random.randn(1, 3, 8 // n, 12 // n, 8) for n in (1, 2, 4)]
    results, reference = run_stage(lambda *x: alignment.align(OPS, x, config)[0], levels, config)
    close(results, reference.align([level[0] for level in levels])[0][None], 1e-4)


@pytest.mark.parametrize('with_tsa', [True, False])
def test_fusion(with_tsa):
    config = ModelConfig(**dict(TINY, with_tsa=with_tsa))
    aligned = np.random.RandomState(0).randn(2, 5, 8, 12, 8)
    results, reference = run_stage(lambda x: fusion.fuse(OPS, x, config), [aligned], config)
    close(results, np.concatenate([reference.fuse(each) for each in aligned]))


@pytest.mark.parametrize('variant', ['plain', 'hr_in', 'x2', 'x3'])
def test_reconstruction(variant):
    config = ModelConfig(**dict(TINY, **VARIANTS[variant]))
    random = np.random.RandomState(0)
    centre = random.rand(2, *((16, 24, 3) if config.hr_in else (4, 6, 3)))
    feature = random.randn(2, 4, 6, 8)

    def reconstruct(x, y):
        return reconstruction.upsample_to_output(OPS, reconstruction.trunk(OPS, x, config), y, config)
    results, reference = run_stage(reconstruct, [feature, centre], config)
    close(results, reference.reconstruct(feature, centre))


def evaluate(build, *values, **options):
    with tf.Graph().as_default(), unoptimized_session() as session:
        return session.run(build(*[tf.constant(value, options.get('dtype', tf.float32)) for value in values]))


@pytest.mark.parametrize('factor', [1, 2, 3, 4])
@pytest.mark.parametrize('size', [(1, 1), (1, 5), (4, 3)])
def test_upsample(factor, size):
    x = np.random.RandomState(0).randn(2, size[0], size[1], 3)
    y = evaluate(lambda x: layers.upsample(x, factor), x, dtype=tf.float64)
    assert np.abs(y - numpy_edvr.bilinear(x, factor)).max() < 1e-12


def test_pools_count_their_border():
    x = np.random.RandomState(0).randn(2, 6, 4, 3) - 3   # negative: a border of zeros would win the maximum
    close([evaluate(layers.max_pool, x)], numpy_edvr.max_pool(x), 1e-6)
    close([evaluate(layers.avg_pool, x)], numpy_edvr.avg_pool(x), 1e-6)
    assert evaluate(layers.avg_pool, np.ones((1, 4, 4, 1)))[0, 0, 0, 0] == pytest.approx(4 / 9)


def test_strided_convolution_pads_both_sides():
    random = np.random.RandomState(0)
    x, weight = random.randn(2, 8, 6, 3), random.randn(3, 3, 3, 4)
    y = evaluate(lambda x, w: layers.convolve(x, w, stride=2), x, weight)
    close([y], numpy_edvr.convolve(x, weight, 0, stride=2), 1e-5)
    impulse = np.zeros((1, 4, 4, 1))
    impulse[0, 0, 0, 0] = 1
    kernel = np.arange(9.0).reshape(3, 3, 1, 1)
    assert evaluate(lambda x, w: layers.convolve(x, w, 2), impulse, kernel)[0, 0, 0, 0] == 4   # the kernel's centre


def test_conventions_are_those_of_torch():
    torch = pytest.importorskip('torch')
    functional = torch.nn.functional
    random = np.random.RandomState(0)
    x, weight = random.randn(2, 8, 6, 3), random.randn(3, 3, 3, 8)

    def channels_first(value):
        return torch.tensor(np.ascontiguousarray(value.transpose(0, 3, 1, 2)))

    def same(ours, theirs):
        assert np.abs(ours - theirs.numpy().transpose(0, 2, 3, 1)).max() < 1e-5

    kernel = torch.tensor(weight.transpose(3, 2, 0, 1).copy())
    for stride in (1, 2):
        same(evaluate(lambda x, w, stride=stride: layers.convolve(x, w, stride), x, weight),
             functional.conv2d(channels_first(x), kernel, stride=stride, padding=1))
    for factor in (2, 3, 4):
        same(evaluate(lambda x, factor=factor: layers.upsample(x, factor), x),
             functional.interpolate(channels_first(x), scale_factor=factor, mode='bilinear', align_corners=False))
    same(evaluate(layers.max_pool, x), functional.max_pool2d(channels_first(x), 3, 2, 1))
    same(evaluate(layers.avg_pool, x), functional.avg_pool2d(channels_first(x), 3, 2, 1))
    same(evaluate(layers.lrelu, x), functional.leaky_relu(channels_first(x), 0.1))


M, L = dict(), dict(channels=128, num_reconstruct_block=40)


PARAMETERS = [
    (M, 3300131), (dict(M, with_tsa=False), 2996259), (dict(M, deform_groups=1), 2863919), (L, 20633827),
    (dict(L, num_frames=7), 20699363), (dict(L, with_tsa=False), 19419875),
    (dict(M, deform_groups=1, with_tsa=False), 2560047),
    # conv_first moves into the predeblur module, which adds 2 convolutions and 8 residual blocks, and a 1x1 follows
    (dict(M, with_predeblur=True), 3300131 + (2 + 2 * 8) * (9 * 64 * 64 + 64) + 64 * 64 + 64),
    (dict(M, with_predeblur=True, hr_in=True), 3300131 + (2 + 2 + 2 * 8) * (9 * 64 * 64 + 64) + 64 * 64 + 64),
    (dict(M, hr_in=True), 3300131 + 2 * (9 * 64 * 64 + 64)),
    (dict(M, scale=2), 3300131 - (9 * 64 + 1) * 256), (dict(M, scale=3), 3300131 - (9 * 64 + 1) * (2 * 256 - 576)),
]


@pytest.mark.parametrize('options, count', PARAMETERS, ids=str)
def test_parameters(options, count):
    """That a graph has these variables is checked with smaller networks, above."""
    shapes = networks.variable_shapes(ModelConfig(**options))
    assert sum(np.prod(shape) for shape in shapes.values()) == count


@pytest.mark.parametrize('size', [(4, 6), (5, 3), (1, 2)])
def test_the_gradient_of_the_maximum_has_the_bits_of_tensorflow(size):
    """Without MirrorPadGrad, which Ascend's AI Core does not have."""
    values = np.random.RandomState(0).randn(2, *size, 3).astype(np.float32)
    with tf.Graph().as_default() as graph, unoptimized_session() as run:
        x = tf.constant(values)
        ours = layers.max_pool(x)
        cotangent = tf.constant(np.random.RandomState(1).randn(*ours.shape.as_list()).astype(np.float32))
        gradient, = tf.gradients(ours, [x], cotangent)
        assert not [op for op in graph.get_operations() if op.type == 'MirrorPadGrad']
        theirs = tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], 'SYMMETRIC'), 3, 2, 'VALID')
        wanted, = tf.gradients(theirs, [x], cotangent)
        for one, other in (run.run([ours, theirs]), run.run([gradient, wanted])):
            np.testing.assert_array_equal(one, other)


def training_graph(num_frames, recompute=False, as_forward=False, channels=8):
    config = ModelConfig(**dict(TINY, channels=channels, num_frames=num_frames))
    lq = tf.placeholder(tf.uint8, [2, num_frames, 8, 8, 3])
    sr = networks.build(config).restore(StockOps(forward_gradients=as_forward), lq, recompute).sr
    gradients = tf.gradients(losses.loss(sr, tf.zeros([2, 32, 32, 3])), tf.trainable_variables())
    return lq, sr, gradients


def test_no_operation_per_frame_and_numbers_only():
    counts = []
    for num_frames in (3, 5):
        with tf.Graph().as_default() as graph:
            training_graph(num_frames)
            operations = graph.get_operations()
            counts.append(len(operations))
            for operation in operations:
                assert all(tensor.dtype.base_dtype != tf.string for tensor in operation.outputs), operation.name
                assert operation.type not in ('PyFunc', 'Print', 'PrintV2')
    assert counts[0] == counts[1]


def test_other_ways_to_the_same_gradients():
    """Recomputing, and the convolution's input gradient as a forward convolution, change nothing but the cost."""
    results = []
    for options in ({}, dict(recompute=True, as_forward=True)):
        with tf.Graph().as_default(), unoptimized_session() as session:
            lq, sr, gradients = training_graph(3, **options)
            assert None not in gradients
            randomise(session)
            feed = {lq: np.random.RandomState(0).randint(0, 256, (2, 3, 8, 8, 3))}
            results.append(session.run([sr] + gradients, feed))
    for plain, other in zip(*results):
        assert np.abs(plain - other).max() <= 1e-4 * max(1e-3, np.abs(plain).max())


def test_recomputing_keeps_nothing_of_the_alignment():
    """The backward pass of a recomputed alignment reads none of the values that the forward pass made inside."""
    with tf.Graph().as_default() as graph:
        training_graph(3, recompute=True)
        operations = graph.get_operations()
        forward = [op for op in operations if '/pcd_align/' in op.name and op.type == 'LeakyRelu'
                   and not op.name.startswith('gradients/')]
        assert forward
        for operation in forward:
            readers = [reader.name for reader in operation.outputs[0].consumers()]
            assert not [name for name in readers if name.startswith('gradients/')], operation.name


@pytest.mark.parametrize('before', [0, 3])
def test_initial_values_follow_from_the_seed_and_the_name(before):
    """Not from the operations built before, nor from the TensorFlow: the checksum is the same everywhere."""
    config = ModelConfig(**dict(TINY, with_tsa=True))
    values = {}
    for seed in (10, 11):
        with tf.Graph().as_default(), unoptimized_session() as session:
            tf.set_random_seed(seed)
            for _ in range(before):
                tf.random.uniform([2])
            networks.build(config).restore(OPS, tf.zeros([1, config.num_frames, 8, 8, 3], tf.uint8))
            session.run(tf.global_variables_initializer())
            variables = tf.global_variables()
            values[seed] = dict(zip([variable.op.name for variable in variables], session.run(variables)))
    first = values[10]['edvr/conv_first/weight']
    drawn = np.random.RandomState([10, zlib.crc32(b'edvr/conv_first/weight')]).uniform(-1, 1, (3, 3, 3, 8)) / 27 ** .5
    np.testing.assert_array_equal(first, drawn.astype(np.float32))
    assert (first != values[11]['edvr/conv_first/weight']).any()
    conv_hr = values[10]['edvr/conv_hr/weight']
    assert (conv_hr.ravel()[:first.size] != first.ravel()).all()
    everything = b''.join(values[10][name].tobytes() for name in sorted(values[10]))
    assert zlib.crc32(everything) == 1149403453


def test_starts_as_the_reference_does():
    with tf.Graph().as_default(), unoptimized_session() as session:
        tf.set_random_seed(1)
        config = ModelConfig(num_extract_block=1, num_reconstruct_block=1)
        networks.build(config).restore(OPS, tf.zeros([1, 5, 8, 8, 3], tf.uint8))
        check_variables(config, tf.trainable_variables())
        session.run(tf.global_variables_initializer())
        values = {variable.op.name: value for variable, value in
                  zip(tf.trainable_variables(), session.run(tf.trainable_variables()))}
    for name, value in values.items():
        if 'conv_offset/' in name:
            assert not value.any(), name
        elif '/conv1/' in name or '/conv2/' in name:   # residual blocks
            assert not value.any() if name.endswith('bias') else \
                abs(value.std() / (0.1 * np.sqrt(2 / (9 * 64))) - 1) < 0.05, name
        elif 'dcn' in name and name.endswith('bias'):
            assert not value.any(), name
        else:
            weight = values[name.rsplit('/', 1)[0] + '/weight']
            limit = 1 / np.sqrt(np.prod(weight.shape[:3]))
            largest = np.abs(value).max()
            assert largest <= limit * (1 + 1e-6), name   # rounding of float32
            # three values, of conv_last's bias, may all be small by chance
            assert value.size < 16 or largest > 0.5 * limit, name


@pytest.mark.parametrize('shape, options, facts', [
    ((1, 5, 18, 16, 3), {}, ['height', 18, 'multiple of 4', 20]),
    ((1, 5, 16, 30, 3), {}, ['width', 30, 'multiple of 4']),
    ((1, 5, 24, 32, 3), dict(hr_in=True), ['height', 24, 'multiple of 16', 'hr_in']),
    ((1, 7, 16, 16, 3), {}, ['7 frames', 'num_frames=5']),
])
def test_sizes_that_do_not_fit(shape, options, facts):
    with tf.Graph().as_default(), raises_facts(UserError, *facts):
        networks.build(ModelConfig(**dict(TINY, **options))).restore(OPS, tf.placeholder(tf.uint8, shape))


@pytest.mark.parametrize('options, facts', [
    (dict(num_frames=4), ['num_frames', 4, 'odd']), (dict(deform_groups=5), ['deform_groups', 5, 'channels', 64]),
    (dict(scale=5), ['scale', 5, '2, 3, 4']),
])
def test_configurations_that_cannot_be(options, facts):
    with raises_facts(ConfigError, *facts):
        ModelConfig(**options)
