"""Checkpoints: the latest complete one is found, damaged ones are skipped, variables match by name and shape."""
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from facts import raises_facts
from helpers import tiny_checkpoint

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.checkpoints import integrity
from edvr.config import ModelConfig
from edvr.config.export import ExportConfig
from edvr.exporting.export_job import export
from edvr.network import networks
from edvr.pytorch import weights
from edvr.restore.restorer import Restorer


def save(directory, *steps, ema=False):
    with tf.Graph().as_default(), tf.Session() as session:
        values = [tf.get_variable('edvr/weight', initializer=np.arange(6, dtype=np.float32).reshape(2, 3)),
                  tf.get_variable('global_step', initializer=np.int64(7))]
        if ema:
            values.append(tf.get_variable('edvr/weight/ExponentialMovingAverage',
                                          initializer=np.full([2, 3], 5, np.float32)))
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver(values, max_to_keep=0)
        return [saver.save(session, os.path.join(str(directory), 'model.ckpt'), step, write_meta_graph=False)
                for step in steps]


def cut(path, size):
    with open(path, 'r+b') as file:
        file.truncate(size)


def test_latest_is_by_number_not_by_text_or_time(tmp_path):
    save(tmp_path, 1000, 90)
    assert checkpoints.latest(str(tmp_path)) == str(tmp_path / 'model.ckpt-1000')
    assert checkpoints.latest(str(tmp_path / 'model.ckpt-90')) == str(tmp_path / 'model.ckpt-90')
    assert checkpoints.latest(str(tmp_path / 'model.ckpt-90.index')) == str(tmp_path / 'model.ckpt-90')


@pytest.mark.parametrize('part, size', [('index', 20), ('index', 0), ('data-00000-of-00001', 31),
                                        ('data-00000-of-00001', 0)])
def test_cut_checkpoint_is_skipped_and_refused_by_name(tmp_path, part, size, capfd):
    save(tmp_path, 1, 2)
    cut(str(tmp_path / ('model.ckpt-2.' + part)), size)
    capfd.readouterr()
    for _ in range(2):
        assert checkpoints.latest(str(tmp_path)) == str(tmp_path / 'model.ckpt-1')
    assert capfd.readouterr().err.count('warning: %s is skipped' % (tmp_path / 'model.ckpt-2')) == 1
    with pytest.raises(UserError, match=r'model.ckpt-2 is not complete'):
        checkpoints.latest(str(tmp_path / 'model.ckpt-2'))


def test_missing_data_file_and_no_whole_checkpoint(tmp_path):
    save(tmp_path, 3)
    os.remove(str(tmp_path / 'model.ckpt-3.data-00000-of-00001'))
    with raises_facts(UserError, 'complete', 1, '0 bytes', 32):
        checkpoints.latest(str(tmp_path))


def test_empty_directory_and_unknown_prefix(tmp_path):
    with pytest.raises(UserError, match='no checkpoint in this directory'):
        checkpoints.latest(str(tmp_path))
    with raises_facts(UserError, 'directory with checkpoints', 'prefix'):
        checkpoints.latest(str(tmp_path / 'model.ckpt-9'))


@pytest.mark.parametrize('name, facts', [
    ('a*', ['a*', '* ? [', 'pattern', 'rename']),
    ('a[1]', ['a[1]', 'pattern']), ('a\\b', ['a\\b', 'pattern']), ('a?', ['a?', 'pattern']),
    ('x\udcff', [r"x\udcff'", 'UTF-8', 'rename the folder'])])
def test_paths_that_tensorflow_takes_for_patterns(tmp_path, name, facts):
    (tmp_path / name).mkdir()
    with raises_facts(UserError, *facts):
        checkpoints.chosen(str(tmp_path / name))


def test_model_config_round_trip_and_errors(tmp_path):
    config = ModelConfig(channels=8, deform_groups=2)
    checkpoints.save_model_config(str(tmp_path / 'run'), config)
    assert checkpoints.load_model_config(str(tmp_path / 'run')) == config
    assert checkpoints.load_model_config(str(tmp_path / 'run' / 'model.ckpt-7')) == config
    with pytest.raises(UserError, match=r'model.json: cannot be read'):
        checkpoints.load_model_config(str(tmp_path))
    (tmp_path / 'model.json').write_text('{"channels": 8')
    with raises_facts(UserError, 'model.json', 'not JSON', 'cut or edited'):
        checkpoints.load_model_config(str(tmp_path))


@pytest.mark.parametrize('field, value, text', [
    ('channels', 'many', r"channels is 'many'; it must be int"), ('scale', 5, 'scale is 5; it must be one of 2, 3, 4'),
    ('with_tsa', None, 'with_tsa is None; it must be bool'), ('other', 1, 'other is 1; it must be absent')])
def test_edited_model_config_is_refused_by_file_field_and_value(tmp_path, field, value, text):
    (tmp_path / 'model.json').write_text(json.dumps(dict(ModelConfig().to_dict(), **{field: value})))
    with pytest.raises(UserError, match='model.json: .*' + text):
        checkpoints.load_model_config(str(tmp_path))


@pytest.mark.parametrize('value, text', [([], r'the whole is \[\]; it must be an object'),
                                         ({'channels': 8}, 'num_frames is missing')])
def test_model_config_of_another_type(tmp_path, value, text):
    (tmp_path / 'model.json').write_text(json.dumps(value))
    with pytest.raises(UserError, match='model.json: .*' + text):
        checkpoints.load_model_config(str(tmp_path))


def flip(path, place):
    with open(path, 'r+b') as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 4]))


def test_flipped_bit_is_found_and_the_complete_checkpoint_named(tmp_path, capfd):
    save(tmp_path, 1, 2)
    assert checkpoints.chosen(str(tmp_path)) == str(tmp_path / 'model.ckpt-2')
    flip(str(tmp_path / 'model.ckpt-2.data-00000-of-00001'), 17)
    text = (r'checkpoint .*model.ckpt-2 is not complete: model.ckpt-2.data-00000-of-00001 is damaged: edvr/weight does '
            'not fit its checksum .*; use the newest complete one beside it, .*model.ckpt-1$')
    for path in (tmp_path, tmp_path / 'model.ckpt-2'):
        with pytest.raises(UserError, match=text):
            checkpoints.chosen(str(path))
    capfd.readouterr()
    assert checkpoints.latest(str(tmp_path)) == str(tmp_path / 'model.ckpt-1')
    assert 'model.ckpt-2 is skipped: model.ckpt-2.data-00000-of-00001 is damaged' in capfd.readouterr().err
    flip(str(tmp_path / 'model.ckpt-1.data-00000-of-00001'), 0)
    with raises_facts(UserError, '2 checkpoints', 'complete'):
        checkpoints.chosen(str(tmp_path))
    with raises_facts(UserError, 'no checkpoint', 'complete'):
        checkpoints.chosen(str(tmp_path / 'model.ckpt-1'))


def read(prefix, use_ema):
    with tf.Graph().as_default(), tf.Session() as session:
        weight = tf.get_variable('edvr/weight', [2, 3])
        tf.train.Saver(checkpoints.restore_map(prefix, [weight], use_ema)).restore(session, prefix)
        return session.run(weight)


def test_a_checkpoint_that_lacks_a_name_has_a_defect(tmp_path):
    prefix = save(tmp_path, 1)[0]
    assert checkpoints.names_in(prefix) == ['edvr/weight', 'global_step']
    assert checkpoints.defect(prefix, ['edvr/weight', 'global_step']) is None
    other = save(tmp_path, 2)[0]
    assert 'edvr/bias' in checkpoints.defect(other, ['edvr/bias'])


def test_what_is_known_of_checkpoints_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(integrity, '_MOST_KNOWN', 3)
    monkeypatch.setattr(integrity, '_known', {})
    for prefix in save(tmp_path, *range(5)):
        assert checkpoints.defect(prefix) is None and 0 < len(integrity._known) <= 3


def test_moving_averages_are_read_where_present(tmp_path):
    prefix, = save(tmp_path, 1, ema=True)
    assert (read(prefix, True) == 5).all()
    assert (read(prefix, False) == np.arange(6).reshape(2, 3)).all()
    plain, = save(tmp_path, 2)
    assert (read(plain, True) == np.arange(6).reshape(2, 3)).all()


@pytest.mark.parametrize('name, shape, text', [
    ('edvr/bias', [3], 'has no variable edvr/bias'),
    ('edvr/weight', [2, 4], r'has edvr/weight with shape \[2, 3\], the network wants \[2, 4\]')])
def test_other_network_is_refused(tmp_path, name, shape, text):
    prefix, = save(tmp_path, 1)
    with tf.Graph().as_default(), pytest.raises(UserError, match=text):
        checkpoints.restore_map(prefix, [tf.get_variable(name, shape)])


@pytest.fixture
def vanishing(tmp_path, monkeypatch):
    """A run of two checkpoints, as a training with --keep_last=2 leaves them.

    While a program builds the network of the one that it has chosen, the training removes it and writes another one.
    """
    run, build = tmp_path / 'run', networks.build
    prefix, later = tiny_checkpoint(run, step=8), tiny_checkpoint(tmp_path / 'later', step=9)

    def removing(config):
        checkpoints.remove(prefix)
        for path in checkpoints.files_of(later):
            os.rename(path, str(run / os.path.basename(path)))
        return build(config)
    monkeypatch.setattr(networks, 'build', removing)
    return run


@pytest.mark.parametrize('use', [
    lambda run, folder: Restorer(str(run), kernels='tf'),
    lambda run, folder: export(ExportConfig(checkpoint=str(run), output=str(folder / 'out.pb'))),
    lambda run, folder: weights.export_weights(str(run), str(folder / 'out.safetensors'))])
def test_a_checkpoint_that_a_training_removes_before_it_is_read_is_named(vanishing, tmp_path, use):
    with raises_facts(UserError, vanishing / 'model.ckpt-8', 'removed', '--keep_last'):
        use(vanishing, tmp_path)
    assert sorted(os.listdir(str(tmp_path))) == ['later', 'run']


def test_the_index_is_read_once(tmp_path, monkeypatch):
    """TensorFlow aborts the process if it cannot read an index, so it gets a copy."""
    save(tmp_path, 1)
    reader = tf.train.NewCheckpointReader

    def failing(prefix):
        (tmp_path / 'model.ckpt-1.index').write_bytes(b'')
        return reader(prefix)
    monkeypatch.setattr(tf.train, 'NewCheckpointReader', failing)
    assert checkpoints.names_in(str(tmp_path / 'model.ckpt-1'))


def test_a_checkpoint_that_is_removed_while_it_is_checked_is_no_choice(tmp_path, monkeypatch):
    save(tmp_path, 1, 2)
    reader = tf.train.NewCheckpointReader

    def removing(prefix):
        if prefix.endswith('-2'):
            checkpoints.remove(str(tmp_path / 'model.ckpt-2'))
        return reader(prefix)
    monkeypatch.setattr(tf.train, 'NewCheckpointReader', removing)
    assert checkpoints.chosen(str(tmp_path)) == str(tmp_path / 'model.ckpt-1')
    with raises_facts(UserError, tmp_path / 'model.ckpt-2', '--keep_last', tmp_path / 'model.ckpt-1'):
        checkpoints.chosen(str(tmp_path / 'model.ckpt-2'))
