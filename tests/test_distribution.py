"""Several replicas on CPUs compute what one computes with the whole batch: losses, clipped gradients, weights."""
import json
import os

import numpy as np
import preloaded
import pytest
import tensorflow.compat.v1 as tf
import toy_training
from conftest import ROOT
from npu_fixtures import DOUBLE, needs_tf1, no_job  # noqa: F401 fixture

from edvr.config import RanksConfig, RuntimeConfig
from edvr.devices import device_of
from edvr.devices.gpu import GpuDevice
from edvr.launch import rank_table

PROGRAM = os.path.join(ROOT, 'tests', 'toy_training.py')


@pytest.fixture(autouse=True)
def environment(no_job):  # noqa: F811
    pass


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
    """{reduction: what one replica does with the whole batch}."""
    return {reduction: toy_training.train(tmp_path_factory.mktemp(reduction), RuntimeConfig(), reduction)
            for reduction in ('sum', 'mean')}


def assert_same(result, expected):
    np.testing.assert_allclose(result['seen'], expected['seen'], rtol=1e-4)
    np.testing.assert_allclose(result['weights'][:4], expected['weights'][:4], rtol=1e-5)


def test_the_toy_is_worth_it(alone):
    """Clipping acts in the sum, not in the mean; the weights move."""
    norms = {reduction: np.array(result['seen'])[:, 1, 0] for reduction, result in alone.items()}
    assert (norms['sum'] > toy_training.CLIP).any() and (norms['mean'] < toy_training.CLIP).all()
    first = {reduction: result['seen'][0][0][0] for reduction, result in alone.items()}
    np.testing.assert_allclose(first['sum'] / first['mean'], toy_training.WHOLE_BATCH, rtol=1e-5)
    assert np.abs(np.array(alone['sum']['weights'][:4]) - 1).min() > 0.01


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_two_replicas_in_one_process(alone, tmp_path, reduction):
    result = toy_training.train(tmp_path, RuntimeConfig(cpu_replicas=2), reduction)
    assert (result['rank'], result['size'], result['replicas']) == (0, 1, 2)
    assert_same(result, alone[reduction])


def run_ranks(tmp_path, runtime, ranks, environment, *fields):
    """Runs the toy as ranks of a job; returns the result of each."""
    plan = sorted(device_of(runtime).plan_ranks(ranks, 4, str(tmp_path / 'logs')).environments.items())
    logs = [tmp_path / ('rank_%d.log' % rank) for rank, _ in plan]
    started = []
    try:
        for log, (_, changes) in zip(logs, plan):
            env = dict(os.environ, PYTHONPATH=os.pathsep.join([ROOT] + environment), **changes)
            with log.open('w') as file:
                started.append(preloaded.start(PROGRAM, [tmp_path / 'model', tmp_path / 'result'] + list(fields), file,
                                               file, env={name: env[name] for name in env if env[name] is not None}))
        codes = [process.wait(200) for process in started]
    finally:
        for process in started:
            process.kill()
    assert set(codes) == {0}, '\n'.join(log.read_text() for log in logs)
    results = [json.loads((tmp_path / ('result%d' % rank)).read_text()) for rank, _ in plan]
    assert [(result['rank'], result['size']) for result in results] == [(rank, len(plan)) for rank, _ in plan]
    written = os.listdir(str(tmp_path / 'model')) if (tmp_path / 'model').exists() else []
    assert written == []   # that is for the hooks of whoever trains
    return results


def test_two_processes_through_tf_config(alone, tmp_path):
    results = run_ranks(tmp_path, RuntimeConfig(num_devices=2), RanksConfig(), [])
    for result in results:
        assert_same(result, alone['sum'])
    assert results[0]['weights'] == results[1]['weights']   # those too that each would have drawn differently


@needs_tf1
def test_two_processes_through_the_ascend_adapter(alone, tmp_path):
    table = tmp_path / 'table.json'
    table.write_text(rank_table.to_json([rank_table.Rank(rank, rank, '192.168.100.%d' % (rank + 1), '127.0.0.1')
                                         for rank in range(2)]))
    results = run_ranks(tmp_path, RuntimeConfig(device='npu', num_devices=2), RanksConfig(rank_table=str(table)),
                        [DOUBLE], 'device=npu')
    for result in results:
        assert_same(result, alone['sum'])
    assert results[0]['weights'] == results[1]['weights']


def test_nothing_is_written_by_the_estimator(tmp_path):
    toy_training.train(tmp_path, RuntimeConfig(cpu_replicas=2))
    assert os.listdir(str(tmp_path)) == []


def test_averages_are_of_all_replicas(tmp_path):
    """Each replica's mean differs, the average does not."""
    seen = []

    def model_fn(features, labels, mode):
        mine = tf.reduce_mean(features)
        average, same = device.average([mine, tf.ones([2])])
        watch = toy_training.Watch([mine, average, same], tf.constant(0.))
        seen.append(watch)
        return tf.estimator.EstimatorSpec(mode, loss=mine, train_op=tf.train.get_global_step().assign_add(1),
                                          training_hooks=[watch])
    device = device_of(RuntimeConfig(cpu_replicas=2))
    estimator = device.make_estimator(model_fn, str(tmp_path))
    device.train(estimator, lambda: tf.data.Dataset.range(8).map(tf.to_float).map(lambda x: (x, x)).batch(2), [], 1)
    (mine, average, same), = [watch.seen[0] for watch in seen if watch.seen]
    assert mine == [0.5] and average == [1.5] and same == [1, 1]   # of 0, 1 and of 2, 3


@pytest.mark.parametrize('kind', ['fixed', 'dynamic'])
def test_mixed_precision_on_two_replicas(alone, tmp_path, monkeypatch, kind):
    """The graph rewrite and its loss scale around two replicas; on a CPU nothing becomes float16."""
    plain = GpuDevice.session_config

    def session_config(self):
        proto = plain(self)
        proto.device_count['CPU'] = 2
        return proto
    monkeypatch.setattr(GpuDevice, 'replica_devices', lambda self: ['/cpu:0', '/cpu:1'])
    monkeypatch.setattr(GpuDevice, 'session_config', session_config)
    try:
        result = toy_training.train(tmp_path, RuntimeConfig(device='gpu', mixed_precision=True, loss_scale=kind))
    finally:
        tf.train.experimental.disable_mixed_precision_graph_rewrite()
    assert_same(result, alone['sum'])
    assert not [name for name in result['variables'] if 'cond' in name]
