"""Backends of networks: each has the whole interface, and the counting one counts what the graphs hold."""
import inspect

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from edvr.config import ModelConfig
from edvr.network import networks
from edvr.ops.ascend import AscendOps
from edvr.ops.base import NamedLayers, Ops
from edvr.ops.compiled import CompiledOps
from edvr.ops.counting import CountingOps
from edvr.ops.cuda_ops import CudaOps
from edvr.ops.onnx import OnnxOps
from edvr.ops.stock import StockOps

BACKENDS = [StockOps, CompiledOps, CudaOps, AscendOps, OnnxOps, CountingOps]
TINY = dict(channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=2, num_frames=3)
VARIANTS = [{}, dict(with_tsa=False), dict(scale=2), dict(hr_in=True), dict(with_predeblur=True)]


@pytest.mark.parametrize('backend', BACKENDS)
def test_each_backend_has_the_whole_interface(backend):
    assert not backend.__abstractmethods__
    for name, function in inspect.getmembers(Ops, inspect.isfunction):
        if not name.startswith('_'):
            wanted, found = (inspect.signature(one).parameters for one in (function, getattr(backend, name)))
            assert list(found) == list(wanted), name
            assert [each.default for each in found.values()] == [each.default for each in wanted.values()], name


def test_every_backend_is_tested():
    def leaves(kind):
        return {kind}.union(*map(leaves, kind.__subclasses__()))
    assert {kind for kind in leaves(Ops) if kind.__module__.startswith('edvr.')} - {Ops, NamedLayers} == set(BACKENDS)


@pytest.mark.parametrize('options', VARIANTS, ids=str)
def test_counted_shapes_and_work_are_those_of_the_graph(options):
    config = ModelConfig(**dict(TINY, **options))
    network, shape, ops = networks.build(config), (2, 3, 32, 48, 3), CountingOps()
    counted = network.restore(ops, shape)
    with tf.Graph().as_default() as graph:
        built = network.restore(StockOps(), tf.placeholder(tf.uint8, shape))
        features = network.extract_features(StockOps(), tf.placeholder(tf.uint8, (1, 32, 48, 3)))
        variables = {variable.op.name: tuple(variable.shape.as_list()) for variable in tf.trainable_variables()}
        work = sum(operation.inputs[1].shape[:3].num_elements() * operation.outputs[0].shape.num_elements()
                   for operation in graph.get_operations() if operation.type == 'Conv2D')
    assert counted.sr == tuple(built.sr.shape.as_list())
    assert networks.feature_shapes(config, 32, 48) == [tuple(level.shape.as_list()) for level in features]
    assert ops.variables == variables
    side = (8, 12) if config.hr_in else (32, 48)
    deformable = 2 * 3 * np.prod(side) * (1 / 16 + 1 / 4 + 1 + 1) * 9 * 8 * 8   # l3, l2, l1 and the cascade
    extraction = networks.extraction_macs(config, 32, 48)
    assert ops.macs == work - extraction + deformable   # the graph has the features of one more frame
    assert networks.macs(config, 32, 48) == ops.macs / 2


def test_one_convolution_counted_by_hand():
    ops = CountingOps()
    with ops.scope('a'):
        assert ops.conv([(2, 5, 7, 3), (2, 5, 7, 1)], 12, 'b', size=5, block=2) == (2, 10, 14, 3)
    assert ops.macs == 2 * 5 * 7 * 12 * 25 * 4
    assert ops.variables == {'a/b/weight': (5, 5, 4, 12), 'a/b/bias': (12,)}
    assert ops.conv((1, 5, 7, 3), 2, 'c', stride=2) == (1, 3, 4, 2)
    assert ops.macs == 2 * 5 * 7 * 12 * 25 * 4 + 3 * 4 * 2 * 27


def test_shapes_of_open_sizes():
    ops, config = CountingOps(), ModelConfig(**TINY)
    sr = networks.build(config).restore(ops, (None, 3, None, 16, 3)).sr
    assert sr == (None, None, 64, 3) and ops.macs is None


@pytest.mark.parametrize('options, reduction', [({}, 1), (dict(hr_in=True), 4)])
def test_features_are_as_large_as_the_frame_or_a_quarter(options, reduction):
    config = ModelConfig(**dict(TINY, **options))
    assert networks.feature_reduction(config) == reduction
    assert networks.feature_shapes(config, 32, 48)[0] == (1, 32 // reduction, 48 // reduction, 8)


def test_frame_stages_give_the_values_of_windows():
    """What runs frame by frame is what a window runs, with terms of the centre frame computed once."""
    config = ModelConfig(**TINY)
    network, ops = networks.build(config), StockOps()
    frames = np.random.RandomState(0).randint(0, 256, (3, 8, 12, 3)).astype(np.uint8)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        wanted = network.restore(ops, tf.constant(frames[None])).sr
        values = [network.extract_features(ops, tf.constant(frame[None])) for frame in frames]
        for stage in network.frame_stages():
            terms = stage.reference_terms(ops, values[1])
            values = [stage.apply(ops, value, terms) for value in values]
        sr = network.upsample_to_output(ops, network.trunk(ops, values), tf.constant(frames[1][None]))
        session.run(tf.global_variables_initializer())
        got, wanted = session.run([sr, wanted])
    np.testing.assert_allclose(got, wanted, atol=1e-5, rtol=0)
