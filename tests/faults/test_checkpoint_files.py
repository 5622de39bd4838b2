"""Damaged files of a training directory: found before they are used, and reported by name."""
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from file_damage import damage, json_faults, replace

from edvr import checkpoints
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.training.rundir import configuration, run_state


def save(directory, *steps):
    """Checkpoints with a tensor of each size and type that training saves; values differ by step."""
    for step in steps:
        with tf.Graph().as_default(), tf.Session() as session:
            values = [tf.get_variable('edvr/%d' % size, initializer=np.arange(size, dtype=np.float32) + step)
                      for size in (1, 64, 5000)] + [tf.get_variable('global_step', initializer=np.int64(step))]
            session.run(tf.global_variables_initializer())
            tf.train.Saver(values, max_to_keep=0).save(session, os.path.join(str(directory), 'model.ckpt'), step,
                                                       write_meta_graph=False)


def tensors(prefix):
    reader = tf.train.NewCheckpointReader(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def same(found, wanted):
    return set(found) == set(wanted) and all(np.array_equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize('suffix', ['.index', '.data-00000-of-00001'])
def test_checkpoint_files(campaign, tmp_path, suffix):
    """Programs that only read a checkpoint refuse it; training continues from the one before."""
    save(tmp_path, 1, 2)
    older, newest = (str(tmp_path / ('model.ckpt-%d' % step)) for step in (1, 2))
    wanted = {prefix: tensors(prefix) for prefix in (older, newest)}
    for number in range(campaign.amount(25, 400)):
        whole, description = damage(campaign.rng, newest + suffix, number)
        # a few bytes of an index are padding
        campaign.attempt('checkpoint %s: used as it is' % suffix[:6], lambda: checkpoints.chosen(str(tmp_path)),
                         lambda prefix: same(tensors(prefix), wanted[newest]), description, ['model.ckpt-2' + suffix])
        prefix = checkpoints.latest(str(tmp_path))
        sound = same(tensors(prefix), wanted[prefix])
        outcome = 'silent' if not sound else 'harmless' if prefix == newest else 'resumed'
        campaign.record('checkpoint %s: training' % suffix[:6], outcome, description)
        replace(newest + suffix, whole)


def test_state_file(campaign, tmp_path):
    """TensorFlow's `checkpoint` file has no effect: it is written again before an Estimator reads it."""
    save(tmp_path, 1, 2)
    path, wanted = str(tmp_path / 'checkpoint'), tensors(str(tmp_path / 'model.ckpt-2'))
    for number in range(campaign.amount(10, 200)):
        checkpoints.write_state(str(tmp_path))
        description = damage(campaign.rng, path, number)[1]
        assert checkpoints.latest(str(tmp_path)) == checkpoints.chosen(str(tmp_path)) == str(tmp_path / 'model.ckpt-2')
        checkpoints.write_state(str(tmp_path))
        campaign.attempt('checkpoint state file', lambda: tensors(tf.train.latest_checkpoint(str(tmp_path))),
                         lambda found: same(found, wanted), description)


def test_model_json(campaign, tmp_path):
    checkpoints.save_model_config(str(tmp_path), ModelConfig())
    path = str(tmp_path / 'model.json')
    with open(path) as file:
        text = file.read()
    json_faults(campaign, path, text, 'model.json', lambda: checkpoints.load_model_config(str(tmp_path)))


def test_config_json(campaign, tmp_path):
    config = configuration.resolved(ModelConfig(), DataConfig(), TrainingConfig(), RuntimeConfig(), 1)
    configuration.save_run_config(str(tmp_path), config, False)
    path = str(tmp_path / 'config.json')
    with open(path) as file:
        text = file.read()

    def read():
        """Differences are refused, naming the directory and the options."""
        configuration.save_run_config(str(tmp_path), config, False)

    json_faults(campaign, path, text, 'config.json', read)


def test_run_state_json(campaign, tmp_path):
    path = str(tmp_path / 'run_state.json')
    state = run_state.RunState(str(tmp_path))
    state.add_rollback(reason='loss is not finite', to=12)
    state.set_best(24, 30.5, '0123')
    state.keep(12, 1e9)
    with open(path) as file:
        text = file.read()

    def use():
        state = run_state.RunState(str(tmp_path))
        assert isinstance(state.rollbacks, list) and (state.best is None or state.best['psnr'] >= -np.inf)
        state.due_to_keep(2e9, 60.)
        state.keep(36, 2e9)

    json_faults(campaign, path, text, 'run_state.json', use)
