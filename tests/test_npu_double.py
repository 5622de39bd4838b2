"""The test double of npu_bridge behaves as the adapter is documented to, above all where that surprises."""
import importlib
import inspect
import json
import os
import threading

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from facts import raises_facts
from npu_fixtures import needs_tf1, no_job, npu  # noqa: F401 fixtures

pytestmark = [needs_tf1, pytest.mark.usefixtures('npu')]


def bridge(module):
    return importlib.import_module('npu_bridge.' + module)


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


# deformable_conv2d

def deformable(*arguments, **options):
    return bridge('tbe.npu_cube_ops').deformable_conv2d(*arguments, **options)


def operands(N=2, H=4, W=5, C=4, G=2, dtype=np.float32, Ho=None, Wo=None):
    rng = np.random.RandomState(0)
    offsets = rng.uniform(-2, 2, (N, Ho or H, Wo or W, 3, G, 3, 3)).astype(dtype)
    return (rng.randn(N, H, W, C).astype(dtype), rng.randn(3, 3, C, 2).astype(dtype),
            offsets.reshape(offsets.shape[:3] + (-1,)), offsets)


def by_loops(x, weight, parts, stride, pad):
    """Bilinear sampling and weighted sum, one number at a time; parts [N, Ho, Wo, 3 (dx, dy, mask), G, 3, 3]."""
    (N, H, W, C), (_, Ho, Wo, _, G, _, _) = x.shape, parts.shape
    result = np.zeros((N, Ho, Wo, weight.shape[-1]))
    for n, i, j, g, ky, kx in np.ndindex(N, Ho, Wo, G, 3, 3):
        dx, dy, mask = parts[n, i, j, :, g, ky, kx]
        y, x_ = i * stride - pad + ky + dy, j * stride - pad + kx + dx
        channels = slice(g * C // G, (g + 1) * C // G)
        sample = np.zeros(C // G)
        for row in (int(np.floor(y)), int(np.floor(y)) + 1):
            for column in (int(np.floor(x_)), int(np.floor(x_)) + 1):
                if 0 <= row < H and 0 <= column < W:
                    sample += x[n, row, column, channels] * (1 - abs(y - row)) * (1 - abs(x_ - column))
        result[n, i, j] += mask * sample @ weight[ky, kx, channels]
    return result


@pytest.mark.parametrize('stride, size', [(1, (4, 5)), (2, (2, 3))])
def test_deformable_conv2d_values(stride, size):
    x, weight, offsets, parts = operands(Ho=size[0], Wo=size[1])
    y = deformable(tf.constant(x), tf.constant(weight), tf.constant(offsets), [1, stride, stride, 1], (1, 1, 1, 1),
                   deformable_groups=2)
    with tf.Session() as session:
        np.testing.assert_allclose(session.run(y), by_loops(x, weight, parts, stride, 1), atol=1e-5)


def test_deformable_conv2d_nchw():
    x, weight, offsets, parts = operands()
    y = deformable(tf.constant(x.transpose(0, 3, 1, 2)), tf.constant(weight),
                   tf.constant(offsets.transpose(0, 3, 1, 2)), [1, 1, 1, 1], (1, 1, 1, 1), data_format='NCHW',
                   deformable_groups=2)
    with tf.Session() as session:
        np.testing.assert_allclose(session.run(y).transpose(0, 2, 3, 1), by_loops(x, weight, parts, 1, 1), atol=1e-5)


def test_deformable_conv2d_of_early_2021_writes_into_strides(monkeypatch):
    monkeypatch.setenv('NPU_DOUBLE_RELEASE', '2021-02')
    x, weight, offsets, _ = (tf.constant(value) for value in operands())
    strides = [1, 1, 1, 1]
    first = deformable(x, weight, offsets, strides, (1, 1, 1, 1), deformable_groups=2)
    assert strides == [1, 3, 3, 1]
    second = deformable(x, weight, offsets, strides, (1, 1, 1, 1), deformable_groups=2)   # builds all the same
    with tf.Session() as session:
        session.run(first)
        with pytest.raises(tf.errors.InvalidArgumentError, match='wrong shape of offsets'):
            session.run(second)


@pytest.mark.parametrize('changes, error, text', [
    (dict(strides=(1, 1, 1, 1), release='2021-02'), TypeError, 'item assignment'),
    (dict(strides=None), TypeError, 'strides'),
    (dict(strides=1), TypeError, 'strides'),
    (dict(pads=None), TypeError, 'pads'),
    (dict(modulated=False), RuntimeError, 'modulated'),
    (dict(groups=2), RuntimeError, 'groups'),
    (dict(x=np.zeros((2, 4, 5, 4))), TypeError, 'float64'),
    (dict(x=np.zeros((2, 4, 5, 4), np.float16)), TypeError, 'float16'),
    (dict(filter=np.zeros((3, 3, 4, 2), np.float32)), AttributeError, 'get_shape'),
])
def test_deformable_conv2d_refuses(changes, error, text, monkeypatch):
    changes = dict(changes)
    monkeypatch.setenv('NPU_DOUBLE_RELEASE', changes.pop('release', 'r1.15.0'))
    x, weight, offsets, _ = operands()
    arguments = dict(dict(x=x, filter=tf.constant(weight), offsets=offsets, strides=[1, 1, 1, 1], pads=(1, 1, 1, 1),
                          deformable_groups=2), **changes)
    with pytest.raises(error, match=text):
        deformable(**arguments)


def test_deformable_conv2d_needs_static_offsets_but_any_batch():
    x, weight, _, _ = operands()

    def build(*shape):
        return deformable(tf.constant(x), tf.constant(weight), tf.placeholder(tf.float32, shape), [1, 1, 1, 1],
                          (1, 1, 1, 1), deformable_groups=2)
    with raises_facts(ValueError, 'Negative dimension', 3, -3):
        build(2, None, None, 54)
    build(None, 4, 5, 54)
    build(None, 3, 3, 7)   # a wrong size is not seen while building


# NPURunConfig

def run_config(**options):
    return bridge('estimator.npu.npu_config').NPURunConfig(**options)


def test_run_config_defaults():
    config = run_config()
    assert (config.save_checkpoints_steps, config.save_checkpoints_secs, config.save_summary_steps,
            config.log_step_count_steps, config.is_chief) == (100, None, 0, 100, True)
    assert run_config(save_checkpoints_steps=0).save_checkpoints_steps == 0


@pytest.mark.parametrize('options, error', [
    (dict(iterations_per_loop=0), ValueError), (dict(iterations_per_loop='2'), TypeError),
    (dict(iterations_per_loop=2.), TypeError), (dict(iterations_per_loop=np.int64(2)), TypeError),
    (dict(save_checkpoints_steps=1, save_checkpoints_secs=1), ValueError),
    (dict(save_checkpoints_steps=-1), ValueError),
    (dict(log_step_count_steps=0), ValueError), (dict(mix_compile_mode=1), ValueError),
    (dict(mix_compile_mode=True, iterations_per_loop=2), ValueError), (dict(graph_run_mode=2), ValueError),
    (dict(enable_exception_dump=-1), TypeError), (dict(dump_config='x'), ValueError),
    (dict(session_config='x'), ValueError), (dict(model_dir=''), ValueError), (dict(mstune_mode='1'), TypeError),
    (dict(auto_tune_mode='GA'), TypeError),
    (dict(device_fn=None), TypeError), (dict(protocol=None), TypeError)])
def test_run_config_refuses(options, error):
    with pytest.raises(error):
        run_config(**options)


@pytest.mark.parametrize('text', ['', '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'])
def test_run_config_reads_tf_config(monkeypatch, text):
    monkeypatch.setenv('TF_CONFIG', text)
    with pytest.raises(ValueError):
        run_config()


def test_profiling_needs_a_string():
    with pytest.raises(ValueError):
        bridge('estimator.npu.npu_config').ProfilingConfig(enable_profiling=True)
    with pytest.raises(TypeError):
        bridge('estimator.npu.npu_config').ProfilingConfig(True, ['task_trace'])


# NPUEstimator

def estimator(model_fn, config=None, **options):
    return bridge('estimator.npu.npu_estimator').NPUEstimator(model_fn, config=config or run_config(**options))


def line_spec(features, labels, mode, spec=tf.estimator.EstimatorSpec, rate=0.1, **options):
    """w * x fitted to the labels by gradient descent."""
    weight = tf.get_variable('w', [], initializer=tf.ones_initializer())
    loss = tf.reduce_mean(tf.square(weight * features - labels))
    train_op = tf.train.GradientDescentOptimizer(rate).minimize(loss, tf.train.get_global_step())
    return spec(mode, loss=loss, train_op=train_op, **options)


def fit(features, labels, mode):
    return line_spec(features, labels, mode)


def line_data(count=None, batch=1):
    pairs = tf.data.Dataset.from_tensor_slices(([1., 2., 3., 4.], [2., 4., 6., 8.]))
    return pairs.repeat().take(count or -1).batch(batch)


def test_estimator_wants_its_own_config():
    for config in (tf.estimator.RunConfig(), None):
        with pytest.raises(ValueError):
            bridge('estimator.npu.npu_estimator').NPUEstimator(line_spec, config=config)


@pytest.mark.parametrize('release, name, error, text', [
    ('2021-02', 'JOB_ID', AttributeError, 'job_info'), ('r1.15.0', 'JOB_ID', ValueError, 'Load job info failed'),
    ('r1.15.0', 'RANK_SIZE', AttributeError, 'isdigit')])
def test_estimator_needs_a_job(monkeypatch, tmp_path, release, name, error, text):
    monkeypatch.setenv('NPU_DOUBLE_RELEASE', release)
    monkeypatch.delenv(name)
    with pytest.raises(error, match=text):
        estimator(fit, model_dir=str(tmp_path))


def test_two_kinds_of_clusters_at_once_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv('CM_WORKER_SIZE', '2')
    with raises_facts(ValueError, 'RANK_SIZE', 'CM_WORKER_SIZE', 'at the same time'):
        estimator(fit, model_dir=str(tmp_path))


def test_environment_is_read_once(monkeypatch):
    job = bridge('estimator.npu.job')
    assert job.job_info().rank_size == 1
    monkeypatch.setenv('RANK_SIZE', '2')
    assert job.job_info().rank_size == 1


def test_model_fn_gets_what_its_signature_names(tmp_path):
    seen = {}

    def model_fn(features, mode, config):
        seen.update(mode=mode, config=config)
        return line_spec(features, features * 2, mode)
    estimator(model_fn, model_dir=str(tmp_path), save_checkpoints_steps=0).train(line_data, steps=1)   # labels dropped
    assert seen['mode'] == 'train'
    names = seen['config'].session_config.graph_options.rewrite_options
    assert names.custom_optimizers[0].name == 'NpuOptimizer' and 'GradFusionOptimizer' in names.optimizers


def test_a_given_session_config_is_written_into(tmp_path):
    proto = tf.ConfigProto()
    for count in (1, 2):
        estimator(fit, model_dir=str(tmp_path), session_config=proto)
        assert len(proto.graph_options.rewrite_options.custom_optimizers) == count


@pytest.mark.parametrize('options, text', [
    (dict(modify_mixlist='lists.json'), "precision_mode is assigned to 'allow_mix_precision'"),
    (dict(modify_mixlist='lists.json', precision_mode_v2='origin'), "precision_mode_v2 is assigned to 'mixed_float16'"),
    (dict(precision_mode_v2='fp16', precision_mode='force_fp16'), 'at the same time'),
    (dict(dump='yyy'), 'string style is error'), (dict(dump='0|2-1'), 'first step is >= second'),
    (dict(dump='|'.join(map(str, range(101)))), '<= 100 sets'),
    (dict(modify_mixlist='lists.json', precision_mode='allow_mix_precision_fp16', dump='0|5-10'), None)])
def test_options_that_only_the_compiled_part_refuses(tmp_path, options, text):
    """Checks that the estimator is made and that its first session is an error."""
    if 'dump' in options:
        dump = bridge('estimator.npu.npu_config').DumpConfig(True, str(tmp_path), options['dump'])
        options = dict({name: value for name, value in options.items() if name != 'dump'}, dump_config=dump)
    made = estimator(fit, model_dir=str(tmp_path), save_checkpoints_steps=0, **options)
    if text is None:
        made.train(line_data, steps=1)
        return
    with raises_facts(tf.errors.InternalError, text):
        made.train(line_data, steps=1)


def hooks_of(monkeypatch, size, **options):
    """Class names of the hooks in training, in order."""
    spec_class = bridge('estimator.npu.npu_estimator').NPUEstimatorSpec
    own = tf.train.SessionRunHook()

    def model_fn(features, labels, mode):
        return line_spec(features, labels, mode, spec_class, training_hooks=[own],
                         host_call=(lambda loss: loss + 0, [tf.constant(1.)]))
    made = estimator(model_fn, **options)
    monkeypatch.setenv('RANK_SIZE', str(size))
    tf.train.create_global_step()
    spec = made._call_model_fn(tf.constant([1.]), tf.constant([2.]), 'train', made.config)
    return [type(hook).__name__ for hook in spec.training_hooks], spec


def test_hooks_in_order(monkeypatch, tmp_path):
    names, spec = hooks_of(monkeypatch, 2, model_dir=str(tmp_path), iterations_per_loop=2)
    assert names == ['NPUBroadcastGlobalVariablesHook', 'NPUCheckpointSaverHook', 'NPUInfeedOutfeedSessionHook',
                     'NPULogOutfeedSessionHook', 'SetIterationsVarHook', 'SessionRunHook']
    assert spec.train_op.name == 'IterationOp'


def test_hooks_that_are_not_wanted_are_not_there(monkeypatch, tmp_path):
    names, _ = hooks_of(monkeypatch, 1, model_dir=str(tmp_path), save_checkpoints_steps=0)
    assert names == ['NPUInfeedOutfeedSessionHook', 'NPULogOutfeedSessionHook', 'SessionRunHook']


def test_keep_checkpoint_max_is_ignored(tmp_path):
    made = estimator(fit, model_dir=str(tmp_path), save_checkpoints_steps=1, keep_checkpoint_max=2)
    made.train(line_data, steps=9)
    assert sorted(name for name in os.listdir(str(tmp_path)) if name.endswith('.index')) == [
        'model.ckpt-%d.index' % step for step in (5, 6, 7, 8, 9)]


def test_a_run_of_the_session_is_a_loop_of_steps(tmp_path):
    steps = []

    class Watch(tf.train.SessionRunHook):
        def before_run(self, run_context):
            return tf.train.SessionRunArgs(tf.train.get_global_step())

        def after_run(self, run_context, run_values):
            steps.append(run_context.session.run(tf.train.get_global_step(run_context.session.graph)))
    made = estimator(fit, model_dir=str(tmp_path / 'loops'), iterations_per_loop=3, save_checkpoints_steps=0)
    made.train(line_data, [Watch()], max_steps=7)
    assert steps == [3, 6, 9]   # ends at the next multiple
    del steps[:]
    made = estimator(fit, model_dir=str(tmp_path / 'end'), iterations_per_loop=3, save_checkpoints_steps=1)
    made.train(lambda: line_data(5), [Watch()])   # the partial loop has updated the weights
    assert steps == [3] and made.get_variable_value('global_step') == 5


def test_loop_variables_are_not_in_checkpoints(tmp_path):
    made = estimator(fit, model_dir=str(tmp_path), iterations_per_loop=2)
    made.train(line_data, max_steps=2)
    assert set(made.get_variable_names()) == {'w', 'global_step'}


# NPUEstimatorSpec

@pytest.mark.parametrize('host_call, error', [
    (len, ValueError), ((len,), ValueError), ((1, [2.]), TypeError), ((len, tf.int32), ValueError),
    ((lambda a, b=1: a, [1.]), RuntimeError)])
def test_host_call_is_checked(host_call, error):
    with pytest.raises(error):
        bridge('estimator.npu.npu_estimator').NPUEstimatorSpec('train', loss=tf.constant(1.), train_op=tf.no_op(),
                                                               host_call=host_call)


def test_replace_loses_host_call():
    spec_class = bridge('estimator.npu.npu_estimator').NPUEstimatorSpec
    spec = spec_class('train', loss=tf.constant(1.), train_op=tf.no_op(), host_call=(lambda *t: t, [tf.constant(1.)]))
    assert spec._host_call
    changed = spec._replace(loss=tf.constant(2.))
    assert type(changed) is tf.estimator.EstimatorSpec and not hasattr(changed, '_host_call')


def test_host_call_must_depend_on_its_tensors(tmp_path):
    spec_class = bridge('estimator.npu.npu_estimator').NPUEstimatorSpec

    def model_fn(features, labels, mode):
        return line_spec(features, labels, mode, spec_class, host_call=(lambda step: tf.no_op(), [tf.constant(1)]))
    with pytest.raises(RuntimeError, match='does not depend'):
        estimator(model_fn, model_dir=str(tmp_path)).train(line_data, steps=1)


# Optimizers and collectives

def distributed(optimizer):
    return bridge('estimator.npu.npu_optimizer').NPUDistributedOptimizer(optimizer)


def two_ranks(monkeypatch, other):
    """RANK_SIZE 2, the other rank's arrays made from ours by `other`."""
    monkeypatch.setenv('RANK_SIZE', '2')
    sockets, hccl_ops = bridge('sockets'), bridge('hccl.hccl_ops')
    monkeypatch.setattr(hccl_ops, 'transport', lambda key, arrays, reduction: [
        sockets.combine(reduction, [array, other(array)]) for array in arrays])


def test_one_rank_changes_nothing():
    variable = tf.get_variable('v', [2], initializer=tf.ones_initializer())
    optimizer = distributed(tf.train.MomentumOptimizer(1., 0.9))
    (gradient, _), = optimizer.compute_gradients(tf.reduce_sum(variable * 3), [variable])
    optimizer.apply_gradients([(gradient, variable)])
    assert not [operation for operation in tf.get_default_graph().get_operations() if operation.type == 'PyFunc']
    assert optimizer.get_slot_names() == ['momentum'] and optimizer.get_name() == 'DistributedMomentumOptimizer'
    assert optimizer.get_slot(variable, 'momentum').op.name == 'v/Momentum'


def test_two_ranks_get_the_mean(monkeypatch):
    two_ranks(monkeypatch, lambda array: array + 2)
    variable, unused = (tf.get_variable(name, [2], initializer=tf.ones_initializer()) for name in 'vu')
    pairs = distributed(tf.train.GradientDescentOptimizer(1.)).compute_gradients(
        tf.reduce_sum(variable * 3), [variable, unused])
    assert pairs[1][0] is None
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(pairs[0][0]), [4, 4])   # of 3 and 5


def test_two_ranks_without_job_id(monkeypatch):
    two_ranks(monkeypatch, lambda array: array)
    monkeypatch.delenv('JOB_ID')
    variable = tf.get_variable('v', [2])
    with pytest.raises(AttributeError):
        distributed(tf.train.GradientDescentOptimizer(1.)).compute_gradients(tf.reduce_sum(variable), [variable])


def test_rank_size_that_is_no_number(monkeypatch):
    monkeypatch.setenv('RANK_SIZE', 'abc')
    variable = tf.get_variable('v', [2])
    with pytest.raises(ValueError):
        distributed(tf.train.GradientDescentOptimizer(1.)).compute_gradients(tf.reduce_sum(variable), [variable])


@pytest.mark.parametrize('call, error', [
    (lambda ops: ops.allreduce(tf.constant([1.], tf.float64), 'sum'), TypeError),
    (lambda ops: ops.allreduce(tf.constant([1], tf.int64), 'sum'), TypeError),
    (lambda ops: ops.allreduce(tf.constant([1.]), 'mean'), ValueError),
    (lambda ops: ops.allgather(tf.constant(1.), 2), ValueError),
    (lambda ops: ops.allgather(tf.placeholder(tf.float32, [None, 2]), 2), ValueError),
    (lambda ops: ops.broadcast(tf.constant([1.]), 0), TypeError)])
def test_collectives_check_their_arguments(call, error):
    with pytest.raises(error):
        call(bridge('hccl.hccl_ops'))


def test_only_trainable_variables_are_broadcast(monkeypatch):
    monkeypatch.setenv('RANK_SIZE', '2')
    monkeypatch.setattr(bridge('hccl.hccl_ops'), 'transport', lambda key, arrays, reduction: [a + 7 for a in arrays])
    trained = tf.get_variable('trained', initializer=1.)
    state = tf.get_variable('state', initializer=1., trainable=False)
    hook = bridge('estimator.npu.npu_hook').NPUBroadcastGlobalVariablesHook()
    hook.begin()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        hook.after_create_session(session, None)
        assert session.run([trained, state]) == [8, 1]


@pytest.mark.parametrize('mode', ['saturation', 'inf_nan'])
def test_overflow_skips_the_update_and_lowers_the_scale(monkeypatch, mode):
    monkeypatch.setenv('NPU_DOUBLE_OVERFLOW', mode)
    manager = bridge('estimator.npu.npu_loss_scale_manager').ExponentialUpdateLossScaleManager(8., 2, 1, 2, 0.5)
    optimizer = bridge('estimator.npu.npu_loss_scale_optimizer').NPULossScaleOptimizer(
        tf.train.GradientDescentOptimizer(1.), manager)
    factor, step = tf.placeholder(tf.float32, []), tf.train.create_global_step()
    variable = tf.get_variable('v', initializer=1.)
    pairs = optimizer.compute_gradients(variable * factor, [variable])
    train_op = optimizer.apply_gradients(pairs, step)
    hidden = optimizer.apply_gradients([(tf.math.multiply_no_nan(pairs[0][0], 0.), variable)], step)
    assert {v.op.name for v in tf.global_variables()} == {'v', 'global_step', 'loss_scale', 'good_steps', 'bad_steps'}
    fetches = [variable, step, manager._loss_scale]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(pairs[0][0], {factor: 0.25}) == 0.25
        # only INF/NaN mode shows infinities
        assert np.isfinite(session.run(pairs[0][0], {factor: np.inf})) == (mode == 'saturation')
        session.run(train_op, {factor: np.inf})
        assert session.run(fetches) == [1, 0, 4]
        for _ in range(2):
            session.run(train_op, {factor: 0.25})
        assert session.run(fetches) == [0.5, 2, 8]
        # and there, who hides them makes an overflow a good step
        session.run(hidden, {factor: np.inf})
        assert session.run(step) == (3 if mode == 'inf_nan' else 2)
    with pytest.raises(ValueError):
        bridge('estimator.npu.npu_loss_scale_manager').FixedLossScaleManager(0.5)


# the operator as TensorFlow sees it

def test_deformable_offsets_has_the_adapters_attributes_and_defaults():
    x, weight, offsets, _ = (tf.constant(value) for value in operands())
    deformable(x, weight, offsets, [1, 1, 1, 1], (1, 1, 1, 1), deformable_groups=2)
    node, = [node for node in tf.get_default_graph().as_graph_def().node if node.op == 'DeformableOffsets']
    assert set(node.attr) == {'T', 'strides', 'pads', 'ksize', 'dilations', 'data_format', 'deformable_groups',
                              'modulated'}
    operation = tf.get_default_graph().get_operation_by_name(node.name)
    assert operation.get_attr('data_format') == b'NHWC' and operation.get_attr('dilations') == [1, 1, 1, 1]


def test_kernels_of_a_host_are_empty(monkeypatch):
    monkeypatch.setenv('NPU_DOUBLE_EMPTY_KERNELS', '1')
    x, weight, offsets, _ = (tf.constant(value) for value in operands())
    y = deformable(x, weight, offsets, [1, 1, 1, 1], (1, 1, 1, 1), deformable_groups=2)
    with tf.Session() as session, pytest.raises(tf.errors.InternalError, match='Missing 0-th output'):
        session.run(y)


@pytest.mark.parametrize('release, count', [('2021-02', 51), ('r1.6.0', 54), ('r1.15.0', 76), ('9.1.0', 88)])
def test_arguments_by_release(monkeypatch, release, count):
    """The counts are those of the adapter's own signatures."""
    monkeypatch.setenv('NPU_DOUBLE_RELEASE', release)
    assert len(inspect.signature(bridge('estimator.npu.npu_config').NPURunConfig).parameters) == count


@pytest.mark.parametrize('model_fn', [lambda features, labels, mode, extra: None, lambda x, labels, mode: None])
def test_model_fn_is_called_by_keyword_so_other_arguments_are_refused(tmp_path, model_fn):
    with pytest.raises(ValueError, match='not expected args'):
        estimator(model_fn, model_dir=str(tmp_path))


def test_bad_steps_add_up_over_good_ones():
    """As in the adapter: two overflows lower the scale, whatever lies between them."""
    manager = bridge('estimator.npu.npu_loss_scale_manager').ExponentialUpdateLossScaleManager(8., 3, 2, 2, 0.5)
    finite = tf.placeholder(tf.bool, [])
    update = manager.update_loss_scale(finite)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        scales = []
        for value in (False, True, True, False, True, True, True):
            session.run(update, {finite: value})
            scales.append(session.run(manager._loss_scale))
    assert scales == [8, 8, 8, 4, 4, 4, 8]


@pytest.mark.parametrize('name, servers, fact', [
    ('', ['10.0.0.1'], 'not a valid .json file'), ('table', ['10.0.0.1'], 'not a valid .json file'),
    ('hccl.json', ['10.0.0.1', '10.0.0.1'], 'used repeatedly')])
def test_a_rank_table_that_hccl_refuses(npu, tmp_path, monkeypatch, name, servers, fact):  # noqa: F811
    (tmp_path / (name or 'hccl.json')).write_text(json.dumps(dict(
        server_list=[dict(server_id=server, device=[]) for server in servers])))
    monkeypatch.setenv('RANK_SIZE', '2')
    monkeypatch.setenv('RANK_TABLE_FILE', str(tmp_path / name))
    with pytest.raises(RuntimeError, match='EI0004.*' + fact):
        bridge('sockets').exchange('0', [], 'sum')


def test_ranks_that_exchange_in_another_order_fail():
    """Each of two ranks runs the same two collectives; the device would wait for ever."""
    first, second = ((str(place), 1, 'sum') for place in (0, 1))

    def meet(orders):
        hub = bridge('sockets')._Hub(2)
        answers = [None, None]

        def rank(number):
            answers[number] = [hub._meet(key, number, [np.float32(number + 1)], '%s sum of %s' % (key[0], name))
                               for key, name in zip((first, second), orders[number])]
        threads = [threading.Thread(target=rank, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return answers
    assert meet(['ab', 'ab']) == [[[3], [3]]] * 2
    for answers in meet(['ab', 'ba']):
        assert all('the ranks disagree on collective' in answer for answer in answers)


def test_collectives_are_compared_in_the_order_of_the_graph(monkeypatch):
    """So that `sockets` sees one key for the same collective of each rank, and another key for another order."""
    keys = []
    monkeypatch.setenv('RANK_SIZE', '2')
    monkeypatch.setattr(bridge('hccl.hccl_ops'), 'transport', lambda key, arrays, reduction: keys.append(key) or arrays)
    for names in ('vw', 'wv'):
        with tf.Graph().as_default(), tf.Session() as session:
            variables = {name: tf.get_variable(name, [2], initializer=tf.ones_initializer()) for name in 'vw'}
            pairs = distributed(tf.train.GradientDescentOptimizer(1.)).compute_gradients(
                tf.reduce_sum(variables['v'] * 3 + variables['w'] * 2), [variables[name] for name in names])
            session.run(tf.global_variables_initializer())
            session.run([gradient for gradient, _ in pairs])
    assert len(keys) == 2 and keys[0] != keys[1]
