"""The guard: the detection of bad steps, skipped updates, the rollback, and the stop after too many of them."""
import json
import os
import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny_training
from facts import raises_facts
from tiny_training import spoiled_at

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import RuntimeConfig
from edvr.devices import device_of
from edvr.devices.cpu import CpuDevice
from edvr.network.networks import NETWORKS
from edvr.training import model_fn, training_run, update_guard
from edvr.training.hooks.step_hook import Callback, Control, LoopHook

GOOD, NAN = 1., float('nan')


@pytest.mark.parametrize('loss, norm, offsets, limit, faults', [
    (GOOD, GOOD, (1., 2., 3., 4.), 4., 0),
    (NAN, GOOD, (1., 1., 1., 1.), 4., update_guard.LOSS),
    (float('-inf'), float('inf'), (1., 1., 1., 1.), 4., update_guard.LOSS + update_guard.GRADIENTS),
    (GOOD, NAN, (1., 1., 1., 1.), 0., update_guard.GRADIENTS),
    (GOOD, GOOD, (1., 1., 4.1, 1.), 4., update_guard.OFFSETS),
    (GOOD, GOOD, (1., NAN, 1., 1.), 4., update_guard.OFFSETS),
    (GOOD, GOOD, (1., NAN, 1e9, 1.), 0., 0)])
def test_verdict(loss, norm, offsets, limit, faults):
    with tf.Graph().as_default(), tf.Session() as session:
        verdict = update_guard.verdict(update_guard.faults_of(tf.constant(loss), tf.constant(norm),
                                                [tf.constant(value) for value in offsets], limit))
        session.run(tf.local_variables_initializer())
        assert not tf.global_variables()   # the counters are in no checkpoint
        for count in (1, 2, 3):
            bad = count if faults else 0
            assert session.run(verdict) == (float(not faults), faults, bad, bad)


def test_streak_ends_with_a_good_step_and_the_sum_stays():
    with tf.Graph().as_default(), tf.Session() as session:
        loss = tf.placeholder(tf.float32, [])
        verdict = update_guard.verdict(update_guard.faults_of(loss, tf.constant(1.), [tf.constant(0.)], 4.))
        session.run(tf.local_variables_initializer())
        values = [session.run([verdict.streak, verdict.skipped], {loss: value}) for value in (NAN, NAN, 1., NAN)]
    assert values == [[1, 1], [2, 2], [0, 2], [1, 3]]


@pytest.mark.parametrize('faults, applied, scale, dynamic, expected', [
    (0, True, 4., True, 0), (0, False, 4., True, update_guard.OVERFLOW), (0, False, 1., True, update_guard.LOWEST),
    (update_guard.GRADIENTS, False, 2., True, update_guard.OVERFLOW),
    (update_guard.GRADIENTS, False, 1., True, update_guard.LOWEST),
    (0, False, 1024., False, update_guard.LOWEST), (update_guard.GRADIENTS, True, 1024., False, update_guard.LOWEST),
    (update_guard.GRADIENTS, None, 2., True, update_guard.OVERFLOW),
    (update_guard.GRADIENTS, None, 1., True, update_guard.LOWEST),
    (update_guard.GRADIENTS, True, 2., True, update_guard.GRADIENTS),   # the norm of finite gradients: no scale falls
    (0, None, 2., True, 0), (update_guard.LOSS, False, 4., True, update_guard.LOSS),
    (update_guard.OFFSETS, True, 4., True, update_guard.OFFSETS)])
def test_overflow_under_a_loss_scale(faults, applied, scale, dynamic, expected):
    with tf.Graph().as_default(), tf.Session() as session:
        known = None if applied is None else tf.constant(applied)
        found = update_guard.overflows(tf.constant(float(faults)), known, tf.constant(scale), dynamic)
        assert session.run(found) == expected


def test_overflow_neither_lengthens_nor_ends_the_streak():
    with tf.Graph().as_default(), tf.Session() as session:
        faults = tf.placeholder(tf.float32, [])
        verdict = update_guard.verdict(faults)
        session.run(tf.local_variables_initializer())
        values = [session.run([verdict.streak, verdict.skipped], {faults: value})
                  for value in (update_guard.LOSS, update_guard.OVERFLOW, update_guard.OVERFLOW,
                                update_guard.LOWEST, 0., update_guard.OVERFLOW)]
    assert values == [[1, 1], [1, 2], [1, 3], [2, 4], [0, 4], [0, 5]]


def test_advice_on_overflow_is_not_about_the_learning_rate():
    assert 'lower --learning_rate' in update_guard.advice(update_guard.explain(update_guard.LOSS))
    assert '--precision_mode' in update_guard.advice(update_guard.explain(update_guard.LOWEST))
    assert 'lower --learning_rate' not in update_guard.advice(update_guard.explain(update_guard.LOWEST))


def test_faults_in_words():
    assert update_guard.explain(5.) == 'the loss is not finite and mean |offset| exceeds --offset_limit'


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Trains with the given networks, one for each session, the last for all further ones."""
    folder = tiny_training.make_set(tmp_path / 'set')
    monkeypatch.setattr(tf.logging, 'warning', lambda *args: None)

    def start(*networks, **fields):
        sessions = list(networks)

        def network(*args, **kwargs):
            return (sessions.pop(0) if len(sessions) > 1 else sessions[0])(*args, **kwargs)
        monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network(network))
        return training_run.Run(*tiny_training.configs(folder, tmp_path / 'run', ema_decay=.9, **fields)).train()
    start.directory = str(tmp_path / 'run')
    return start


def tensors(prefix):
    reader = tf.train.NewCheckpointReader(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.mark.parametrize('clip_norm', [0., 50.])
@pytest.mark.parametrize('fault', [dict(), dict(value=1e4, where='offset')], ids=['loss', 'offset'])
def test_bad_steps_change_nothing_but_the_step(train, fault, clip_norm):
    assert train(spoiled_at(4, 5, **fault), steps=5, save_every=3, clip_norm=clip_norm) == 0
    before, after = (tensors('%s/model.ckpt-%d' % (train.directory, step)) for step in (3, 5))
    assert before.pop('global_step') == 3 and after.pop('global_step') == 5
    assert len(before) == 3 * 4 + 2 and set(before) == set(after)
    for name in before:
        np.testing.assert_array_equal(before[name], after[name], name)


def test_no_checkpoint_between_bad_steps(train):
    train(spoiled_at(3, 4), steps=6, save_every=3)
    saved = [checkpoints.step_of(prefix) for prefix in checkpoints.prefixes(train.directory)]
    assert saved == [0, 5, 6]   # 3 was bad, 4 too


def test_a_run_whose_updates_were_all_skipped_is_an_error(train):
    with raises_facts(UserError, 'all 3 updates', 'skipped', 'loss is not finite', '--learning_rate'):
        train(spoiled_at(1, 9), steps=3, save_every=3)


def test_rollback_with_a_lower_offset_rate_then_on_to_the_end(train, capsys, monkeypatch):
    given, make = [], training_run.make_model_fn
    monkeypatch.setattr(training_run, 'make_model_fn', lambda *args: given.append(args[3]) or make(*args))
    assert train(spoiled_at(4, 99, 1e4, 'offset'), tiny_training.network, bad_steps=2, offset_rate=.8,
                 rollback_factor=.25) == 0
    assert given == pytest.approx([.8, .2])
    output = capsys.readouterr()
    assert ('GUARD: ROLLBACK 1 of 3: step 5: 2 updates in a row were skipped: mean |offset| exceeds --offset_limit. '
            'Back to step 3, with DCN-offset rate 0.2') in output.err
    assert checkpoints.latest(train.directory).endswith('model.ckpt-6')
    with open(train.directory + '/run_state.json') as file:
        assert [rollback['to'] for rollback in json.load(file)['rollbacks']] == [3]
    assert re.findall(r'Step:(\d)', output.out) == list('12345456')


def test_each_skipped_update_is_reported_with_its_numbers(train, capsys):
    assert train(spoiled_at(2, 2, 1e4, 'offset'), steps=3) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('GUARD')]
    assert len(lines) == 1 and re.match(
        r'GUARD: step 2: 1 update\(s\) skipped, 1 in a row; mean \|offset\| exceeds --offset_limit \(loss \d\S*, '
        r'gradient norm \d\S*, \|offset\| l3:10000\S* l2:10000\S* l1:10000\S* cas:10000\S*\)$', lines[0])


def test_gives_up_with_advice_and_continues_on_request(train, capsys):
    with raises_facts(UserError, 'step 1', '1 time', 'lower --learning_rate'):
        train(spoiled_at(1, 99), bad_steps=1, max_rollbacks=1, steps=2)
    assert len(re.findall('ROLLBACK', capsys.readouterr().err)) == 1
    assert train(tiny_training.network, bad_steps=1, max_rollbacks=1, steps=2, override_config=True) == 0


def test_continued_on_request_every_rank_forgets_the_rollbacks(train, monkeypatch):
    """A rank that does not write, and that need not find a checkpoint at the end, has the offset rate of rank 0."""
    given, make = [], training_run.make_model_fn
    monkeypatch.setattr(training_run, 'make_model_fn', lambda *args: given.append(args[3]) or make(*args))
    monkeypatch.setattr(CpuDevice, 'is_writer', False)
    os.makedirs(train.directory)
    with open(train.directory + '/run_state.json', 'w') as file:
        json.dump({'rollbacks': [{'to': 3}]}, file)
    for override, rate in ((False, .5), (True, 1.)):
        assert train(tiny_training.network, steps=2, override_config=override) == 0
        assert given.pop() == rate
    assert os.listdir(train.directory) == ['run_state.json']


def test_replicas_judge_alike(tmp_path, monkeypatch):
    """One of two replicas is bad: neither updates."""
    def network(*args, **kwargs):
        step = tf.train.get_global_step().read_value()
        replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)
        bad = tf.logical_and(tf.equal(step, 1), tf.equal(replica, 1))
        return tiny_training.network(*args, spoil=lambda sr: sr + tf.where_v2(bad, NAN, 0.), **kwargs)

    class Record(Callback):
        def __init__(self):
            self.gates, self.weights = [], []

        def build(self):
            self._variables = [tf.distribute.get_strategy().experimental_local_results(variable)
                               for variable in tf.trainable_variables()]

        def after_run(self, report):
            self.gates.append(report.values['faults'] == 0)
            self.weights.append(report.session.run(self._variables))

    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network(network))
    model, _, training, _ = tiny_training.configs('', tmp_path / 'run', ema_decay=.9)
    device = device_of(RuntimeConfig(cpu_replicas=2))
    estimator = device.make_estimator(model_fn.make_model_fn(model, training, device), training.model_dir)
    batch = ({'lq': np.full([2, 3, 8, 8, 3], 90, np.uint8)}, np.full([2, 32, 32, 3], 9, np.uint8))
    record = Record()
    estimator.train(lambda: tf.data.Dataset.from_tensors(batch).repeat(), [LoopHook([record], Control())], max_steps=3)
    assert record.gates == [True, False, True]
    first, second, third = record.weights
    for before, after, later in zip(first, second, third):
        np.testing.assert_array_equal(before[0], before[-1])   # replicas agree
        np.testing.assert_array_equal(before, after)
        assert (np.asarray(after) != np.asarray(later)).any()
