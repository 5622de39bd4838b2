"""The training graph: its reported values, its operations on the device, the origin of its weights."""
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny_training
from facts import raises_facts
from helpers import tiny_checkpoint
from test_optimizer import NAMES

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import ConfigError, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.devices import device_of
from edvr.network import networks
from edvr.ops import deform_conv_stock
from edvr.ops.stock import StockOps
from edvr.training import model_fn, warm_start

RUNTIME = RuntimeConfig(kernels='tf')
TINY = ModelConfig(num_frames=3, channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=1)
RNG = np.random.RandomState(0)
LQ = RNG.randint(0, 256, [2, 3, 8, 8, 3]).astype(np.uint8)
GT = RNG.randint(0, 256, [2, 32, 32, 3]).astype(np.uint8)


def build(mode=tf.estimator.ModeKeys.TRAIN, model=TINY, wait=None, **training):
    tf.train.get_or_create_global_step()
    features = {'lq': tf.constant(LQ)}
    if wait is not None:
        features['data_wait'] = tf.constant(wait)
    function = model_fn.make_model_fn(model, TrainingConfig(**training), device_of(RUNTIME))
    return function(features, tf.constant(GT), mode)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, 'edvr', tiny_training.as_network())
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        yield


def initialise(session):
    session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])


@pytest.mark.parametrize('kind, reduction', [('charbonnier', 'sum'), ('l1', 'mean'), ('l2', 'sum')])
def test_watched_numbers(tiny, kind, reduction):
    spec = build(loss=kind, loss_reduction=reduction, wait=.5, ema_decay=.9)
    sr = build(tf.estimator.ModeKeys.PREDICT).predictions['sr']
    step, watched = (tf.get_collection(key) for key in (model_fn.STEP_KEY, model_fn.WATCHED_KEY))
    with tf.Session() as session:
        initialise(session)
        restored = session.run(sr)
        weights = session.run(tf.trainable_variables())
        number, values, loss, _ = session.run([step[0], watched[0], spec.loss, spec.train_op])
        after = session.run(tf.trainable_variables())
        assert session.run(tf.train.get_global_step()) == number == 1
    values = dict(zip(model_fn.WATCHED, values))
    difference = restored - GT / 255.
    terms = {'charbonnier': np.sqrt(difference ** 2 + 1e-12), 'l1': abs(difference), 'l2': difference ** 2}[kind]
    assert values['loss'] == pytest.approx(terms.sum() if reduction == 'sum' else terms.mean(), rel=1e-5)
    assert loss == values['loss']
    errors = ((np.clip(restored, 0, 1) - GT / 255.) ** 2).mean(axis=(1, 2, 3))
    assert values['psnr'] == pytest.approx(np.mean(-10 * np.log10(errors)), rel=1e-5)
    assert values['learning_rate'] == pytest.approx(4e-4) and values['data_wait'] == .5
    assert values['faults'] == values['streak'] == values['skipped'] == 0
    assert values['gradient_norm'] > 0 and values['offset_l1'] > 0
    # Adam's first step has the length of the learning rate wherever there is a gradient
    moved = np.concatenate([abs(new - old).ravel() for old, new in zip(weights, after)])
    assert moved.max() == pytest.approx(4e-4, rel=1e-3)


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_offset_fidelity_adds_the_excess_over_the_bound(reduction):
    """Its value against NumPy, and a gradient that makes offsets smaller; without it the loss is as before."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(1)
        spec = build(loss_reduction=reduction, offset_fidelity_weight=.5, offset_fidelity_bound=2.)
        plain = build(tf.estimator.ModeKeys.EVAL, loss_reduction=reduction)
        watched = tf.get_collection(model_fn.WATCHED_KEY)
        biases = [variable for variable in tf.trainable_variables() if variable.op.name.endswith('conv_offset/bias')]
        assert len(biases) == 4
        initialise(session)
        zero = session.run([spec.loss, plain.loss])
        assert zero[0] == zero[1]   # offsets are 0 at first
        values = np.random.RandomState(0).uniform(-6, 6, [biases[0].shape[0].value]).astype(np.float32)
        for bias in biases:
            bias.load(values, session)
        offsets = np.abs(values[:len(values) * 2 // 3])
        excess = 4 * np.maximum(offsets - 2, 0).mean()
        with_it, without, seen = session.run([spec.loss, plain.loss, watched[0]])
        scale = GT.size if reduction == 'sum' else 1
        assert with_it - without == pytest.approx(.5 * excess * scale, rel=1e-3)
        np.testing.assert_allclose(seen[-4:], offsets.mean(), rtol=1e-5)
    with raises_facts(ConfigError, 'offset_fidelity_weight', 'recompute_alignment'):
        TrainingConfig(offset_fidelity_weight=1., recompute_alignment=True)


def test_graph_of_the_real_network_is_numeric_and_static(monkeypatch):
    """What an accelerator asks of the training graph: no strings, no Python, no shape left open, no dead variable."""
    # in place of the accelerator's operator; the one of stock operations loops over rows with dynamic shapes
    monkeypatch.setattr(deform_conv_stock, 'deform_conv2d', lambda x, offset, mask, weight, groups: (
        tf.nn.conv2d(x, weight, 1, 'SAME') + tf.reduce_mean(offset) + tf.reduce_mean(mask)))
    with tf.Graph().as_default():
        spec = build(ema_decay=.9, clip_norm=1., tsa_only_steps=5, wait=0.)
        operations = needed([spec.train_op, spec.loss.op])
        assert not {operation.type for operation in operations} & {'PyFunc', 'Print', 'PrintV2', 'Where', 'Unique'}
        assert not [operation.type for operation in operations if 'Summary' in operation.type]
        outputs = [tensor for operation in operations for tensor in operation.outputs]
        assert not [tensor.name for tensor in outputs if tensor.dtype.base_dtype in (tf.string, tf.resource)]
        assert not [tensor.name for tensor in outputs if not tensor.shape.is_fully_defined()]


def needed(operations):
    """All operations that run when these run: set."""
    found, todo = set(), list(operations)
    while todo:
        operation = todo.pop()
        if operation not in found:
            found.add(operation)
            todo += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return found


def test_evaluation_and_prediction(tiny):
    evaluation = build(tf.estimator.ModeKeys.EVAL)
    with tf.Session() as session:
        initialise(session)
        session.run(evaluation.eval_metric_ops['psnr'][1])
        assert session.run(evaluation.eval_metric_ops['psnr'][0]) > 0
    assert evaluation.train_op is None


def begin(model, **training):
    """The network's variables as training begins with them, and their averages."""
    networks.build(model).restore(StockOps(), tf.constant(LQ))
    shadows = model_fn.begin_weights(TrainingConfig(**training))
    return tf.trainable_variables(), shadows


def read(variables):
    with tf.Session() as session:
        initialise(session)
        return session.run(variables)


def test_weights_come_from_another_run(tmp_path, capsys):
    prefix = tiny_checkpoint(tmp_path, ema=True)
    reader = tf.train.NewCheckpointReader(prefix)
    for use_ema in (True, False):
        with tf.Graph().as_default():
            variables, shadows = begin(TINY, init_from=str(tmp_path), init_from_ema=use_ema, ema_decay=.9)
            values = read(variables + shadows)
        for variable, value, average in zip(variables, values, values[len(variables):]):
            stored = reader.get_tensor(variable.op.name + (checkpoints.EMA_SUFFIX if use_ema else ''))
            np.testing.assert_array_equal(value, stored)
            np.testing.assert_array_equal(average, stored)   # averages begin there too
    assert 'initial weights: %s; it has all of them' % prefix in capsys.readouterr().err


def test_stage_two_initialises_only_its_fusion(tmp_path, capsys):
    prefix = tiny_checkpoint(tmp_path, with_tsa=False)
    reader = tf.train.NewCheckpointReader(prefix)
    with tf.Graph().as_default():
        variables, _ = begin(TINY, init_from=prefix)
        missing = warm_start.missing_variables(prefix, variables)
        values = dict(zip([variable.op.name for variable in variables], read(variables)))
    assert missing and all(name.startswith('edvr/fusion/') for name in missing)
    for name in set(values) - set(missing):
        np.testing.assert_array_equal(values[name], reader.get_tensor(name))
    assert 'initialised randomly: ' + ', '.join(missing) in capsys.readouterr().err


def test_names_that_training_goes_by_exist_in_the_network():
    with tf.Graph().as_default():
        networks.build(TINY).restore(StockOps(), tf.constant(LQ))
        names = [variable.op.name for variable in tf.trainable_variables()]
    assert sum('conv_offset' in name for name in names) == 8   # weight and bias of l3, l2, l1 and the cascade
    assert any(name.startswith('edvr/fusion/') for name in names)
    assert all(name.startswith('edvr/') for name in names) and len(NAMES) == 3


@pytest.mark.parametrize('model, text', [
    (TINY.replace(num_extract_block=2), r'lacks 4 variables outside the fusion, such as edvr/feature_extraction/1'),
    (TINY.replace(channels=16), r'has edvr/conv_first/\w+ with shape .* the network wants')])
def test_weights_of_another_network_are_refused(tmp_path, model, text):
    tiny_checkpoint(tmp_path)
    with tf.Graph().as_default(), pytest.raises(UserError, match=text):
        begin(model, init_from=str(tmp_path))
