"""The batch of a step in slices: the gradients of the whole batch, one slice after the other."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny_training
from facts import raises_facts
from helpers import operations_before
from training_runs import tensors

from data_tools.base.config import ConfigError
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.devices import device_of
from edvr.network import networks
from edvr.ops import native_library
from edvr.training import model_fn
from edvr.training.micro_batches import MicroBatches
from edvr.training.training_run import Run

MODEL = ModelConfig(num_frames=3, channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=1)
RNG = np.random.RandomState(0)
LQ = RNG.randint(0, 256, [4, 3, 8, 8, 3]).astype(np.uint8)
GT = RNG.randint(0, 256, [4, 32, 32, 3]).astype(np.uint8)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, 'edvr', tiny_training.as_network())


def updates(micro_batches, kernels='tf', **training):
    """The watched numbers, the loss of the Estimator and the weights after two updates."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(1)
        tf.train.create_global_step()
        function = model_fn.make_model_fn(MODEL, TrainingConfig(adam_epsilon=1., ema_decay=.9, **training),
                                          device_of(RuntimeConfig(kernels=kernels)), micro_batches=micro_batches)
        spec = function({'lq': tf.constant(LQ)}, tf.constant(GT), tf.estimator.ModeKeys.TRAIN)
        watched, = tf.get_collection(model_fn.WATCHED_KEY)
        session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        for _ in range(2):
            values, loss, _ = session.run([watched, spec.loss, spec.train_op])
        return [values, loss] + session.run(tf.trainable_variables())


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_slices_give_the_update_of_the_whole_batch(tiny, reduction):
    whole = updates(1, loss_reduction=reduction)
    assert whole[1] > 0
    for count in (2, 4):
        assert_same(updates(count, loss_reduction=reduction), whole)


@pytest.mark.skipif(native_library.compiler() is None, reason='no C++ compiler')
def test_the_real_network_with_recomputed_alignment():
    assert_same(updates(2, 'native', recompute_alignment=True), updates(1, 'native'))


def test_a_slice_waits_for_the_gradients_of_the_slices_before():
    """Else all of them would be in memory at once."""
    with tf.Graph().as_default():
        weight, starts, powers = tf.get_variable('w', [], initializer=tf.ones_initializer()), [], []

        def compute(x):
            starts.append(x.op)
            powers.append(tf.square(weight * x, name='power%d' % len(powers)).op)
            return [tf.reduce_sum(powers[-1].outputs[0])]
        batch = MicroBatches(compute, [tf.constant([1., 2., 3.])], 3)
        tf.gradients(batch.loss, [weight])
        for index in (1, 2):
            before = operations_before([starts[index]])
            assert powers[index - 1] in before and any(
                operation.type == 'Mul' and 'power%d_grad' % (index - 1) in operation.name for operation in before)


def test_a_loss_scale_reaches_the_gradients_inside_each_slice():
    """In float16 a gradient of 1e-9 is 0; scaled before it is computed, it is not."""
    with tf.Graph().as_default(), tf.Session() as session:
        weight = tf.get_variable('w', [2], initializer=tf.ones_initializer())

        def compute(x):
            return [1e-9 * tf.cast(tf.reduce_sum(tf.cast(weight, tf.float16) * x), tf.float32)]
        batch = MicroBatches(compute, [tf.constant([[1., 2.], [3., 4.]], tf.float16)], 2)
        scaled, = tf.gradients(batch.loss * 2. ** 20, [weight])
        session.run(tf.global_variables_initializer())
        np.testing.assert_allclose(session.run(scaled / 2. ** 20), [4e-9, 6e-9], rtol=1e-3)
        np.testing.assert_allclose(session.run(batch.sums[0]), 1e-8, rtol=1e-3)


def test_a_variable_without_gradient_stays_without():
    with tf.Graph().as_default():
        used, unused = (tf.get_variable(name, [], initializer=tf.ones_initializer()) for name in ('used', 'unused'))
        batch = MicroBatches(lambda x: [tf.reduce_sum(x * used)], [tf.constant([1., 2.])], 2)
        gradients = tf.gradients(batch.loss, [used, unused])
    assert gradients[0] is not None and gradients[1] is None


def test_two_replicas_and_another_number_of_slices_on_resume(tiny, tmp_path, capfd):
    """MirroredStrategy with 2 slices a replica; the run goes on with 1 and equals one that had 1 from its start."""
    folder = tiny_training.make_set(tmp_path / 'set')

    def train(name, **options):
        run = Run(*tiny_training.configs(folder, tmp_path / name, **dict(
            dict(steps=4, save_every=2, cosine_periods=(4,), cpu_replicas=2, adam_epsilon=1.), **options)))
        assert run.train() == 0
        return tensors(tmp_path / name)

    whole = train('whole')
    train('sliced', steps=2, micro_batches=2)
    capfd.readouterr()
    found = train('sliced')
    assert '--micro_batches=1, was 2' in capfd.readouterr().out
    assert set(found) == set(whole)
    for name in found:
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize('batch_size, count, remedy', [(32, 3, 4), (32, 5, 8), (4, 8, 4), (6, 4, 6)])
def test_slices_that_do_not_divide_the_batch_are_refused(batch_size, count, remedy):
    with raises_facts(ConfigError, 'micro_batches is %d' % count, 'batch_size (%d)' % batch_size, 'use %d' % remedy):
        DataConfig(batch_size=batch_size, micro_batches=count)
