"""Checkpoints are complete or absent; the checkpoints to keep; the lock and configuration of the directory."""
import contextlib
import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import ROOT
from facts import check_facts, raises_facts

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.pytorch import weights
from edvr.training.hooks import checkpoint_saver
from edvr.training.rundir import configuration, run_state


class Store:
    """A CheckpointStore with a session that holds one variable."""

    def __init__(self, directory, keep_last=3, hours=0., size=1000):
        self.directory, self.state = str(directory), run_state.RunState(str(directory))
        self._store = checkpoint_saver.CheckpointStore(self.directory, keep_last, hours, self.state)
        tf.get_variable('edvr/weight', initializer=np.random.RandomState(0).rand(size))
        self._session, self._saver = tf.Session(), tf.train.Saver(max_to_keep=0)
        self._session.run(tf.global_variables_initializer())
        self.keep_best, self.measures = self._store.keep_best, self._store.measures

    def save(self, step, modified=None):
        prefix = self._store.save(self._session, self._saver, step)
        if modified is not None:
            os.utime(prefix + '.index', (modified, modified))
        return prefix

    def steps(self):
        return [checkpoints.step_of(prefix) for prefix in checkpoints.prefixes(self.directory)]


@pytest.fixture
def store(tmp_path):
    with tf.Graph().as_default():
        yield lambda **fields: Store(tmp_path, **fields)


def test_the_last_ones_stay_and_the_estimator_knows_them(store, tmp_path):
    store = store(keep_last=2)
    for step in (0, 9, 10, 100):
        store.save(step)
    assert store.steps() == [10, 100]
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / 'model.ckpt-100')
    os.rename(str(tmp_path), str(tmp_path) + '-moved')   # the names in it are relative
    assert tf.train.latest_checkpoint(str(tmp_path) + '-moved').endswith('-moved/model.ckpt-100')
    assert sorted(os.listdir(str(tmp_path) + '-moved')) == [
        'checkpoint', 'model.ckpt-10.data-00000-of-00001', 'model.ckpt-10.index',
        'model.ckpt-100.data-00000-of-00001', 'model.ckpt-100.index']


def test_one_every_so_many_hours_stays_for_good(store, tmp_path):
    hourly = store(keep_last=1, hours=2.)
    for hour in range(8):
        hourly.save(hour, modified=1.6e9 + 3600 * hour)
    assert hourly.steps() == [2, 4, 6, 7]
    with open(str(tmp_path / 'run_state.json')) as file:
        assert sorted(json.load(file)['kept']) == ['2', '4', '6']
    assert run_state.RunState(str(tmp_path)).is_kept(4)   # also for the next session


def test_full_disk_leaves_the_previous_checkpoint(store, tmp_path):
    store = store(size=100000)
    first = store.save(1)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(str(tmp_path))}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300000, limits[1]))   # the checkpoint needs 800 kB
    try:
        with pytest.raises(UserError, match=r'cannot write .*model.ckpt-2: '):
            store.save(2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(str(tmp_path))} == before
    assert checkpoints.latest(str(tmp_path)) == first


def test_best_is_kept_apart_and_survives(store, tmp_path):
    store = store(keep_last=1)
    checkpoints.save_model_config(str(tmp_path), ModelConfig())
    for step, psnr, better in ((1, 30., True), (2, 31., True), (3, 30.5, False)):
        assert store.keep_best(store.save(step), psnr) == better
    best = str(tmp_path / 'best')
    assert checkpoints.latest(best) == best + '/model.ckpt-2' and tf.train.latest_checkpoint(best).endswith('-2')
    assert checkpoints.load_model_config(best) == ModelConfig()
    assert store.steps() == [3] and len(checkpoints.prefixes(best)) == 1
    assert run_state.RunState(str(tmp_path)).best == {'step': 2, 'psnr': 31., 'measured': ''}


@pytest.mark.parametrize('psnr', [float('inf'), float('nan')])
def test_a_psnr_that_is_not_finite_is_not_the_best(store, tmp_path, psnr):
    store = store()
    checkpoints.save_model_config(str(tmp_path), ModelConfig())
    assert not store.keep_best(store.save(1), psnr)
    assert store.keep_best(store.save(2), 31.) and not store.keep_best(store.save(3), psnr)
    assert run_state.RunState(str(tmp_path)).best['step'] == 2


def test_the_best_of_other_clips_is_forgotten(tmp_path, capsys):
    checkpoints.save_model_config(str(tmp_path), ModelConfig())
    files.write_json(str(tmp_path / 'run_state.json'), {'best': {'step': 1, 'psnr': 33.}})   # of an earlier version
    for step, (digest, psnr, better) in enumerate([('a', 32., False), ('a', 34., True), ('b', 25., True),
                                                   ('b', 24., False), ('a', 33., True)], 2):
        with tf.Graph().as_default():
            store = Store(tmp_path)
            store.measures(digest)
            assert store.keep_best(store.save(step), psnr) == better
    assert checkpoints.latest(str(tmp_path / 'best')).endswith('-6')
    check_facts(capsys.readouterr().out, 'step 3, 34.0000 dB', 'step 4, 25.0000 dB', 'other clips')


def test_an_infinite_best_of_an_earlier_version_is_none(tmp_path):
    files.write_json(str(tmp_path / 'run_state.json'), {'rollbacks': [{'reason': 'x', 'to': 3}],
                                                        'best': {'step': 7, 'psnr': float('inf')}})
    state = run_state.RunState(str(tmp_path))
    assert state.best is None and state.rollbacks == [{'reason': 'x', 'to': 3}]


@contextlib.contextmanager
def failing_rename(monkeypatch, end):
    """Lets renames to names with this end fail in its block, and expects the UserError that follows."""
    replace = os.replace

    def failing(source, target):
        if str(target).endswith(end):
            raise PermissionError(13, 'Permission denied')
        return replace(source, target)
    with monkeypatch.context() as patch, raises_facts(UserError, 'cannot write'):
        patch.setattr(os, 'replace', failing)
        yield


@pytest.mark.parametrize('end', ['model.json', '.data-00000-of-00001', '.index', 'checkpoint'])
def test_the_best_one_is_whole_whatever_fails(store, tmp_path, monkeypatch, end):
    store, best = store(keep_last=2), str(tmp_path / 'best')
    checkpoints.save_model_config(str(tmp_path), ModelConfig())
    assert store.keep_best(store.save(1), 30.)
    second = store.save(2)
    with failing_rename(monkeypatch, os.path.join('best', end) if end[0] != '.' else end):
        store.keep_best(second, 31.)
    assert checkpoints.chosen(best) == best + '/model.ckpt-%d' % (2 if end == 'checkpoint' else 1)
    assert checkpoints.load_model_config(best) == ModelConfig()
    assert store.keep_best(second, 31.) and len(checkpoints.prefixes(best)) == 1


@pytest.mark.parametrize('end', ['.data-00000-of-00001', '.index', 'checkpoint'])
def test_an_import_that_fails_leaves_no_checkpoint(tmp_path, monkeypatch, end):
    values = {'conv_last/bias': np.zeros(3, np.float32)}
    with failing_rename(monkeypatch, end):
        weights.save(values, ModelConfig(), str(tmp_path / 'model'))
    assert os.listdir(str(tmp_path / 'model')) == ['model.json']
    assert checkpoints.latest(weights.save(values, ModelConfig(), str(tmp_path / 'model'))).endswith('-0')


def test_second_run_in_a_directory_is_refused_and_a_dead_ones_lock_is_free(tmp_path):
    hold = ('import sys; sys.path.insert(0, %r); from edvr.training.rundir import run_state\n'
            'with run_state.lock(%r): print("held", flush=True); sys.stdin.read()' % (ROOT, str(tmp_path)))
    process = subprocess.Popen([sys.executable, '-c', hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b'held\n'
    with raises_facts(UserError, 'another run', 'process %d' % process.pid), \
            run_state.lock(str(tmp_path)):
        pass
    process.kill()
    process.communicate()
    with run_state.lock(str(tmp_path)):
        pass


def resolved(model=(), data=(), training=(), runtime=(), ranks=1):
    return configuration.resolved(ModelConfig(**dict(model)), DataConfig(**dict(data)),
                                  TrainingConfig(**dict(training)), RuntimeConfig(**dict(runtime)), ranks)


def save_run_config(folder, config, override=False):
    return configuration.save_run_config(str(folder), config, override)


def test_changed_configuration_is_refused_by_name(tmp_path):
    assert save_run_config(tmp_path, resolved()) == ([], '')
    changed = resolved(dict(channels=32), dict(batch_size=8), dict(learning_rate=1e-3), ranks=8)
    with raises_facts(UserError, 'channels was 64', 'is 32', 'learning_rate was 0.0004', 'is 0.001',
                      '1 x --batch_size=32', '8 x --batch_size=8', '--batch_size=4', '--override_config'):
        save_run_config(tmp_path, changed)
    assert save_run_config(tmp_path, resolved()) == ([], '')   # the refusal changed nothing
    assert len(save_run_config(tmp_path, changed, True)[0]) == 3
    assert save_run_config(tmp_path, changed) == ([], '')


def test_the_same_whole_batch_on_other_devices_is_the_same_configuration(tmp_path):
    save_run_config(tmp_path, resolved(data=dict(batch_size=4), ranks=8))
    assert save_run_config(tmp_path, resolved(data=dict(batch_size=8), ranks=4)) == ([], (
        'the same whole batch on another number of devices: 32 (4 x --batch_size=8), was 32 (8 x --batch_size=4)'))
    assert save_run_config(tmp_path, resolved(data=dict(batch_size=8), ranks=4)) == ([], '')
    one_process = configuration.resolved(ModelConfig(), DataConfig(batch_size=16), TrainingConfig(), RuntimeConfig(),
                                         1, 2)
    assert save_run_config(tmp_path, one_process)[0] == []
    with pytest.raises(UserError, match=r'is 48 \(3 x --batch_size=16\)\.'):   # 32 cannot be shared by 3
        save_run_config(tmp_path, resolved(data=dict(batch_size=16), ranks=3))


def test_configurations_of_earlier_versions(tmp_path):
    """They lack options that are newer, and have earlier names."""
    earlier = resolved()
    earlier['runtime']['dcn_impl'] = earlier['runtime'].pop('kernels')
    earlier['runtime']['removed'] = earlier['model'].pop('hr_in') is None
    files.write_json(str(tmp_path / configuration.CONFIG_FILE), earlier)
    assert save_run_config(tmp_path, resolved()) == ([], '')
    files.write_json(str(tmp_path / configuration.CONFIG_FILE), earlier)
    with pytest.raises(UserError, match='hr_in was False, is True'):
        save_run_config(tmp_path, resolved(dict(hr_in=True)))


@pytest.mark.parametrize('topic, name', [('data', 'batch_size'), ('data', 'micro_batches'), ('job', 'replicas')])
@pytest.mark.parametrize('value', [None, 'x', [4], 0, .5])
def test_counts_of_another_type_in_a_configuration_are_refused(tmp_path, topic, name, value):
    path, edited = str(tmp_path / configuration.CONFIG_FILE), resolved()
    edited[topic][name] = value
    files.write_json(path, edited)
    with raises_facts(UserError, path, '%s.%s' % (topic, name), 'restore it from a copy'):
        save_run_config(tmp_path, resolved())


def test_what_may_change_between_sessions(tmp_path):
    periods = dict(cosine_periods=(10,))
    save_run_config(tmp_path, resolved(training=dict(periods, steps=10)))
    assert save_run_config(tmp_path, resolved(
        data=dict(data_dir='elsewhere', map_threads=3), runtime=dict(intra_op_threads=2),
        training=dict(periods, steps=20, log_every=7, save_every=9))) == ([], '')
    # the default follows the steps
    with raises_facts(UserError, 'cosine_periods', '[10]', '[30]', '--cosine_periods=10'):
        save_run_config(tmp_path, resolved(training=dict(steps=30)))
