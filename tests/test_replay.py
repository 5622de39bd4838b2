"""A replayed step has the bits that the training saw, and the numbers that it recorded; what cannot be is refused."""
import json
import os
import re

import numpy as np
import preloaded
import pytest
import tiny_training
from facts import check_facts, raises_facts
from npu_fixtures import no_job, rank_of_a_job  # noqa: F401 fixtures
from packed import edit_json, pack, write_clips
from training_runs import PROGRAM, environment

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import images
from data_tools.record.manifest import Manifest
from edvr import checkpoints, replay
from edvr.config import RuntimeConfig
from edvr.config.replay import ReplayConfig
from edvr.devices import device_of
from edvr.devices.npu import NpuDevice
from edvr.network.networks import NETWORKS
from edvr.replaying import batch, examine, past_run, report
from edvr.training.rundir.run_state import RunState
from edvr.training.training_run import Run


@pytest.fixture(scope='module')
def sets(tmp_path_factory):
    """Two sets, of other sizes."""
    root = tmp_path_factory.mktemp('replay')
    return [tiny_training.make_set(root / name, height=side, width=side, seed=side)
            for name, side in (('first', 20), ('second', 16))]


@pytest.fixture
def train(tmp_path, monkeypatch, sets):
    """Trains the tiny network, whose batches are written into `seen`; returns the directory of the run."""
    def train(**options):
        monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network(tiny_training.dumped(str(tmp_path / 'seen'))))
        directory = tmp_path / 'run'
        options = dict(dict(steps=4, save_every=1, keep_last=9, cosine_periods=(9,)), **options)
        assert Run(*tiny_training.configs(options.pop('data_dir', sets[0]), directory, **options)).train() == 0
        monkeypatch.setitem(NETWORKS, 'edvr', tiny_training.as_network())
        return str(directory)
    return train


def seen(folder, step):
    """The LQ of the samples that the training saw at a step, in any order: sorted list of bytes."""
    names = [name for name in os.listdir(str(folder)) if name.startswith('%d_' % step)]
    return sorted(lq.tobytes() for name in names for lq in np.load(os.path.join(str(folder), name)))


def rebuilt(directory, step):
    return sorted(sample.lq.tobytes() for sample in batch.rebuild(past_run.read(directory, step)))


@pytest.mark.parametrize('options', [
    dict(batch_size=4, micro_batches=2), dict(batch_size=2, cpu_replicas=2),
    dict(batch_size=2, cpu_replicas=2, crops_per_record=2),
    dict(batch_size=3, crops_per_record=2, reverse=True, noise_kinds=('gaussian', 'speckle'), noise_probability=.7)])
def test_batches_are_those_of_the_training(train, tmp_path, options):
    directory = train(**options)
    for step in (1, 2, 4):
        expected = seen(tmp_path / 'seen', step)
        assert len(set(expected)) == len(expected) == options['batch_size'] * options.get('cpu_replicas', 1)
        assert rebuilt(directory, step) == expected


def test_batches_of_a_mixture_of_a_run_that_was_resumed(train, tmp_path, sets):
    data = '%s:2,%s:1' % tuple(sets)
    train(data_dir=data, batch_size=8, steps=2)
    directory = train(data_dir=data, batch_size=8)
    run = past_run.read(directory, 4)
    samples = batch.rebuild(run)
    assert sorted(sample.lq.tobytes() for sample in samples) == seen(tmp_path / 'seen', 4)
    assert {sample.folder for sample in samples} == set(sets)
    for sample in samples:
        centre = sample.lq[1]
        np.testing.assert_array_equal(sample.gt, np.repeat(np.repeat(centre, 4, 0), 4, 1))
        shards = [shard.name for shard in Manifest.read(sample.folder).shards]
        assert sample.clip == 'clip%d' % shards.index(sample.shard)
    assert [sample.number for sample in samples] == list(range(24, 32))


@pytest.mark.parametrize('set_options, options', [
    (dict(make_lq=True, degradation='none', scale=1), dict(degradation='realistic')),
    (dict(encoding='tiles'), dict(reverse=True))], ids=['on the fly', 'packed'])
def test_crops_and_intervals(train, tmp_path, set_options, options):
    """Checks which pixels of which frames a sample has."""
    source = write_clips(tmp_path / 'clips', (9, 8))
    folder = pack(source, tmp_path / 'set', reach=2, fill='none', **set_options)
    directory = train(data_dir=folder, intervals=(1, 2), steps=3, batch_size=4, **options)
    samples = [sample for step in (2, 3) for sample in batch.rebuild(past_run.read(directory, step))]
    assert sorted(sample.lq.tobytes() for sample in samples[:4]) == seen(tmp_path / 'seen', 2)
    assert sorted(sample.lq.tobytes() for sample in samples[4:]) == seen(tmp_path / 'seen', 3)
    assert {sample.interval for sample in samples} == {1, 2}
    assert len({tuple(sample.flips) for sample in samples}) > 2
    for sample in samples:
        frames = [sample.frame + sample.interval * step for step in (-1, 0, 1)]
        np.testing.assert_array_equal(sample.gt, cut(source, 'truth', sample, sample.frame, 1))
        if 'degradation' not in options:
            order = frames[::-1] if 'backwards' in sample.flips else frames
            np.testing.assert_array_equal(sample.lq, [cut(source, 'blur4', sample, frame, 4) for frame in order])


def cut(source, side, sample, frame, scale):
    """Returns the crop of a sample from a frame of its clip, uint8 [p, p, 3]."""
    image = images.read_image(os.path.join(source, side, sample.clip, '%08d.png' % frame))
    y, x, size = sample.y // scale, sample.x // scale, 32 // scale
    image = image[y:y + size, x:x + size]
    image = image[:, ::-1] if 'horizontal' in sample.flips else image
    image = image[::-1] if 'vertical' in sample.flips else image
    return image.swapaxes(0, 1) if 'transpose' in sample.flips else image


def test_two_ranks(no_job, tmp_path, sets):  # noqa: F811
    arguments = tiny_training.arguments(sets[0], tmp_path / 'run', num_devices=2, batch_size=1, steps=2, save_every=1)
    done = preloaded.run(PROGRAM, arguments, 200, env=environment(TINY_TRAINING_DUMP=str(tmp_path / 'seen')))
    assert done.returncode == 0, done.stdout + done.stderr
    run = past_run.read(str(tmp_path / 'run'), 2)
    samples = batch.rebuild(run)
    assert [sample.rank for sample in samples] == [0, 1] and [sample.number for sample in samples] == [2, 3]
    assert sorted(sample.lq.tobytes() for sample in samples) == seen(tmp_path / 'seen', 2)


@pytest.mark.parametrize('options', [dict(), dict(loss_reduction='mean', loss='l2')])
def test_numbers_are_those_that_the_training_recorded(train, monkeypatch, capsys, options):
    """With the checkpoint from just before the step."""
    directory = train(batch_size=4, **options)
    monkeypatch.setattr(replay.flags, 'build', lambda cls: ReplayConfig(model_dir=directory, step=4, kernels='tf'))
    replay.main()
    printed = capsys.readouterr().out
    check_facts(printed, 'step 4', '4 samples', 'model.ckpt-3', 'exactly those of the step')
    with open(os.path.join(directory, 'replay', 'step_4.json')) as file:
        found = json.load(file)
    recorded = found['recorded']
    assert found['loss'] == pytest.approx(recorded['train/loss'], rel=1e-5)
    assert found['gradient_norm'] == pytest.approx(recorded['watch_update/gradient_norm'], rel=1e-4)
    samples = found['samples']
    assert np.mean([each['psnr'] for each in samples]) == pytest.approx(recorded['train/psnr'], rel=1e-5)
    assert np.mean([each['offsets']['l1'] for each in samples]) == pytest.approx(recorded['watch_offset/l1'], rel=1e-4)
    assert sum(each['loss'] for each in samples) == pytest.approx(found['loss'])
    assert sum(norm ** 2 for norm in found['layers'].values()) == pytest.approx(found['gradient_norm'] ** 2)
    assert all({'x', 'y', 'flips', 'interval'} <= set(each) for each in samples)
    assert 'edvr/pcd_align/conv_offset' in found['layers'] and found['updates_before_step'] == 0
    sheet = files.read_bytes(os.path.join(directory, 'replay', 'step_4.png'))
    assert sheet.startswith(b'\x89PNG') and all(each['clip'] in printed for each in samples)


def test_what_is_not_finite_is_shown_first(train, tmp_path, monkeypatch):
    run = past_run.read(train(batch_size=12, steps=1), 1)
    samples = batch.rebuild(run)
    losses = [float(index) for index in range(12)]
    losses[5], losses[8] = float('nan'), float('inf')
    found = [examine.SampleNumbers(loss, loss, 30., {}, float('nan') if index == 2 else 1., sample.gt / np.float32(255))
             for index, (loss, sample) in enumerate(zip(losses, samples))]
    layers = dict({'layer%d' % index: float(index) for index in range(12)}, layer4=float('nan'), layer7=float('inf'))
    captions = []
    monkeypatch.setattr(report.contact_sheet, 'sheet', lambda cells, *sizes: captions.extend(
        text for text, _ in cells) or cells[0][1][-1])
    numbers = examine.Numbers(found, float('nan'), float('nan'), layers)
    lines = report.write(str(tmp_path / 'out'), run, samples, numbers, 'model.ckpt-0')
    shown = [int(re.search(r', sample (\d+):', line).group(1)) for line in lines if ', sample ' in line]
    assert set(shown[:3]) == {2, 5, 8} and shown[3:] == [11, 10, 9, 7, 6]
    assert [int(re.search(r', sample (\d+):', text).group(1)) for text in captions] == shown + [4, 3, 1, 0]
    named = [line.split()[0] for line in lines if line.startswith('  layer')]
    assert set(named[:2]) == {'layer4', 'layer7'} and named[2:] == ['layer11', 'layer10', 'layer9', 'layer8', 'layer6',
                                                                   'layer5']


def test_on_an_npu_it_is_no_rank_of_a_job(train, rank_of_a_job, monkeypatch):  # noqa: F811
    """RANK_TABLE_FILE would make the adapter wait for the other ranks."""
    directory, seen = train(steps=1), {}
    monkeypatch.setattr(NpuDevice, 'require', lambda self: seen.update(os.environ))
    monkeypatch.setattr(examine, 'examine', lambda *arguments: examine.Numbers([], 0., 0., {}))
    monkeypatch.setattr(report, 'write', lambda *arguments: [])
    monkeypatch.setattr(replay.flags, 'build', lambda cls: ReplayConfig(model_dir=directory, step=1, device='npu'))
    replay.main()
    assert {name: seen.get(name) for name in rank_of_a_job} == rank_of_a_job


def test_the_nearest_checkpoint_is_from_before_the_step(train, tmp_path):
    directory = train(steps=5, save_every=2)
    run = past_run.read(directory, 5)
    assert checkpoints.step_of(past_run.checkpoint_before(run)) == 4
    assert checkpoints.step_of(past_run.checkpoint_before(run._replace(step=4))) == 2
    chosen = past_run.checkpoint_before(run, os.path.join(directory, 'model.ckpt-5'))
    numbers = examine.examine(run, batch.rebuild(run)[:1], chosen, device_of(RuntimeConfig(kernels='tf')))
    assert len(numbers.samples) == 1
    for path in tmp_path.glob('run/model.ckpt-[024].*'):
        path.unlink()
    with raises_facts(UserError, 'step 5', '--checkpoint', 'model.ckpt-5', '--keep_every_hours'):
        past_run.checkpoint_before(run)


def test_seeds_after_rollbacks(tmp_path):
    state = RunState(str(tmp_path))
    assert state.data_seed(3) == 3
    for step in (100, 300):
        state.add_rollback(reason='', to=step)
    assert [state.data_seed(3, step) for step in (100, 101, 300, 301)] == [3, 3 + 7919, 3 + 7919, 3 + 2 * 7919]
    assert state.data_seed(3) == 3 + 2 * 7919
    state.begin_session(200)   # the checkpoint of step 300 was damaged
    assert RunState(str(tmp_path)).data_seed(3, 250) == 3 + 2 * 7919


def test_what_cannot_be_replayed_is_refused(train, tmp_path, sets):
    with raises_facts(UserError, str(tmp_path / 'none'), 'no training run', '--model_dir'):
        past_run.read(str(tmp_path / 'none'), 1)
    directory = train(steps=2)
    with raises_facts(UserError, 'step is 3', '2 steps', '--step=2'):
        past_run.read(directory, 3)
    with raises_facts(UserError, 'has changed since', sets[1], '--data_dir'):
        past_run.read(directory, 2, sets[1])
    assert past_run.read(directory, 2, sets[0]).step == 2
    path = os.path.join(directory, 'config.json')
    config = files.read_json(path)
    for change, facts in ((dict(deterministic=False), ['without --deterministic', '--deterministic']),
                          (dict(input='null'), ['--input=null'])):
        files.write_json(path, dict(config, data=dict(config['data'], **change)))
        with raises_facts(UserError, directory, *facts):
            past_run.read(directory, 1)


def test_steps_with_options_that_were_replaced_are_refused(train, capsys):
    train(steps=2, beta2=.9)
    directory = train(steps=3, beta2=.99, override_config=True)
    assert past_run.read(directory, 1).step == 1   # the batch and its loss are the same
    train(steps=4, beta2=.99, seed=5, override_config=True)
    with raises_facts(UserError, 'step 3', 'seed was 0, is 5', 'after step 3'):
        past_run.read(directory, 3)
    assert past_run.read(directory, 4).data.seed == 5


def test_replaced_options_that_an_earlier_version_did_not_record_are_named(train, monkeypatch, capsys):
    directory = train(steps=2)

    def replayed(step):
        config = ReplayConfig(model_dir=directory, step=step, kernels='tf')
        monkeypatch.setattr(replay.flags, 'build', lambda cls: config)
        replay.main()
        return capsys.readouterr().out

    assert 'override_config' not in replayed(2)
    edit_json(os.path.join(directory, 'config.json'), lambda config: [config.pop(name) for name in (
        'changes', 'changes_since')])
    check_facts(replayed(2), directory, 'first 2 steps', 'did not record', '--override_config')
    train(steps=4)
    check_facts(replayed(2), 'first 2 steps', '--override_config')
    assert 'override_config' not in replayed(3)


def test_the_step_must_be_given():
    with raises_facts(UserError, 'step is not given', '--step=1000'):
        ReplayConfig()
