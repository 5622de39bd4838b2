"""The devices: their interface, the options and their effects: sessions, strategies, optimizers."""
import ast
import inspect
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import toy_training
from conftest import ROOT
from facts import check_error, raises_facts
from npu_fixtures import no_job  # noqa: F401 fixture
from test_layout import modules

from data_tools.base.errors import UserError
from edvr.config import ConfigError, RanksConfig, RuntimeConfig
from edvr.config.host import HostConfig
from edvr.devices import DEVICES, device_of
from edvr.devices.base import Device
from edvr.devices.gpu import GpuDevice
from edvr.devices.whole_batch_optimizer import WholeBatchOptimizer
from edvr.ops import native_library
from edvr.ops.ascend import AscendOps
from edvr.ops.compiled import CompiledOps
from edvr.ops.stock import StockOps


@pytest.fixture(autouse=True)
def environment(no_job):  # noqa: F811
    with tf.Graph().as_default():
        yield


# the interface

def public(cls):
    """{name: parameters, None of a value} of the public attributes of a class."""
    found = {name: getattr(cls, name) for name in set(dir(cls)) | set(cls.__annotations__) - {'config'}
             if not name.startswith('_') and hasattr(cls, name)}
    return {name: list(inspect.signature(value).parameters) if callable(value) else None
            for name, value in found.items()}


@pytest.mark.parametrize('name', sorted(DEVICES))
def test_every_device_has_the_whole_interface(name):
    device = device_of(RuntimeConfig(device=name))
    assert type(device) is DEVICES[name] and name == device.NAME   # it could be made: no method is abstract
    assert 'tf' in device.KERNELS and isinstance(device.RANK_VARIABLE, str)
    assert device.VALIDATION_DEVICE in DEVICES
    interface = public(Device)
    offered = public(DEVICES[name])
    assert {key: offered[key] for key in interface} == interface


def compared_devices(tree):
    """Lines of a module that compare a value with the name of a device, or look it up in a dict of such names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            if len({getattr(key, 's', None) for key in node.keys} & set(DEVICES)) > 1:
                yield node.lineno
        elif isinstance(node, ast.Compare):
            sides = [node.left] + node.comparators
            names = {part.s for side in sides for part in ast.walk(side) if getattr(part, 's', None) in DEVICES}
            # 'npu' names kernels too
            kernels = any(getattr(side, 'attr', getattr(side, 'id', '')) in ('kernels', 'impl', 'KERNELS')
                          for side in sides) or any(isinstance(side, ast.Subscript) for side in sides)
            if names and not (names == {'npu'} and kernels):
                yield node.lineno


@pytest.mark.parametrize('module', [name for name in modules() if not name.startswith('edvr.devices.')])
def test_no_other_module_compares_names_of_devices(module):
    with open(os.path.join(ROOT, module.replace('.', os.sep) + '.py')) as file:
        tree = ast.parse(file.read())
    assert list(compared_devices(tree)) == []


def test_comparisons_of_devices_are_found():
    text = "if device == 'npu': pass\nif x in ('cpu', 'gpu'): pass\nf = dict(a=1)\nf = {'cpu': 1, 'gpu': 2}[d]\n"
    assert sorted(compared_devices(ast.parse(text + "if impl == 'npu': pass"))) == [1, 2, 4]


# options

@pytest.mark.parametrize('cls', [RuntimeConfig, RanksConfig, HostConfig])
def test_options_belong_to_devices_that_exist(cls):
    owners = {name for field in cls.__dataclass_fields__.values() for name in field.metadata['devices']}
    assert owners and owners <= set(DEVICES)


@pytest.mark.parametrize('options, facts', [
    (dict(device='tpu'), ['device', "'tpu'", 'cpu, gpu, npu']),
    (dict(kernels='npu'), ['kernels', "'npu'", '--device=cpu', 'auto, native, tf']),
    (dict(device='gpu', kernels='native'), ['kernels', "'native'", '--device=gpu', 'auto, cuda, tf']),
    (dict(mixed_precision=True), ['mixed_precision', True, '--device=gpu']),
    (dict(loss_scale='dynamic'), ['loss_scale', "'dynamic'", '--device=npu', 'gpu']),
    (dict(device='gpu', loss_scale='fixed'), ['loss_scale', "'fixed'", 'float16']),
    (dict(iterations_per_loop=10), ['iterations_per_loop', 10, '--device=npu']),
    (dict(device='npu', cpu_replicas=2), ['cpu_replicas', 2, '--device=cpu']),
    (dict(device='npu', graph_memory_max_size='26G'), ['graph_memory_max_size', "'26G'", 'bytes']),
    (dict(device='npu', precision_mode='fp16'), ['precision_mode', "'fp16'", 'one of']),
    (dict(device='npu', dump_step='1|2'), ['dump_step', "'1|2'", '--dump_path']),
    *[(dict(device='npu', dump_path='x', dump_step=steps), ['dump_step', repr(steps), 100, '0|5|10-20'])
      for steps in ('yyy', '0|2-1', '3-3', '1|', '1||2', '1-2-3', '-1', '1,2', '\u0661',
                    '|'.join(map(str, range(101))))],
    *[(dict(device='npu', modify_mixlist='lists.json', **modes),
       ['modify_mixlist', "'lists.json'", '--%s=%s' % shown, '--precision_mode=allow_mix_precision', 'mixed_float16'])
      for modes, shown in ((dict(), ('precision_mode', 'allow_fp32_to_fp16')),
                           (dict(precision_mode='force_fp16'), ('precision_mode', 'force_fp16')),
                           (dict(precision_mode='allow_mix_precision', precision_mode_v2='origin'),
                            ('precision_mode_v2', 'origin')))],
    (dict(loss_scale_value=0.5), ['loss_scale_value', 0.5, 'at least 1.0'])])
def test_options_that_do_not_fit(options, facts):
    with raises_facts(ConfigError, *facts):
        RuntimeConfig(**options)


def test_options_that_fit():
    RuntimeConfig(device='gpu', mixed_precision=True, loss_scale='dynamic', num_devices=2)
    RuntimeConfig(device='npu', kernels='npu', loss_scale='fixed', iterations_per_loop=10,
                  graph_memory_max_size='26*1024 * 1024', dump_path='x', dump_step='0|5-10')
    RuntimeConfig(device='npu', dump_path='x', dump_step='|'.join(map(str, range(100))))
    for mode in ('allow_mix_precision', 'allow_mix_precision_fp16', 'allow_mix_precision_bf16'):
        RuntimeConfig(device='npu', modify_mixlist='lists.json', precision_mode=mode)
    for mode in ('mixed_float16', 'mixed_bfloat16'):
        RuntimeConfig(device='npu', modify_mixlist='lists.json', precision_mode_v2=mode)


def test_unknown_device_on_the_command_line(run_program):
    done = run_program('edvr.train', '--device=tpu')
    check_error(done, '--device=tpu', '<auto|cpu|gpu|npu>')


def test_sessions():
    proto = device_of(RuntimeConfig(intra_op_threads=3, inter_op_threads=2, cpu_replicas=2)).session_config()
    assert (proto.intra_op_parallelism_threads, proto.inter_op_parallelism_threads) == (3, 2)
    assert proto.device_count == {'CPU': 2, 'GPU': 0} and proto.allow_soft_placement
    proto = device_of(RuntimeConfig(device='gpu', gpu_memory_growth=True)).session_config()
    assert proto.gpu_options.allow_growth and 'GPU' not in proto.device_count
    with pytest.raises(UserError, match='--device=npu needs '):
        device_of(RuntimeConfig(device='npu')).session_config()


def test_graphs_of_compiled_operators_are_not_rewritten_before_they_restore():
    for kernels in device_of(RuntimeConfig()).available_kernels():
        device = device_of(RuntimeConfig(kernels=kernels))
        rewrite = device.restoring_config().graph_options.rewrite_options
        assert rewrite.disable_meta_optimizer == (kernels == 'native'), kernels
        assert not device.session_config().graph_options.rewrite_options.disable_meta_optimizer, kernels


def test_gpus_that_are_there(monkeypatch):
    with pytest.raises(UserError, match='sees no GPU: check nvidia-smi'):
        device_of(RuntimeConfig(device='gpu')).replica_devices()
    monkeypatch.setattr(tf.config.experimental, 'list_physical_devices', lambda kind: ['one', 'two', 'three'])
    assert device_of(RuntimeConfig(device='gpu', num_devices=0)).replica_devices() == ['/gpu:0', '/gpu:1', '/gpu:2']
    assert device_of(RuntimeConfig(device='gpu', num_devices=2)).replica_devices() == ['/gpu:0', '/gpu:1']
    assert device_of(RuntimeConfig(device='gpu', num_devices=2)).num_replicas() == 2
    with raises_facts(UserError, '--num_devices=4', 'TensorFlow', 3):
        device_of(RuntimeConfig(device='gpu', num_devices=4)).replica_devices()
    monkeypatch.setenv('TF_CONFIG', json.dumps(dict(cluster=dict(worker=['a:1', 'b:1']),
                                                    task=dict(type='worker', index=0))))
    assert len(device_of(RuntimeConfig(device='gpu', num_devices=0)).replica_devices()) == 3
    with raises_facts(UserError, 'all that it sees', 'CUDA_VISIBLE_DEVICES'):
        device_of(RuntimeConfig(device='gpu', num_devices=2)).replica_devices()


def test_strategies(monkeypatch):
    assert device_of(RuntimeConfig()).strategy() is None
    assert device_of(RuntimeConfig(cpu_replicas=2)).strategy().num_replicas_in_sync == 2
    monkeypatch.setattr(GpuDevice, 'replica_devices', lambda self: ['/gpu:0'])
    assert device_of(RuntimeConfig(device='gpu')).strategy() is None


def test_loss_factor():
    for replicas in (1, 2):
        device = device_of(RuntimeConfig(cpu_replicas=replicas))
        assert (device.loss_factor('sum'), device.loss_factor('mean')) == (replicas, 1)


def test_one_replica_is_left_alone():
    device, optimizer = device_of(RuntimeConfig()), tf.train.AdamOptimizer()
    assert device.wrap_optimizer(optimizer) is optimizer
    tensor = tf.constant(1.)
    assert device.average([tensor]) == [tensor]
    assert device.training_hooks() == [] and device.is_writer


def test_kernels_of_a_device(monkeypatch):
    def kernels(device, asked='auto'):
        return device_of(RuntimeConfig(device=device, kernels=asked)).kernels
    assert (kernels('npu'), kernels('npu', 'tf'), kernels('gpu')) == ('npu', 'tf', 'tf')
    monkeypatch.setattr(native_library, 'available', lambda: True)
    assert kernels('cpu') == 'native'
    monkeypatch.setattr(native_library, 'available', lambda: False)
    assert (kernels('cpu'), kernels('cpu', 'native')) == ('tf', 'native')


@pytest.mark.parametrize('device, kernels, kind', [
    ('cpu', 'tf', StockOps), ('cpu', 'native', CompiledOps), ('gpu', 'auto', StockOps), ('npu', 'auto', AscendOps),
    ('npu', 'tf', StockOps)])
def test_operations_of_a_device(device, kernels, kind):
    assert type(device_of(RuntimeConfig(device=device, kernels=kernels)).ops()) is kind


def test_optimizer_shows_the_inner_ones_state():
    inner = tf.train.MomentumOptimizer(1., .9)
    wrapped = device_of(RuntimeConfig(cpu_replicas=2)).wrap_optimizer(inner)
    assert isinstance(wrapped, WholeBatchOptimizer) and wrapped.get_name() == 'WholeBatchMomentum'
    variable = tf.get_variable('v', [])
    inner.apply_gradients([(tf.constant(1.), variable)])
    assert wrapped.get_slot_names() == ['momentum'] and wrapped.variables() == inner.variables()
    assert wrapped.get_slot(variable, 'momentum').op.name == 'v/Momentum'


@pytest.fixture
def graph_rewrite(monkeypatch):
    """One GPU, as far as the options know, and no trace of the rewrite afterwards."""
    monkeypatch.setattr(GpuDevice, 'replica_devices', lambda self: ['/gpu:0'])
    yield
    tf.train.experimental.disable_mixed_precision_graph_rewrite()


@pytest.mark.parametrize('kind, scale', [('off', 1), ('fixed', 8)])
def test_mixed_precision_with_a_loss_scale_that_stays(graph_rewrite, kind, scale):
    config = RuntimeConfig(device='gpu', mixed_precision=True, loss_scale=kind, loss_scale_value=8.)
    optimizer = device_of(config).wrap_optimizer(tf.train.GradientDescentOptimizer(1.))
    variable = tf.get_variable('v', initializer=1.)
    (gradient, _), = optimizer.compute_gradients(variable * 3, [variable])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run([gradient, optimizer._loss_scale()]) == [3, scale]


def test_mixed_precision_with_a_dynamic_loss_scale_skips_overflows(graph_rewrite):
    config = RuntimeConfig(device='gpu', mixed_precision=True, loss_scale='dynamic', loss_scale_value=8.)
    optimizer = device_of(config).wrap_optimizer(tf.train.GradientDescentOptimizer(1.))
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
