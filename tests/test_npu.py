"""The Ascend path: the calls of npu_bridge, the errors without it, and whole training runs on its test double."""
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
import zlib

import numpy as np
import preloaded
import pytest
import tensorflow.compat.v1 as tf
import test_deform_conv
import tiny_training
from facts import check_facts, raises_facts
from helpers import TINY, operations_before, session, smooth_frames, tiny_checkpoint
from npu_fixtures import DOUBLE, forget_bridge, needs_adapter, needs_tf1, no_job, npu  # noqa: F401 fixtures
from training_runs import PROGRAM, environment, steps, stop_rank_0_last

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.data.input_pipeline import train_dataset
from edvr.devices import adapter, adapter_options, device_of, startup_checks
from edvr.launch import rank_table
from edvr.network import losses
from edvr.network.edvr import Edvr
from edvr.network.networks import NETWORKS
from edvr.restore.restorer import Restorer
from edvr.training import model_fn, update_guard
from edvr.training.training_run import Run

NPU = RuntimeConfig(device='npu')
ADAPTER = adapter.prefix().split('.')[0]   # the package of this TensorFlow's adapter


def bridge(module):
    return importlib.import_module('%s.%s' % (adapter.prefix(), module))


def check(config):
    """Looks for problems of a training before it starts."""
    startup_checks.check(device_of(config), {}, 'mean')


# without npu_bridge

def test_absent_bridge_is_one_clear_error(no_job, monkeypatch):  # noqa: F811
    for name, value in (('JOB_ID', '1'), ('RANK_SIZE', '1')):
        monkeypatch.setenv(name, value)
    with raises_facts(UserError, '--device=npu', '%s.estimator.npu.npu_config' % adapter.prefix(),
                      "No module named '%s'" % ADAPTER, 'Ascend CANN', 'TensorFlow %s' % tf.__version__,
                      '--device=gpu', '--device=cpu'):
        check(NPU)


@pytest.mark.parametrize('content, text', [
    ("raise ImportError(\"cannot import name 'npu_bridge_handle'\")", "cannot import name 'npu_bridge_handle'"),
    ('import tensorflow; tensorflow.no_such_thing', 'no_such_thing'),
    ('__path__ = []', "No module named 'npu_bridge.estimator'" if ADAPTER == 'npu_bridge' else
     "module 'npu_device' has no attribute 'compat'")])
def test_broken_bridge_names_what_is_missing(no_job, monkeypatch, tmp_path, content, text):  # noqa: F811
    (tmp_path / ADAPTER).mkdir()
    (tmp_path / ADAPTER / '__init__.py').write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError) as raised:
        adapter.require()
    assert text in str(raised.value) and 'which does not load' in str(raised.value)


def test_the_program_explains_itself_without_npu_bridge(run_program):
    done = run_program('edvr.train', '--help=npu')
    assert done.returncode == 0 and '--precision_mode' in done.stdout and '--iterations_per_loop' in done.stdout


@pytest.mark.parametrize('environment, text', [
    (dict(), 'RANK_SIZE is not set'), (dict(RANK_SIZE='2'), 'RANK_ID is not set'),
    (dict(RANK_SIZE='x'), "RANK_SIZE is 'x'"), (dict(RANK_SIZE='2', RANK_ID='2'), 'must be below')])
def test_rank_that_cannot_be(no_job, monkeypatch, environment, text):  # noqa: F811
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=text):
        device_of(NPU).rank_and_size()


def test_rank(no_job, monkeypatch):  # noqa: F811
    monkeypatch.setenv('RANK_SIZE', '1')
    assert device_of(NPU).rank_and_size() == (0, 1)
    monkeypatch.setenv('RANK_SIZE', '8')
    monkeypatch.setenv('RANK_ID', '3')
    assert device_of(NPU).rank_and_size() == (3, 8) and device_of(NPU).num_replicas() == 8
    assert device_of(NPU).loss_factor('sum') == 8 and not device_of(NPU).is_writer


# the adapter's objects

@needs_adapter
def test_run_config_takes_every_option(npu, tmp_path):  # noqa: F811
    lists = tmp_path / 'mix.json'
    profiling = '{"output":"%s","task_trace":"on"}' % tmp_path
    config = NPU.replace(
        iterations_per_loop=5, precision_mode='allow_mix_precision', graph_memory_max_size='26*1024',
        variable_memory_max_size='5*1024', op_compiler_cache_mode='enable', op_compiler_cache_dir=str(tmp_path),
        aoe_mode='2', op_select_implmode='high_precision', enable_exception_dump=1, profiling=profiling,
        modify_mixlist=str(lists), op_precision_mode=str(lists), npu_deterministic=True, hccl_timeout=1800,
        npu_option=('op_debug_level=1', 'external_weight=true', 'stream_sync_timeout=-1',
                    'buffer_optimize=off_optimize', 'topo_sorting_mode=1', 'customize_dtypes=a,b=c'),
        dump_path=str(tmp_path), dump_step='0|5', dump_mode='all')
    made = device_of(config).make_estimator(lambda features, labels, mode: None, str(tmp_path), np.int64(3)).config
    expected = dict(
        iterations_per_loop=5, precision_mode='allow_mix_precision', graph_memory_max_size='26*1024',
        variable_memory_max_size='5*1024', hcom_parallel=True, op_compiler_cache_mode='enable',
        op_compiler_cache_dir=str(tmp_path), aoe_mode='2', op_select_implmode='high_precision',
        enable_exception_dump=1, mix_compile_mode=False, enable_data_pre_proc=True, modify_mixlist=str(lists),
        op_precision_mode=str(lists), deterministic=1, hccl_timeout=1800, op_debug_level=1, external_weight=True,
        stream_sync_timeout=-1, buffer_optimize='off_optimize', topo_sorting_mode=1, customize_dtypes='a,b=c')
    assert {name: made.options[name] for name in expected} == expected
    assert made.options['external_weight'] is True
    assert made.options['profiling_config']._profiling_options == profiling
    dump = made.options['dump_config']
    assert (dump._dump_path, dump._dump_step, dump._dump_mode) == (str(tmp_path), '0|5', 'all')
    assert (made.save_checkpoints_steps, made.save_summary_steps, made.log_step_count_steps, made.tf_random_seed) == (
        0, 0, None, 3)


@needs_adapter
@pytest.mark.parametrize('release', ['2021-02', 'r1.6.0', 'r1.15.0', '9.1.0'])
def test_what_is_not_set_stays_at_the_adapters_default(npu, monkeypatch, tmp_path, release):  # noqa: F811
    monkeypatch.setenv('NPU_DOUBLE_RELEASE', release)
    options = device_of(NPU).make_estimator(lambda features, labels, mode: None, str(tmp_path)).config.options
    from_adapter = adapter_options.defaults_of(adapter._bridge('estimator.npu.npu_config', 'NPURunConfig'))
    assert {name for name in options if options[name] != from_adapter[name]} - {'hcom_parallel'} == {
        'model_dir', 'session_config', 'save_checkpoints_steps', 'log_step_count_steps', 'precision_mode'}


@needs_adapter
@pytest.mark.parametrize('release, changes, texts', [
    ('r1.15.0', dict(auto_tune_mode='RL,GA'), ['--auto_tune_mode=RL,GA', 'at least r1.15.0', 'removed in r1.11.0',
                                               '--aoe_mode']),
    ('2021-02', dict(aoe_mode='1'), ['--aoe_mode=1', 'r1.3.0', 'it came with r1.5.0']),
    ('r1.6.0', dict(precision_mode_v2='mixed_float16', npu_deterministic=True),
     ['--precision_mode_v2=mixed_float16', 'at least r1.5.0', 'came with r1.13.0', '--npu_deterministic',
      'came with r1.12.0']),
    ('r1.6.0', dict(hccl_timeout=60), ['--hccl_timeout=60', 'came with r1.7.0']),
    ('r1.6.0', dict(npu_option=('external_weight=true', 'mstune_mode=1')),
     ['has no external_weight; it came with r1.11.0', 'mstune_mode; it was removed in r1.5.0: use --aoe_mode']),
    ('r1.15.0', dict(npu_option=('oo_level=O3',)), ['has no oo_level; it came with 9']),
    ('r1.15.0', dict(npu_option=('no_such=1',)), ['--npu_option=no_such=1', 'has no no_such']),
    ('r1.15.0', dict(npu_option=('deterministic=1', 'precision_mode=x')), ['use --npu_deterministic',
                                                                           'use --precision_mode']),
    ('r1.15.0', dict(npu_option=('external_weight=7',)), ['external_weight=7: it must be true or false']),
    ('r1.15.0', dict(npu_option=('stream_sync_timeout=soon',)), ['it must be a whole number']),
    ('r1.15.0', dict(npu_option=('session_config=x', 'graph_run_mode=0')), ['an object of the adapter',
                                                                            'the training depends on it']),
    ('r1.15.0', dict(npu_option=('op_debug_level=1', 'op_debug_level=2')), ['is given twice']),
    # what the adapter itself looks at
    ('r1.15.0', dict(npu_option=('is_tailing_optimization=1',)), ['the training depends on it']),
    ('2021-02', dict(npu_option=('enable_small_channel=many',)), ['it must be a whole number'])])
def test_options_that_the_adapter_does_not_have_are_refused(npu, monkeypatch, release, changes, texts):  # noqa: F811
    monkeypatch.setenv('NPU_DOUBLE_RELEASE', release)
    with pytest.raises(UserError) as raised:
        check(NPU.replace(**changes))
    for text in texts:
        assert text in str(raised.value)


@pytest.mark.parametrize('changes, text', [
    (dict(profiling='task_trace'), 'it must be a JSON object'), (dict(profiling='{"task_trace":"on"}'), '"output"'),
    (dict(npu_option=('op_debug_level',)), 'it must be NAME=VALUE'), (dict(precision_mode='fp16'), 'must be one of')])
def test_options_that_no_adapter_has(changes, text):
    with pytest.raises(UserError, match=text):
        NPU.replace(**changes)


@needs_adapter
def test_a_value_that_the_adapter_refuses_is_one_error_before_the_start(npu, monkeypatch):  # noqa: F811
    """Later releases look at more values than the program can know of."""
    config = bridge('estimator.npu.npu_config')
    adapters = config._check

    def stricter(options):
        adapters(options)
        if options['jit_compile'] not in ('auto', 'true', 'false'):
            raise ValueError('jit_compile should be in\n  [auto, true, false]')
    monkeypatch.setattr(config, '_check', stricter)
    with pytest.raises(UserError) as raised:
        check(NPU.replace(npu_option=('jit_compile=fast',)))
    assert str(raised.value).endswith('refuses an option, or a variable of the environment: ValueError: jit_compile '
                                      'should be in [auto, true, false]')
    check(NPU.replace(npu_option=('jit_compile=true',)))


@needs_adapter
@pytest.mark.parametrize('module', ['npu_estimator', 'npu_scope', 'npu_optimizer'])
def test_an_adapter_whose_import_fails_half_way_is_one_line(npu, monkeypatch, module):  # noqa: F811
    """The package and some of its modules load; a library that comes later does not, and says so in several lines."""
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name.endswith('.' + module):
                raise OSError('libge_runner.so: cannot open shared object file:\n  No such file or directory')
    monkeypatch.setattr(sys, 'meta_path', [Broken()] + sys.meta_path)
    with pytest.raises(UserError) as raised:
        check(NPU)
    assert '\n' not in str(raised.value)
    for text in ('estimator.npu.%s, which does not load: OSError: libge_runner.so' % module,
                 'shared object file: No such file', 'source its set_env.sh'):
        assert text in str(raised.value)


def test_an_adapter_of_an_unknown_release_is_refused():
    with pytest.raises(UserError, match='no release that the program knows'):
        list(adapter_options.refusals({'aoe_mode': '--aoe_mode'}, {'model_dir': None}))


@needs_adapter
def test_a_newer_precision_mode_replaces_the_older(npu, tmp_path):  # noqa: F811
    arguments = adapter.run_config_arguments(str(tmp_path), NPU.replace(precision_mode_v2='mixed_float16'), None)
    assert arguments['precision_mode_v2'] == 'mixed_float16' and 'precision_mode' not in arguments


def test_the_prefix_follows_tensorflow():
    assert adapter.prefix() == ('npu_bridge' if tf.__version__.startswith('1.') else 'npu_device.compat.v1')


@needs_adapter
def test_a_plain_session_is_taken_to_the_device(npu):  # noqa: F811
    rewrite = device_of(NPU.replace(precision_mode='force_fp16')).session_config().graph_options.rewrite_options
    optimizer, = rewrite.custom_optimizers
    options = optimizer.parameter_map
    assert optimizer.name == 'NpuOptimizer' and rewrite.remapping == rewrite.OFF
    assert options['use_off_line'].b and options['graph_run_mode'].i == 1
    assert options['precision_mode'].s == b'force_fp16'
    with tf.Graph().as_default(), tf.Session(config=device_of(NPU).session_config()) as session:
        assert session.run(tf.constant(2) + 1) == 3


PLAIN = dict(use_off_line=True, mix_compile_mode=False, graph_run_mode=1, iterations_per_loop=1, job='localhost',
             task_index=0)


def options_of_a_session(monkeypatch, config, release='9.1.0'):
    """{name: value} of a session's options, if the compiled part of the adapter takes them."""
    monkeypatch.syspath_prepend(DOUBLE)
    monkeypatch.setenv('NPU_DOUBLE_RELEASE', release)
    modules = [load_double('npu_attrs'), load_double('estimator.npu.releases')]
    defaults = {name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
                for name, default in modules[1].arguments().items()}
    run_config = type('NPURunConfig', (), dict(__signature__=inspect.Signature(defaults.values())))
    monkeypatch.setattr(adapter, '_bridge', lambda module, name: run_config)   # for every TensorFlow
    optimizer, = device_of(config).session_config().graph_options.rewrite_options.custom_optimizers
    return modules[0].check(optimizer.parameter_map)


def load_double(name):
    """Loads a module of the test double without its package, which needs TensorFlow 1.15."""
    path = os.path.join(DOUBLE, 'npu_bridge', *name.split('.')) + '.py'
    spec = importlib.util.spec_from_file_location('double_' + name.replace('.', '_'), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_options_of_a_run_reach_a_plain_session(monkeypatch, tmp_path):
    lists, profiling = tmp_path / 'lists', '{"output":"%s"}' % tmp_path
    lists.touch()
    given = dict(
        precision_mode='allow_mix_precision', modify_mixlist=str(lists), op_precision_mode=str(lists),
        op_select_implmode='high_precision_for_all', graph_memory_max_size='26*1024', variable_memory_max_size='5*1024',
        op_compiler_cache_mode='enable', op_compiler_cache_dir=str(tmp_path), aoe_mode='2', hccl_timeout=1800,
        enable_exception_dump=1, hcom_parallel=False)
    dump = dict(dump_path=str(tmp_path), dump_step='0|5-9', dump_mode='all')
    config = NPU.replace(
        npu_deterministic=True, profiling=profiling, iterations_per_loop=10, npu_option=(
            'op_debug_level=1', 'external_weight=true', 'customize_dtypes=7', 'stream_sync_timeout=-1'),
        **given, **dump)
    assert options_of_a_session(monkeypatch, config) == dict(
        PLAIN, deterministic=1, profiling_mode=True, profiling_options=profiling, op_debug_level=1,
        external_weight=True, customize_dtypes='7', stream_sync_timeout=-1, enable_dump=True, enable_dump_debug=False,
        **given, **dump)


def test_a_plain_session_has_only_the_options_that_are_given(monkeypatch):
    assert options_of_a_session(monkeypatch, NPU) == dict(PLAIN, precision_mode='allow_fp32_to_fp16')
    found = options_of_a_session(monkeypatch, NPU.replace(precision_mode_v2='origin'))
    assert found == dict(PLAIN, precision_mode_v2='origin')


@pytest.mark.parametrize('release, changes, facts', [
    ('2021-02', dict(npu_option=('enable_reduce_precision=true', 'mstune_mode=1')),
     ['--npu_option=enable_reduce_precision=True', '--npu_option=mstune_mode=1', 'tf.Session', 'leave it out']),
    ('9.1.0', dict(npu_option=('op_debug_level=high',)), ['--npu_option=op_debug_level=high', 'a whole number']),
    ('r1.6.0', dict(hccl_timeout=60), ['--hccl_timeout=60', 'came with r1.7.0']),
    ('9.1.0', dict(dump_path='/no/such/folder'), ['--dump_path=/no/such/folder', 'is not a directory']),
    ('9.1.0', dict(op_precision_mode='/no/such.ini'), ['--op_precision_mode=/no/such.ini', 'is not a file'])])
def test_an_option_that_a_plain_session_cannot_have_is_refused(monkeypatch, release, changes, facts):
    with raises_facts(UserError, *facts):
        options_of_a_session(monkeypatch, NPU.replace(**changes), release)


@needs_adapter
def test_an_estimator_has_the_adapters_options_once(npu, tmp_path):  # noqa: F811
    made = device_of(NPU).make_estimator(lambda features, labels, mode: None, str(tmp_path))
    rewrite = made.config.session_config.graph_options.rewrite_options
    assert [optimizer.name for optimizer in rewrite.custom_optimizers] == ['NpuOptimizer']
    assert rewrite.remapping == rewrite.OFF


@needs_adapter
@pytest.mark.parametrize('size, scale, names', [
    (1, 'off', ['AdamOptimizer']), (2, 'off', ['NPUDistributedOptimizer', 'AdamOptimizer']),
    pytest.param(1, 'fixed', ['NPULossScaleOptimizer', 'AdamOptimizer'], marks=needs_tf1),
    pytest.param(2, 'dynamic', ['NPULossScaleOptimizer', 'NPUDistributedOptimizer', 'AdamOptimizer'],
                 marks=needs_tf1)])
def test_optimizers_are_nested_in_order(npu, monkeypatch, size, scale, names):  # noqa: F811
    monkeypatch.setenv('RANK_SIZE', str(size))
    monkeypatch.setenv('RANK_ID', '0')
    with tf.Graph().as_default():
        tf.get_variable('v', [])
        optimizer = device_of(NPU.replace(loss_scale=scale)).wrap_optimizer(tf.train.AdamOptimizer())
        if scale != 'off':
            assert optimizer._is_distributed is (size > 1)
        found = []
        while optimizer is not None:
            found.append(type(optimizer).__name__)
            optimizer = getattr(optimizer, '_opt', getattr(optimizer, '_optimizer', None))
    assert found == names


@needs_adapter
def test_ranks_from_different_checkpoints_are_refused(npu, monkeypatch):  # noqa: F811
    monkeypatch.setenv('RANK_SIZE', '2')
    monkeypatch.setenv('RANK_ID', '1')
    others = dict(min=5000, max=5000)
    monkeypatch.setattr(bridge('hccl.hccl_ops'), 'transport', lambda key, arrays, reduction: [
        {'min': np.minimum, 'max': np.maximum}[reduction](array, others[reduction]) for array in arrays])
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.create_global_step()
        hook, = device_of(NPU).training_hooks()
        hook.begin()
        session.run(tf.assign(tf.train.get_global_step(), 5000))
        hook.after_create_session(session, None)
        others.update(min=0)
        with raises_facts(UserError, 'this rank', 'step 5000', 'between 0 and 5000'):
            hook.after_create_session(session, None)


@needs_adapter
def test_averages_go_in_one_exchange(npu, monkeypatch):  # noqa: F811
    monkeypatch.setenv('RANK_SIZE', '2')
    monkeypatch.setenv('RANK_ID', '0')
    calls = []
    monkeypatch.setattr(bridge('hccl.hccl_ops'), 'transport', lambda key, arrays, reduction: calls.append(key) or [
        array + 3 * np.arange(len(array), dtype=np.float32) for array in arrays])
    with tf.Graph().as_default(), tf.Session() as session:
        averages = device_of(NPU).average([tf.constant(1.), tf.constant([[2.], [4.]]), tf.constant(6.)])
        scalar, matrix, last = session.run(averages)
    assert len(calls) == 1 and (scalar, last) == (0.5, 7.5) and matrix.tolist() == [[2.5], [5.]]


# the operator

@needs_adapter
def test_deformable_convolution_equals_the_portable_one(npu):  # noqa: F811
    rng = np.random.RandomState(0)
    N, H, W, C, G = 2, 5, 6, 4, 2
    x, weight = rng.randn(N, H, W, C), rng.randn(3, 3, C, 3)
    offset, mask = rng.uniform(-2, 2, (N, H, W, 18 * G)), rng.uniform(0, 1, (N, H, W, 9 * G))
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = [tf.constant(value, tf.float32) for value in (x, offset, mask, weight)]
        results = {}
        for impl in ('npu', 'tf'):
            ops = device_of(NPU.replace(kernels=impl)).ops()
            y = ops.deform_conv2d(*inputs, tf.ones([3]), G)
            again = ops.deform_conv2d(y, inputs[1][..., :18], inputs[2][..., :9], tf.ones([3, 3, 3, 2]), None, 1)
            loss = tf.reduce_sum(tf.sin(again))
            results[impl] = session.run([y, again] + tf.gradients(loss, inputs))
    for ours, portable in zip(results['npu'], results['tf']):
        np.testing.assert_allclose(ours, portable, atol=2e-4)


@needs_adapter
@pytest.mark.parametrize('way', ['split', 'whole'])
@pytest.mark.parametrize('kind', ['borders', 'whole', 'zero'])
def test_derivatives_at_whole_pixels_are_those_of_the_portable_one(npu, monkeypatch, kind, way):  # noqa: F811
    """At 0, size - 1, size and between, on both axes: right-hand derivatives, by which training starts.

    At exactly -1 the offset gradient of the vendor's kernels is 0, that of stock operations is not.
    """
    inputs = test_deform_conv.make_inputs((2, 4, 5, 4, 3, 2, 3), kind)
    cotangent = np.random.RandomState(1).randn(2, 4, 5, 3)
    monkeypatch.setattr(test_deform_conv, 'ops_of',
                        lambda impl: device_of(NPU.replace(kernels=impl, npu_dcn=way)).ops())
    ours, portable = (test_deform_conv.run(inputs, 2, cotangent=cotangent, impl=impl) for impl in ('npu', 'tf'))
    at_minus_1 = points_at_minus_1(inputs[1], 2)
    assert not ours[2][at_minus_1].any() and (kind == 'whole' or np.abs(portable[2][at_minus_1]).max() > .1)
    portable[2] = np.where(at_minus_1, 0, portable[2])
    assert np.abs(portable[2]).max() > .1
    for name, one, other in zip(['y', 'x', 'offset', 'mask', 'weight', 'bias'], ours, portable):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max(), err_msg=name)


def points_at_minus_1(offset, groups):
    """Which elements of `offset` [N, H, W, 2*G*9] belong to a point with a coordinate of exactly -1."""
    N, H, W, _ = offset.shape
    dx, dy = np.split(offset.astype(np.float32).reshape(N, H, W, 2 * groups, 9), 2, axis=3)
    taps = np.arange(3) - 1
    px = dx + np.arange(W)[:, None, None] + np.tile(taps, 3)
    py = dy + np.arange(H)[:, None, None, None] + np.repeat(taps, 3)
    found = np.logical_or(px == -1, py == -1).reshape(N, H, W, groups * 9)
    return np.concatenate([found, found], axis=-1)


@needs_adapter
@pytest.mark.parametrize('way, forward', [('split', 2), ('whole', 1), ('auto', 1)])
def test_calls_of_the_operator(npu, monkeypatch, way, forward):  # noqa: F811
    """A call for each group where that is asked for; the gradient is one call of all groups. 4 channels are too few."""
    with tf.Graph().as_default():
        inputs = [tf.placeholder(tf.float32, [1, 5, 6, channels]) for channels in (4, 36, 18)]
        y = device_of(NPU.replace(npu_dcn=way)).ops().deform_conv2d(*inputs, tf.zeros([3, 3, 4, 3]), None, 2)
        ends = [tensor.op for tensor in [y] + tf.gradients(y, inputs)]
        needed = operations_before(ends).union(ends)
        calls = [op.get_attr('deformable_groups') for op in needed if op.type == 'DeformableOffsets']
        assert calls == [2 // forward] * forward
        assert [op.get_attr('deformable_groups') for op in needed if op.type == 'DeformableOffsetsGrad'] == [2]


@needs_adapter
def test_the_benchmark_runs_on_the_device(npu, run_program):  # noqa: F811
    done = run_program('edvr.benchmark', '--device=npu', '--what=dcn,step,restore', '--npu_dcn=split', '--seconds=0',
                       '--repeats=1', '--channels=8', '--deform_groups=2', '--num_frames=1', '--batch_size=1',
                       '--num_extract_block=1', '--num_reconstruct_block=1', '--patch_size=8', '--frame_size=8x12',
                       '--dcn_size=1x8x8', env=dict(PYTHONPATH=DOUBLE))
    assert done.returncode == 0, done.stderr
    check_facts(done.stdout, 'dcn forward npu', 'dcn training npu', 'step npu', 'restore npu', '2 calls of one group',
                 'on the AI CPU', '20 cores x 8 channels = 160')


@needs_adapter
def test_a_graph_that_stays_on_the_host_is_one_line(npu, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv('NPU_DOUBLE_EMPTY_KERNELS', '1')
    with raises_facts(UserError, 'DeformableOffsets', 'on the host', 'set_env.sh', 'npu-smi'):
        train(tmp_path / 'run')
    with Restorer(tiny_checkpoint(tmp_path), device='npu') as restorer, raises_facts(
            UserError, 'DeformableOffsets', 'set_env.sh'):
        restorer.restore(smooth_frames(3, 12, 24))


def test_a_time_out_of_the_ai_cpu_is_explained():
    text = device_of(NPU).explain(RuntimeError('E30008: AI CPU task timed out'))
    assert all(fact in text for fact in ('E30008', 'AI CPU', '--npu_option=op_execute_timeout', '--shuffle_buffer'))
    assert device_of(NPU).explain(RuntimeError('another')) == ''


@needs_adapter
def test_features_wider_than_the_operator_takes_are_refused(npu):  # noqa: F811
    with tf.Graph().as_default():
        x, offsets = (tf.zeros([1, 1, 1366, channels]) for channels in (2, 27))
        with raises_facts(UserError, 'features', 1366, 1365, '--tile=640'):
            adapter.sample(x, offsets, 3, 1)


@needs_adapter
@pytest.mark.parametrize('offsets, text', [
    ((2, None, None, 54), 'needs static height and width'), ((2, 4, 6, 54), r'must be \[N, H, W, 54\]')])
def test_operator_shapes_are_checked_while_building(npu, offsets, text):  # noqa: F811
    with tf.Graph().as_default(), pytest.raises(ValueError, match=text):
        adapter.sample(tf.zeros([2, 5, 6, 4]), tf.placeholder(tf.float32, offsets), 3, 2)


@needs_adapter
def test_a_restoration_on_the_device_gives_the_cpus_pixels(npu, tmp_path):  # noqa: F811
    """In tiles, as frames that are wider than the operator takes have to be restored."""
    checkpoint, frames = tiny_checkpoint(tmp_path), smooth_frames(3, 12, 24)
    restored = []
    for device in ('npu', 'cpu'):
        with Restorer(checkpoint, tile=16, tile_overlap=4, device=device, kernels='auto') as restorer:
            restored.append(restorer.restore(frames).astype(int))
    assert np.abs(restored[0] - restored[1]).max() <= 1


# training

MODEL = ModelConfig(**dict(TINY, num_frames=1, with_tsa=False))
DATA = DataConfig(input='null', batch_size=2, patch_size=8)
RECIPE = dict(steps=4, save_every=2, log_every=2, summary_every=2, adam_epsilon=1., learning_rate=.01)


def train(directory, runtime=NPU, data=DATA, **recipe):
    code = Run(MODEL, data, TrainingConfig(model_dir=str(directory), **dict(RECIPE, **recipe)), runtime).train()
    assert code == 0
    return weights(directory)


def weights(directory):
    """{name: value} of the latest checkpoint: weights, slots, step."""
    reader = tf.train.load_checkpoint(checkpoints.latest(str(directory)))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def assert_same(one, other, **tolerance):
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], err_msg=name, **tolerance)


@pytest.mark.parametrize('device, size, rank', [('cpu', 1, 0)] + [
    pytest.param('npu', size, rank, marks=needs_adapter) for size, rank in ((1, 0), (2, 0), (2, 1), (8, 7))])
def test_initial_weights_are_the_same_everywhere(npu, monkeypatch, device, size, rank):  # noqa: F811
    """Those of the real network, on every device, rank and TensorFlow, before rank 0 sends its own to the others."""
    monkeypatch.setenv('RANK_SIZE', str(size))
    monkeypatch.setenv('RANK_ID', str(rank))
    with tf.Graph().as_default(), session() as running:
        tf.set_random_seed(10)
        tf.train.create_global_step()
        function = model_fn.make_model_fn(ModelConfig(**TINY), TrainingConfig(), device_of(NPU.replace(device=device)))
        function({'lq': tf.zeros([1, 3, 8, 8, 3], tf.uint8)}, tf.zeros([1, 32, 32, 3], tf.uint8),
                 tf.estimator.ModeKeys.TRAIN)
        variables = sorted(tf.trainable_variables(), key=lambda variable: variable.op.name)
        running.run([variable.initializer for variable in variables])
        values = running.run(variables)
    assert zlib.crc32(b''.join(value.tobytes() for value in values)) == 3787921824


@needs_adapter
def test_one_rank_trains(npu, monkeypatch, tmp_path):  # noqa: F811
    """The real network, with the adapter's operator; the release of the adapter is recorded."""
    monkeypatch.setenv('NPU_DOUBLE_RELEASE', 'r1.15.0')
    found = train(tmp_path)
    begun, = json.loads((tmp_path / 'config.json').read_text())['sessions']
    assert begun['versions']['adapter release, at least'] == 'r1.15.0'
    assert found['global_step'] == 4
    assert {'beta1_power'} < set(found) and not [name for name in found if name.startswith('npu_runconfig')]
    start = tf.train.load_checkpoint(os.path.join(str(tmp_path), 'model.ckpt-0'))
    moved = [name for name in found if not np.array_equal(found[name], start.get_tensor(name))]
    assert len([name for name in moved if name.startswith('edvr/')]) > 20


# with the network of three layers: what follows is about loops, checkpoints, scales and ranks

@pytest.fixture
def tiny(npu, monkeypatch):  # noqa: F811
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    """A directory that training on one device has left."""
    with pytest.MonkeyPatch.context() as patch:
        forget_bridge()
        patch.syspath_prepend(DOUBLE)
        patch.setenv('JOB_ID', 'test')
        patch.setenv('RANK_SIZE', '1')
        patch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
        directory = tmp_path_factory.mktemp('uninterrupted')
        train(directory)
        forget_bridge()
    return directory


@needs_adapter
@pytest.mark.parametrize('micro_batches', [1, 2])
def test_loops_on_the_device_change_nothing_but_the_pace(tiny, tmp_path, uninterrupted, capfd, micro_batches):
    found = train(tmp_path, NPU.replace(iterations_per_loop=2), DATA.replace(micro_batches=micro_batches))
    # slices add the same numbers in another order
    tolerance = dict(rtol=1e-6) if micro_batches == 1 else dict(rtol=1e-4, atol=1e-5)
    assert_same(found, weights(uninterrupted), **tolerance)
    steps = [line.split('Step:')[1].split(',')[0] for line in capfd.readouterr().out.splitlines() if 'Step:' in line]
    assert steps == ['2', '4']


@needs_adapter
def test_a_run_continues_only_with_loops_that_reach_its_last_step(tiny, tmp_path, capfd):
    train(tmp_path, steps=15, save_every=5, log_every=5)
    options = dict(steps=30, save_every=10, log_every=10, summary_every=10, override_config=True)
    with raises_facts(UserError, 'step 15', '--iterations_per_loop=10', '--steps=30', '--iterations_per_loop=1 or 5'):
        train(tmp_path, NPU.replace(iterations_per_loop=10), **options)
    assert checkpoints.step_of(checkpoints.latest(str(tmp_path))) == 15
    train(tmp_path, NPU.replace(iterations_per_loop=5), **options)
    assert 'trained 30 steps: ' in capfd.readouterr().out
    assert train(tmp_path, NPU.replace(iterations_per_loop=4), steps=12, save_every=4, log_every=4, summary_every=4,
                 override_config=True)['global_step'] == 30   # nothing is left to train
    assert 'trained 30 steps: ' in capfd.readouterr().out


@needs_tf1
def test_a_resumed_run_equals_an_uninterrupted_one(tiny, tmp_path, uninterrupted):
    """With a dynamic loss scale, which changes nothing but its own state, and that is resumed too."""
    runtime = NPU.replace(loss_scale='dynamic', loss_scale_value=16., loss_scale_growth_steps=3)
    recipe = dict(cosine_periods=(4,))   # the schedule of the whole run
    first = train(tmp_path, runtime, steps=2, **recipe)
    assert (first['loss_scale'], first['good_steps'], first['global_step']) == (16, 2, 2)
    found = train(tmp_path, runtime, **recipe)
    assert [found.pop(name) for name in ('loss_scale', 'good_steps', 'bad_steps')] == [32, 1, 0]
    assert_same(found, weights(uninterrupted), rtol=1e-5, atol=1e-7)
    scales = {event.step: value.simple_value for path in tmp_path.glob('training/events*')
              for event in tf.train.summary_iterator(str(path)) for value in event.summary.value
              if value.tag == 'watch_update/loss_scale'}
    assert scales and set(scales.values()) <= {16, 32} and scales[max(scales)] == 32


@needs_tf1
@pytest.mark.parametrize('mode', ['saturation', 'inf_nan'])
def test_loss_scale_falls_on_overflow_and_grows_again(tiny, monkeypatch, tmp_path, capfd, mode):
    """In both overflow modes, without a rollback, although each step may be the last that the guard bears."""
    monkeypatch.setenv('NPU_DOUBLE_OVERFLOW', mode)
    runtime = NPU.replace(loss_scale='dynamic', loss_scale_value=1e38, loss_scale_growth_steps=3)
    found = train(tmp_path, runtime, steps=36, save_every=36, log_every=1, bad_steps=1, max_rollbacks=0)
    errors = capfd.readouterr().err
    assert 'the gradients overflow, the loss scale falls' in errors and 'ROLLBACK' not in errors
    skipped = len(re.findall('GUARD: step', errors))
    assert 0 < skipped < 36 and found['global_step'] == 36
    applied = np.log(found['beta2_power']) / np.log(TrainingConfig().beta2) - 1
    assert round(applied) == 36 - skipped > 3
    # each overflow halves, every three good steps in a row double: it fell below its start and grew on the way
    falls = np.log2(np.float32(1e38) / found['loss_scale'])
    assert 0 < round(falls) < skipped


@needs_tf1
@pytest.mark.parametrize('mode', ['saturation', 'inf_nan'])
def test_overflow_at_the_lowest_scale_is_named(tiny, monkeypatch, tmp_path, mode):
    monkeypatch.setenv('NPU_DOUBLE_OVERFLOW', mode)
    real = model_fn.losses.loss
    monkeypatch.setattr(model_fn.losses, 'loss', lambda *args: _infinite_gradient(real(*args)))
    with raises_facts(UserError, 'loss scale', 'cannot fall further', 'Overflow in float16'):
        train(tmp_path, NPU.replace(loss_scale='dynamic', loss_scale_value=2.), bad_steps=2, max_rollbacks=0, steps=8,
              save_every=8)


@needs_adapter
@pytest.mark.parametrize('scale, micro_batches', [('off', 1), ('off', 2), pytest.param('dynamic', 1, marks=needs_tf1)])
def test_what_is_judged_and_shown_keeps_float32(npu, monkeypatch, scale, micro_batches):  # noqa: F811
    """Sums of loss, PSNR, norm and offsets, means over ranks, schedule and gate: float16 ends at 65504."""
    monkeypatch.setenv('RANK_SIZE', '2')
    monkeypatch.setenv('RANK_ID', '0')
    computed, norm = [], model_fn.optimizer.global_norm

    class Remembered(Edvr):
        def restore(self, *args):
            return remembered(super().restore(*args))

    def remembered(outputs):
        measured = [mean.op.inputs[0].op.inputs[0] for mean in outputs.offset_means.values()]   # of Mean and Abs
        computed.extend([outputs.sr] + measured)
        return outputs

    monkeypatch.setitem(NETWORKS, 'edvr', Remembered)
    monkeypatch.setattr(model_fn.optimizer, 'global_norm', lambda pairs, rates: computed.extend(
        gradient for gradient, _ in pairs) or norm(pairs, rates))
    with tf.Graph().as_default():
        tf.train.create_global_step()
        function = model_fn.make_model_fn(MODEL, TrainingConfig(clip_norm=1., ema_decay=.9),
                                          device_of(NPU.replace(loss_scale=scale)), micro_batches=micro_batches)
        features = {'lq': tf.zeros([2, 1, 8, 8, 3], tf.uint8)}
        spec = function(features, tf.zeros([2, 32, 32, 3], tf.uint8), tf.estimator.ModeKeys.TRAIN)
        watched, = tf.get_collection(model_fn.WATCHED_KEY)
        found = operations_between(computed, [watched, spec.loss])
    assert {'Mean', 'Abs', 'Sum', 'L2Loss', 'Sqrt', 'Cos', 'Log', 'RealDiv', 'PyFunc'} <= {op.type for op in found}
    assert [op.name for op in found if '_keep_dtype' not in op.node_def.attr] == []


def operations_between(begin, ends):
    """The operations with float32 results that compute tensors `ends` from tensors `begin`."""
    before = {tensor.op for tensor in begin}
    todo, seen = [tensor.op for tensor in ends], set(before)
    while todo:
        op = todo.pop()
        if op not in seen:
            seen.add(op)
            todo += [value.op for value in op.inputs]
    passed_on = ('Const', 'Identity', 'ReadVariableOp', 'VariableV2', 'VarHandleOp', 'Placeholder')
    return [op for op in seen - before
            if op.type not in passed_on and any(value.dtype == tf.float32 for value in op.outputs)]


@tf.custom_gradient
def _infinite_gradient(x):
    return tf.identity(x), lambda grad: grad * np.inf


@needs_tf1
@pytest.mark.parametrize('mode, micro_batches', [('saturation', 1), ('saturation', 2), ('inf_nan', 1), ('inf_nan', 2)])
def test_an_overflow_on_the_other_rank_lowers_the_scale_here_too(npu, monkeypatch, mode, micro_batches):  # noqa: F811
    """The other rank does what this one does, but for one overflow; then the scale grows again."""
    for name, value in (('NPU_DOUBLE_OVERFLOW', mode), ('RANK_SIZE', '2'), ('RANK_ID', '0')):
        monkeypatch.setenv(name, value)
    combine, overflow = bridge('sockets').combine, []

    def transport(key, arrays, reduction):
        others = [np.array(array) for array in arrays]
        if overflow and mode == 'inf_nan' and len(arrays) > 1:   # the gradients
            others[0][:] = np.inf
        if overflow and arrays[0].shape == ():   # the flag of the device, where values saturate
            others[0] += 1
        return [combine(reduction, pair) for pair in zip(arrays, others)]
    monkeypatch.setattr(bridge('hccl.hccl_ops'), 'transport', transport)
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
    runtime = NPU.replace(loss_scale='dynamic', loss_scale_value=8., loss_scale_growth_steps=2)
    seen, weights = [], []
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.create_global_step()
        frames = tf.constant(90, tf.uint8, [2, tiny_training.FRAMES, 8, 8, 3])
        gt = tf.constant(9, tf.uint8, [2, 32, 32, 3])
        function = model_fn.make_model_fn(MODEL.replace(num_frames=tiny_training.FRAMES), TrainingConfig(),
                                          device_of(runtime), micro_batches=micro_batches)
        spec = function({'lq': frames}, gt, tf.estimator.ModeKeys.TRAIN)
        watched, = tf.get_collection(model_fn.WATCHED_KEY)
        scale, = [variable for variable in tf.global_variables() if variable.op.name == 'loss_scale']
        session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        for happens in (False, True, False, False):
            overflow[:] = [True] * happens
            values = dict(zip(model_fn.WATCHED, session.run([watched, spec.train_op])[0]))
            seen.append((values['faults'], values['streak'], session.run(scale)))
            weights.append(session.run(tf.trainable_variables()))
        assert session.run(tf.train.get_global_step()) == 4
    assert seen == [(0, 0, 8), (update_guard.OVERFLOW, 0, 4), (0, 0, 4), (0, 0, 8)]
    for before, after, later in zip(*weights[:3]):
        np.testing.assert_array_equal(before, after)
        assert (after != later).any()


@needs_adapter
def test_half_precision_of_a_summed_loss_is_refused(npu, tmp_path):  # noqa: F811
    for changes in (dict(precision_mode='force_fp16'), dict(precision_mode_v2='fp16')):
        with raises_facts(UserError, '--loss_reduction=sum', 65504):
            train(tmp_path, NPU.replace(**changes))


@pytest.mark.skipif(tf.__version__.startswith('1.'), reason='for the adapters of TensorFlow 2')
def test_loss_scale_of_tensorflow_2_is_refused(monkeypatch):
    monkeypatch.setattr(adapter, '_bridge', lambda module, name: None)   # for TensorFlow versions without an adapter
    with raises_facts(UserError, '--loss_scale=dynamic', 'TensorFlow 2', 'no loss scaling',
                      '--precision_mode=must_keep_origin_dtype'):
        adapter.require(NPU.replace(loss_scale='dynamic'))


def train_on_two_ranks(folder, options, **variables):
    """Runs the training program as two ranks with {option: value}, logs in folder/logs; returns what rank 0 printed."""
    table = folder / 'table.json'
    table.write_text(rank_table.to_json([rank_table.Rank(rank, rank, '192.168.100.%d' % (rank + 1), '127.0.0.1')
                                         for rank in range(2)]))
    arguments = ['--num_devices=2', '--rank_table=%s' % table, '--logs=%s' % (folder / 'logs')]
    env = environment(NPU_DOUBLE_PATIENCE='120', **variables)
    env['PYTHONPATH'] = os.pathsep.join([DOUBLE, env['PYTHONPATH']])
    del env['RANK_SIZE']   # of one card; the program starts the ranks
    done = preloaded.run(PROGRAM, arguments + ['--%s=%s' % item for item in sorted(options.items())], 300, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_tf1
def test_two_ranks_are_one_with_the_whole_batch_and_rank_0_alone_writes(
        npu, tmp_path, uninterrupted):  # noqa: F811
    """Under a dynamic loss scale in INF/NaN mode, which changes nothing but its own state."""
    recipe = dict(RECIPE, input='null', batch_size=1, patch_size=8, loss_scale='dynamic', loss_scale_value=16,
                  loss_scale_growth_steps=3, **MODEL.to_dict())
    run = tmp_path / 'run'
    train_on_two_ranks(tmp_path, dict(recipe, model_dir=run), NPU_DOUBLE_OVERFLOW='inf_nan')
    found = weights(run)
    assert [found.pop(name) for name in ('loss_scale', 'good_steps', 'bad_steps')] == [32, 1, 0]
    assert_same(found, weights(uninterrupted), rtol=1e-4, atol=1e-6)
    assert len(os.listdir(str(run / 'training'))) == 1
    assert 'saved' in (tmp_path / 'logs' / 'rank_0.log').read_text()
    quiet = (tmp_path / 'logs' / 'rank_1.log').read_text()
    assert 'saved' not in quiet and 'Step:' not in quiet


def stop_two_launchers(folder, stop_timeout, both):
    """`stop_rank_0_last` of two hosts of one card each; the run is in folder/run."""
    hosts = ['127.0.0.1', '127.0.0.2']
    table = folder / 'table.json'
    table.write_text(rank_table.to_json([rank_table.Rank(rank, 0, '192.168.100.%d' % (rank + 1), host)
                                         for rank, host in enumerate(hosts)]))
    options = dict(RECIPE, log_every=1, input='null', batch_size=1, patch_size=8, device='npu', steps=5000,
                   save_every=5000, stop_timeout=stop_timeout, model_dir=folder / 'run', rank_table=table,
                   **MODEL.to_dict())
    env = environment(NPU_DOUBLE_PATIENCE='120', TINY_TRAINING_SLEEP='.05')
    env['PYTHONPATH'] = os.pathsep.join([DOUBLE, env['PYTHONPATH']])
    del env['RANK_SIZE']
    return stop_rank_0_last(folder, [
        ['--this_host=' + host, '--logs=%s' % (folder / host)] + ['--%s=%s' % item for item in sorted(options.items())]
        for host in hosts], [env] * 2, both)


@needs_tf1
def test_a_launcher_that_is_stopped_first_waits_until_rank_0_has_saved(npu, tmp_path):  # noqa: F811
    codes, texts = stop_two_launchers(tmp_path, 60, both=True)
    assert codes == [143, 143], texts
    assert checkpoints.step_of(checkpoints.latest(str(tmp_path / 'run'))) == max(steps(texts[0])) > 4
    check_facts(texts[1], 'stopping: rank 0 saves on its host; waiting for it (60 s at most)')


@needs_tf1
def test_only_a_launcher_without_rank_0_is_stopped(npu, tmp_path):  # noqa: F811
    codes, texts = stop_two_launchers(tmp_path, 1, both=False)
    assert codes == [143], texts
    check_facts(texts[1], 'rank 0 saves on its host; waiting for it (1 s at most)')


@needs_adapter
def test_two_ranks_read_different_records(npu, tmp_path):  # noqa: F811
    """The loss of the first step is that of both ranks' own batches, under the weights that rank 0 began with."""
    data = DataConfig(data_dir=tiny_training.make_set(tmp_path / 'set'), batch_size=2, patch_size=8, deterministic=True)
    model = MODEL.replace(num_frames=tiny_training.FRAMES)
    output = train_on_two_ranks(tmp_path, dict(
        model.to_dict(), data_dir=data.data_dir, batch_size=2, patch_size=8, deterministic=True, steps=1, log_every=1,
        model_dir=tmp_path / 'run'))
    with tf.Graph().as_default(), tf.Session() as session:
        batches = [tf.data.make_one_shot_iterator(train_dataset(data, 3, 4, 2, rank, 2)).get_next() for rank in (0, 1)]
        parts = [losses.loss(tiny_training.network(features['lq'], model).sr, gt) for features, gt in batches]
        tf.train.Saver(tf.trainable_variables()).restore(session, str(tmp_path / 'run' / 'model.ckpt-0'))
        first, second = session.run(parts)
    assert abs(first - second) > 1
    np.testing.assert_allclose(float(re.search('loss:([0-9.]+)', output).group(1)), first + second, rtol=1e-5)
