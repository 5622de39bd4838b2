"""The device options and their effects: sessions, strategies, optimizers."""
import json

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import toy_training
from npu_fixtures import no_job  # noqa: F401 fixture

from data_tools.base.errors import UserError
from edvr.config import ConfigError, RuntimeConfig
from edvr.devices import devices
from edvr.devices.distributed_optimizer import WholeBatchOptimizer


@pytest.fixture(autouse=True)
def environment(no_job):  # noqa: F811
    with tf.Graph().as_default():
        yield


@pytest.mark.parametrize('options, text', [
    (dict(device='tpu'), "device is 'tpu'; it must be one of cpu, gpu, npu"),
    (dict(kernels='npu'), "kernels is 'npu', which runs only on --device=npu; the device is 'cpu'"),
    (dict(device='gpu', kernels='native'), "kernels is 'native', a CPU operator"),
    (dict(mixed_precision=True), 'mixed_precision is for --device=gpu'),
    (dict(loss_scale='dynamic'), "loss_scale is 'dynamic', which serves float16"),
    (dict(device='gpu', loss_scale='fixed'), "loss_scale is 'fixed', which serves float16"),
    (dict(iterations_per_loop=10), 'iterations_per_loop is 10, which only --device=npu can do'),
    (dict(device='npu', cpu_replicas=2), 'cpu_replicas is 2, which is for --device=cpu'),
    (dict(device='npu', graph_memory_max_size='26G'), "graph_memory_max_size is '26G'; it must be bytes"),
    (dict(device='npu', precision_mode='fp16'), "precision_mode is 'fp16'; it must be one of"),
    (dict(device='npu', dump_step='1|2'), "dump_step is '1|2' without --dump_path"),
    (dict(loss_scale_value=0.5), 'loss_scale_value is 0.5; it must be at least 1.0')])
def test_options_that_do_not_fit(options, text):
    with pytest.raises(ConfigError) as raised:
        RuntimeConfig(**options)
    assert text in str(raised.value)


def test_options_that_fit():
    RuntimeConfig(device='gpu', mixed_precision=True, loss_scale='dynamic', num_devices=2)
    RuntimeConfig(device='npu', kernels='npu', loss_scale='fixed', iterations_per_loop=10,
                  graph_memory_max_size='26*1024 * 1024', dump_path='x', dump_step='0|5-10')


def test_unknown_device_on_the_command_line(run_program):
    done = run_program('edvr.train', '--device=tpu')
    assert done.returncode == 1 and 'npu' in done.stderr and '--device=tpu' in done.stderr
    assert 'Traceback' not in done.stderr


def test_sessions():
    proto = devices.session_config(RuntimeConfig(intra_op_threads=3, inter_op_threads=2, cpu_replicas=2))
    assert (proto.intra_op_parallelism_threads, proto.inter_op_parallelism_threads) == (3, 2)
    assert proto.device_count == {'CPU': 2, 'GPU': 0} and proto.allow_soft_placement
    proto = devices.session_config(RuntimeConfig(device='gpu', gpu_memory_growth=True))
    assert proto.gpu_options.allow_growth and 'GPU' not in proto.device_count
    with pytest.raises(UserError, match='--device=npu needs '):
        devices.session_config(RuntimeConfig(device='npu'))


def test_gpus_that_are_there(monkeypatch):
    with pytest.raises(UserError, match='sees no GPU: check nvidia-smi'):
        devices.gpus(RuntimeConfig(device='gpu'))
    monkeypatch.setattr(tf.config.experimental, 'list_physical_devices', lambda kind: ['one', 'two', 'three'])
    assert devices.gpus(RuntimeConfig(device='gpu', num_devices=0)) == ['/gpu:0', '/gpu:1', '/gpu:2']
    assert devices.gpus(RuntimeConfig(device='gpu', num_devices=2)) == ['/gpu:0', '/gpu:1']
    assert devices.num_replicas(RuntimeConfig(device='gpu', num_devices=2)) == 2
    with pytest.raises(UserError, match='--num_devices=4, but TensorFlow sees only 3'):
        devices.gpus(RuntimeConfig(device='gpu', num_devices=4))
    monkeypatch.setenv('TF_CONFIG', json.dumps(dict(cluster=dict(worker=['a:1', 'b:1']),
                                                    task=dict(type='worker', index=0))))
    assert len(devices.gpus(RuntimeConfig(device='gpu', num_devices=0))) == 3
    with pytest.raises(UserError, match='takes all that it sees, so choose them with CUDA_VISIBLE_DEVICES'):
        devices.gpus(RuntimeConfig(device='gpu', num_devices=2))


def test_strategies(monkeypatch):
    assert devices.strategy(RuntimeConfig()) is None
    assert devices.strategy(RuntimeConfig(cpu_replicas=2)).num_replicas_in_sync == 2
    monkeypatch.setattr(devices, 'gpus', lambda config: ['/gpu:0'])
    assert devices.strategy(RuntimeConfig(device='gpu')) is None


def test_loss_factor():
    for replicas in (1, 2):
        config = RuntimeConfig(cpu_replicas=replicas)
        assert (devices.loss_factor('sum', config), devices.loss_factor('mean', config)) == (replicas, 1)


def test_one_replica_is_left_alone():
    config, optimizer = RuntimeConfig(), tf.train.AdamOptimizer()
    assert devices.wrap_optimizer(optimizer, config) is optimizer
    tensor = tf.constant(1.)
    assert devices.average([tensor], config) == [tensor]
    assert devices.training_hooks(config) == [] and devices.is_writer(config)


def test_optimizer_shows_the_inner_ones_state():
    inner = tf.train.MomentumOptimizer(1., .9)
    wrapped = devices.wrap_optimizer(inner, RuntimeConfig(cpu_replicas=2))
    assert isinstance(wrapped, WholeBatchOptimizer) and wrapped.get_name() == 'WholeBatchMomentum'
    variable = tf.get_variable('v', [])
    inner.apply_gradients([(tf.constant(1.), variable)])
    assert wrapped.get_slot_names() == ['momentum'] and wrapped.variables() == inner.variables()
    assert wrapped.get_slot(variable, 'momentum').op.name == 'v/Momentum'


@pytest.fixture
def graph_rewrite(monkeypatch):
    """One GPU, as far as the options know, and no trace of the rewrite afterwards."""
    monkeypatch.setattr(devices, 'gpus', lambda config: ['/gpu:0'])
    yield
    tf.train.experimental.disable_mixed_precision_graph_rewrite()


@pytest.mark.parametrize('kind, scale', [('off', 1), ('fixed', 8)])
def test_mixed_precision_with_a_loss_scale_that_stays(graph_rewrite, kind, scale):
    config = RuntimeConfig(device='gpu', mixed_precision=True, loss_scale=kind, loss_scale_value=8.)
    optimizer = devices.wrap_optimizer(tf.train.GradientDescentOptimizer(1.), config)
    variable = tf.get_variable('v', initializer=1.)
    (gradient, _), = optimizer.compute_gradients(variable * 3, [variable])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run([gradient, optimizer._loss_scale()]) == [3, scale]


def test_mixed_precision_with_a_dynamic_loss_scale_skips_overflows(graph_rewrite):
    config = RuntimeConfig(device='gpu', mixed_precision=True, loss_scale='dynamic', loss_scale_value=8.)
    optimizer = devices.wrap_optimizer(tf.train.GradientDescentOptimizer(1.), config)
    factor, step = tf.placeholder(tf.float32, []), tf.train.create_global_step()
    variable = tf.get_variable('v', initializer=1., use_resource=True)
    pairs = optimizer.compute_gradients(variable * factor, [variable])
    train_op = optimizer.apply_gradients(pairs, step)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(train_op, {factor: np.inf})
        assert session.run([variable, step]) == [1, 0]
        assert session.run(optimizer._loss_scale()) == 4
        session.run(train_op, {factor: .25})
        assert session.run([variable, step]) == [.75, 1]


def test_an_estimator_on_one_replica_learns(tmp_path):
    result = toy_training.train(tmp_path, RuntimeConfig())
    assert result['seen'][-1][0] < result['seen'][0][0]
    assert (result['rank'], result['size'], result['replicas']) == (0, 1, 1)
