"""Convolution gradients for CPUs: the same numbers as TensorFlow's own, alone and through the network."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from edvr.config import ModelConfig
from edvr.model import layers, native_ops
from edvr.model.network import edvr

WAYS = ['forward', pytest.param('native', marks=pytest.mark.skipif(
    native_ops.compiler() is None, reason='no C++ compiler'))]


def gradients(way, dtype, N, H, W, C, cout, size):
    rng = np.random.RandomState(0)
    x, weight, grad = rng.randn(N, H, W, C), rng.randn(size, size, C, cout), rng.randn(N, H, W, cout)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        x, weight = tf.constant(x, dtype), tf.constant(weight, dtype)
        with layers.convolution_gradients(way):
            y = layers.convolve(x, weight)
        result = session.run([y] + tf.gradients(y, [x, weight], tf.constant(grad, dtype)))
        return result, {op.type for op in graph.get_operations()}


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('case', [(2, 9, 7, 5, 40, 3), (1, 1, 1, 3, 2, 3), (1, 30, 40, 14, 3, 3), (2, 8, 8, 6, 70, 1),
                                  (1, 3, 300, 2, 3, 5), (40, 2, 2, 1, 1, 3)], ids=str)
def test_equals_stock_gradients(way, case):
    for dtype, accuracy in ((tf.float32, 1e-5), (tf.float64, 1e-13)):
        want, _ = gradients('stock', dtype, *case)
        got, types = gradients(way, dtype, *case)
        for one, other in zip(got, want):
            np.testing.assert_allclose(one, other, rtol=0, atol=accuracy * max(1, np.abs(other).max()))
        assert 'Conv2DBackpropInput' not in types
        assert ('EdvrConvWeightGrad' in types) == (way == 'native')


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('recompute', [False, True])
def test_network_gradients_are_the_same(way, recompute):
    """Every variable's gradient, with offsets that are not zero; what is compared took the way it should."""
    config = ModelConfig(channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=1, num_frames=3)
    lq = np.random.RandomState(1).rand(1, 3, 8, 12, 3).astype(np.float32)
    results = []
    for one in ('stock', way):
        with tf.Graph().as_default() as graph, tf.Session() as session:
            tf.set_random_seed(0)
            with layers.convolution_gradients(one):
                outputs = edvr(tf.constant(lq), config, recompute_alignment=recompute)
            grads = tf.gradients(tf.reduce_sum(tf.square(outputs.sr)), tf.trainable_variables())
            rng = np.random.RandomState(2)
            session.run([variable.assign(.1 * rng.randn(*variable.shape.as_list()))
                         for variable in tf.trainable_variables()])
            results.append(session.run(grads))
            types = {op.type for op in graph.get_operations()}
    assert ('EdvrConvWeightGrad' in types) == (way == 'native')
    for value, want in zip(*reversed(results)):
        np.testing.assert_allclose(value, want, rtol=0, atol=2e-4 * max(1, np.abs(want).max()))


def test_context_returns_to_what_was_before():
    assert layers.gradients_way() == 'stock'
    with pytest.raises(KeyError), layers.convolution_gradients('forward'):
        raise KeyError
    assert layers.gradients_way() == 'stock'


@pytest.mark.skipif(native_ops.compiler() is None, reason='no C++ compiler')
def test_weight_gradient_refuses_wrong_shapes():
    with tf.Graph().as_default(), tf.Session() as session:
        x, grad = (tf.placeholder_with_default(np.zeros(shape, np.float32), None) for shape in
                   ((2, 5, 7, 3), (2, 5, 6, 4)))
        with pytest.raises(tf.errors.InvalidArgumentError, match=r'\[2,5,7,3\].*\[2,5,6,4\]'):
            session.run(native_ops.conv_weight_gradient(x, grad, (3, 3)))
