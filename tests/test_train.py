"""The training program: a run of the real network from its command line, and every error at the start."""
import functools
import hashlib
import json
import os
import re

import pytest
import tensorflow.compat.v1 as tf
import tiny_training
from facts import check_error, check_facts, raises_facts
from packed import flip_byte
from training_runs import steps

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.network.networks import NETWORKS
from edvr.training.training_run import Run


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tiny_training.make_set(tmp_path_factory.mktemp('train') / 'set')


def test_command_line(tmp_path, folder, run_program):
    """The real network: trained in one go, and stopped and continued, it prints the same; curves and files are
    there."""
    (tmp_path / 'ema.cfg').write_text('--ema_decay=0.9\n')

    def train(name, *more, **fields):
        fields = dict(dict(save_every=2, steps=4, ema_decay=.9, kernels='auto'), **fields)
        arguments = ['--flagfile=%s' % (tmp_path / 'ema.cfg')] + tiny_training.arguments(
            folder, tmp_path / name, **fields)
        return run_program('edvr.train', *(arguments + list(more)))

    whole = train('whole')
    assert whole.returncode == 0, whole.stderr
    assert sorted(steps(whole.stdout)) == [1, 2, 3, 4]
    directory = str(tmp_path / 'whole')
    assert {'model.json', 'config.json', 'checkpoint', 'model.ckpt-4.index'} <= set(os.listdir(directory))
    with open(directory + '/config.json') as file:
        config = json.load(file)
    assert config['training']['cosine_periods'] == [4]
    session, = config['sessions']
    assert '--model_dir=' + directory in session['command'] and '--flagfile=%s' % (tmp_path / 'ema.cfg') in (
        session['command'])
    assert session['flagfiles'] == {str(tmp_path / 'ema.cfg'): '--ema_decay=0.9\n'}
    assert session['versions']['tensorflow'] == tf.__version__ and session['device'] == '1 x cpu'
    with open(os.path.join(folder, 'manifest.json'), 'rb') as file:
        assert session['data'] == hashlib.sha256(file.read()).hexdigest()
    assert checkpoints.load_model_config(directory).channels == 8
    values = {(value.tag, event.step): value for path in tmp_path.glob('whole/training/events*')
              for event in tf.train.summary_iterator(str(path)) for value in event.summary.value}
    tags = {tag for tag, _ in values}
    assert values['watch_input/read_mb_per_second', 4].simple_value > 0 and ' samples ready, psnr' in whole.stdout
    assert {'configuration', 'origin', 'train/loss', 'train/psnr', 'watch_offset/l1',
            'watch_speed/samples_per_second', 'custom_scalars__config__', '_hparams_/experiment',
            '_hparams_/session_end_info'} <= tags
    assert values['_hparams_/session_start_info', 0].metadata.plugin_data.plugin_name == 'hparams'
    assert b'--ema_decay=0.9' in values['origin', 0].tensor.string_val[0]
    assert values['train/psnr', 1].metadata.summary_description.startswith('PSNR in dB of the training crops')
    assert not values['train/psnr', 2].metadata.summary_description   # once is enough
    assert values['watch_update/ema_decay', 4].simple_value == pytest.approx(4 / 13)   # after three others
    # without its last checkpoint it is a run that was killed after step 2
    for path in tmp_path.glob('whole/model.ckpt-4*'):
        path.unlink()
    again = train('whole')
    assert again.returncode == 0, again.stderr
    assert 'continuing %s at step 2' % directory in again.stdout
    assert steps(again.stdout) == {step: line for step, line in steps(whole.stdout).items() if step > 2}


def test_sets_with_weights(folder, tmp_path, monkeypatch, capsys):
    """Log and curves show the share and the loss of each set, which add up to the whole."""
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
    other = tiny_training.make_set(tmp_path / 'other' / 'tfrecords', height=16, width=16, seed=1)
    sets = '%s:1,%s:3' % (folder, other)
    assert Run(*tiny_training.configs(sets, tmp_path / 'run', batch_size=8, steps=4)).train() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if 'Step:' in line]
    found = [re.search(r', sets set:(\d+)% (\S+) other:(\d+)% (\S+)$', line).groups() for line in lines]
    assert len(found) == 4 and all(int(share) + int(rest) == 100 for share, _, rest, _ in found)
    values = {(value.tag, event.step): value.simple_value for path in tmp_path.glob('run/training/events*')
              for event in tf.train.summary_iterator(str(path)) for value in event.summary.value}
    for step in range(1, 5):
        parts = [values['watch_data/share/' + name, step] * values.get(('watch_data/loss_per_pixel/' + name, step), 0.)
                 for name in ('set', 'other')]
        assert sum(parts) == pytest.approx(values['train/loss_per_pixel', step], rel=1e-4)
    assert sum(values['watch_data/share/other', step] for step in range(1, 5)) > 2
    with open(str(tmp_path / 'run' / 'config.json')) as file:
        config = json.load(file)
    assert config['data']['data_dir'] == sets and len(config['sessions'][0]['data']) == 64


@pytest.mark.parametrize('arguments, facts', [
    (['--num_frames=4', '--learning_rate_min=1', '--hosts=a,a'],
     ['num_frames is 4', 'odd', 'learning_rate_min is 1', 0.0004, 'hosts names a', 'more than once']),
    (['--device=tpu'], ['--device=tpu', '<auto|cpu|gpu|npu>']),
    (['--model_dir='], ['--model_dir', 'not given'])])
def test_wrong_command_lines(folder, tmp_path, run_program, arguments, facts):
    check_error(run_program('edvr.train', *(tiny_training.arguments(folder, tmp_path) + arguments)), *facts)
    assert not os.listdir(str(tmp_path))


@pytest.mark.parametrize('fields, facts', [
    (dict(num_frames=5), ['num_frames=3', 'num_frames=5', '--num_frames=3']),
    (dict(scale=2), ['scale=4', 'scale=2', '--scale=4']),
    (dict(hr_in=True, patch_size=16), ['scale=4', 'scale=1', '--scale=4', 'without --hr_in']),
    (dict(patch_size=64), ['patch_size', 64, 'crop']),
    (dict(patch_size=6), ['patch_size', 6, 'multiple of 4']),
    (dict(data_dir='/nowhere'), ['/nowhere', 'no such folder']),
    (dict(tsa_only_steps=5, with_tsa=False), ['tsa_only_steps', 5, 'no TSA']),
    (dict(init_from='/nowhere'), ['/nowhere', 'directory with checkpoints', 'prefix']),
    (dict(val_dir='/nowhere', eval_every=3), ['/nowhere']),
    (dict(device='npu', iterations_per_loop=4, steps=6), ['--steps=6', 'multiple', '--iterations_per_loop=4'])])
def test_what_does_not_fit_is_refused_before_anything_starts(folder, tmp_path, fields, facts):
    with raises_facts(UserError, *facts):
        Run(*tiny_training.configs(**dict(dict(folder=folder, model_dir=tmp_path / 'run'), **fields))).train()
    assert not checkpoints.prefixes(str(tmp_path / 'run')) and not (tmp_path / 'run' / 'config.json').exists()


def test_all_problems_are_reported_together(folder, tmp_path):
    with raises_facts(UserError, '--model_dir', '/nowhere', 'no such folder', '/nothing', '/no/clips', '--steps=6',
                      '--iterations_per_loop=4', 'JOB_ID'):
        Run(*tiny_training.configs('/nowhere', '', init_from='/nothing', val_dir='/no/clips', eval_every=3,
                                   device='npu', iterations_per_loop=4, steps=6))


def test_changed_configuration_and_override(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
    schedule = dict(cosine_periods=(9,))
    assert Run(*tiny_training.configs(folder, tmp_path, steps=2, **schedule)).train() == 0
    with raises_facts(UserError, 'beta2', 0.99, 0.9, '--override_config'):
        Run(*tiny_training.configs(folder, tmp_path, steps=3, beta2=.9, **schedule)).train()
    schedule['override_config'] = True
    assert Run(*tiny_training.configs(folder, tmp_path, steps=3, beta2=.9, **schedule)).train() == 0
    output = capsys.readouterr().out
    assert 'configuration overridden: beta2 was 0.99, is 0.9' in output and 'Step:3' in output


@pytest.mark.parametrize('name, content, facts', [
    ('model.ckpt-2.index', None, ['model.ckpt-2.index', 'missing', 'step 1']),
    ('checkpoint', 'model_checkpoint_pa', ['checkpoint', 'names no checkpoint', 'step 2']),
    ('checkpoint', b'\xff\x00', ['checkpoint', 'not text', 'step 2']),
    ('model.json', '{"channels": 8', ['model.json', 'not JSON', 'written again']),
    ('model.json', '{"channels": 8}', ['model.json', 'num_frames is missing', 'written again'])])
def test_a_damaged_small_file_of_a_run_is_one_line(folder, tmp_path, monkeypatch, capfd, name, content, facts):
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
    run = tmp_path / 'run'
    assert Run(*tiny_training.configs(folder, run, steps=2, save_every=1, cosine_periods=(9,))).train() == 0
    before, healthy = capfd.readouterr().err, checkpoints.load_model_config(str(run))
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert Run(*tiny_training.configs(folder, run, steps=3, save_every=1, cosine_periods=(9,))).train() == 0
    warnings = [line for line in capfd.readouterr().err.splitlines() if line.startswith('warning: ')]
    assert len(warnings) == 1 and 'warning: ' not in before
    check_facts(warnings[0], *facts)
    assert checkpoints.load_model_config(str(run)) == healthy and checkpoints.state_problem(str(run)) is None


def test_a_manifest_with_other_sizes_than_the_records_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
    folder = tiny_training.make_set(tmp_path / 'set', windows=4, shards=2)
    path = tmp_path / 'set' / 'manifest.json'
    values = json.loads(path.read_text())
    assert values['sizes'] == [[20, 24]]
    path.write_text(json.dumps(dict(values, sizes=[[52, 24 + 32]])))
    with raises_facts(UserError, 'shard-00000-of-00002.tfrecord', '20x24', 'manifest'):
        Run(*tiny_training.configs(folder, tmp_path / 'run', patch_size=32)).train()


def test_a_set_without_checksums_of_records_is_mentioned_once(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
    assert Run(*tiny_training.configs(folder, tmp_path / 'run', steps=1)).train() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if 'no checksums of its records' in line]
    assert len(lines) == 1
    check_facts(lines[0], folder, 'exchanged', 'pack the set again')


def test_options_of_a_run_without_checkpoint_may_change(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
    Run(*tiny_training.configs(folder, tmp_path / 'first', steps=1)).train()
    second = functools.partial(tiny_training.configs, folder, tmp_path / 'second', init_from=str(tmp_path / 'first'))
    narrow = functools.partial(tiny_training.network, width=4)
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network(narrow))
    with pytest.raises(UserError, match='network is another one'):
        Run(*second(steps=1, batch_size=1)).train()
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
    assert Run(*second(steps=1, batch_size=2)).train() == 0
    assert 'overridden' not in capsys.readouterr().out


def test_cut_checkpoint_is_not_picked_up(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
    configuration = tiny_training.configs(folder, tmp_path, steps=4, save_every=2)
    Run(*configuration).train()
    with open(str(tmp_path / 'model.ckpt-4.data-00000-of-00001'), 'r+b') as file:
        file.truncate(100)
    first = steps(capsys.readouterr().out)
    assert Run(*configuration).train() == 0
    output = capsys.readouterr().out
    assert 'at step 2' in output and steps(output) == {step: first[step] for step in (3, 4)}
    assert checkpoints.defect(str(tmp_path / 'model.ckpt-4')) is None


def test_damaged_record_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
    damaged = tiny_training.make_set(tmp_path / 'set')
    shard = sorted((tmp_path / 'set').glob('*.tfrecord'))[0]
    flip_byte(str(shard), -100)   # in the last record
    with pytest.raises(UserError) as caught:
        Run(*tiny_training.configs(damaged, tmp_path / 'run', steps=50)).train()
    assert re.search(r'record \d+ of %s is damaged \(its checksum is wrong.*--skip_corrupt_records' % shard,
                     str(caught.value))
