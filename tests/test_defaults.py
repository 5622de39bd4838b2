"""Matching defaults: each program reads the output of the one before it; the clips that are held out."""
import json
import os

import pytest
from facts import check_error, check_facts, raises_facts
from packed import write_clips

from data_tools.base import paths
from data_tools.base.errors import UserError
from data_tools.media import splits
from data_tools.packing.config import CheckConfig, PackConfig
from data_tools.packing.defaults import resolve_defaults
from data_tools.record.manifest import Manifest
from data_tools.reds.config import DownloadConfig, RegroupConfig
from data_tools.reds.download import get_subsets
from data_tools.reds.regroup import regroup
from data_tools.sample.clips import make_clips
from data_tools.sample.config import SampleConfig
from edvr.config import ConfigError, DataConfig, TrainingConfig
from edvr.config.export import ExportConfig, ExportWeightsConfig
from edvr.config.infer import InferConfig
from edvr.config.restoration import EvaluateConfig, RestoreConfig
from edvr.training import validation_clips


def test_each_program_reads_what_the_one_before_it_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    os.makedirs(paths.RUN)
    assert (SampleConfig().output_dir == RegroupConfig().root_dir == PackConfig().data_dir == EvaluateConfig().data_dir
            == InferConfig().input == 'data/REDS')
    packed, notes = resolve_defaults(PackConfig())
    assert packed.output_dir == CheckConfig().data_dir == DataConfig().data_dir == 'data/REDS/tfrecords'
    assert notes == ['shards: data/REDS/tfrecords']
    assert (TrainingConfig().model_dir == RestoreConfig().checkpoint == ExportConfig().checkpoint
            == ExportWeightsConfig().checkpoint == 'outputs/edvr')
    assert ExportWeightsConfig().destination == 'outputs/edvr/EDVR.pth'
    assert ExportConfig().destination == 'outputs/edvr/EDVR.pb'
    assert ExportConfig(checkpoint='outputs/edvr/model.ckpt-5').destination == 'outputs/edvr/EDVR.pb'
    assert InferConfig().output == 'outputs/edvr/test'


def test_sample_clips_are_large_enough_for_the_defaults_of_training():
    config = SampleConfig()
    assert min(config.size) >= DataConfig().patch_size * config.scale
    assert set(splits.REDS4) <= {'%03d' % number for number in range(config.num_clips)}


def test_sample_clips_hold_out_reds4(tmp_path):
    make_clips(str(tmp_path / 'many'), 21, 1, 16, 16)
    assert splits.held_out(str(tmp_path / 'many')) == (
        ['000', '011', '015', '020'], 'held out by %s' % (tmp_path / 'many' / 'sets' / 'val.json'))
    with open(str(tmp_path / 'many' / 'sets' / 'train.json')) as file:
        assert len(json.load(file)) == 17
    make_clips(str(tmp_path / 'none'), 2, 1, 16, 16, first_clip=1)   # none of REDS4
    make_clips(str(tmp_path / 'only'), 1, 1, 16, 16)                 # nothing would be left to train
    for name in ('none', 'only'):
        assert splits.held_out(str(tmp_path / name)).names is None and not (tmp_path / name / 'sets').exists()


def test_reds_as_unpacked_holds_out_reds4(tmp_path):
    for name in splits.REDS4 + ('001',):
        (tmp_path / 'train' / 'train_sharp' / name).mkdir(parents=True)
    assert splits.choose('auto', str(tmp_path)) == (list(splits.REDS4), 'REDS4')
    assert splits.choose('', str(tmp_path)) == (None, '')
    assert splits.choose('000,REDS4', str(tmp_path)) == (list(splits.REDS4), '')


def test_packing_leaves_out_what_is_held_out_unless_clips_are_named(tmp_path):
    splits.write(str(tmp_path), ['a', 'b', 'c'], ['c'])
    config, notes = resolve_defaults(PackConfig(data_dir=str(tmp_path)))
    assert config.exclude == 'c' and config.output_dir == str(tmp_path / 'tfrecords')
    assert notes[1] == 'left out: c (held out by %s; --exclude= packs them too)' % (tmp_path / 'sets' / 'val.json')
    for options, exclude in ((dict(clips='c'), ''), (dict(exclude=''), ''), (dict(exclude='a'), 'a')):
        settled, notes = resolve_defaults(PackConfig(data_dir=str(tmp_path), output_dir='x', **options))
        assert (settled.exclude, settled.output_dir, notes) == (exclude, 'x', [])


def test_drawn_clips_do_not_mix_with_reds(tmp_path):
    make_clips(str(tmp_path), 1, 1, 16, 16)
    with raises_facts(UserError, 'make_sample_clips', 'REDS', 'remove it'):
        regroup(str(tmp_path), str(tmp_path))
    with raises_facts(UserError, 'make_sample_clips', 'REDS', 'remove it'):   # before 41 GB are there
        get_subsets(DownloadConfig(root_dir=str(tmp_path), train_sharp=True, base_url='http://127.0.0.1:9'))
    assert not (tmp_path / 'downloads').exists()


@pytest.fixture(scope='module')
def data_set(tmp_path_factory):
    """A folder of three clips, of which 001 is held out, with an empty folder for shards."""
    root = write_clips(tmp_path_factory.mktemp('data'), lengths=(3, 3, 3), size=(16, 16))
    splits.write(root, ['000', '001', '002'], ['001'])
    return root


def find(data_dir, **training):
    return validation_clips.find(TrainingConfig(**dict(dict(eval_every=5), **training)), [(data_dir, None)], 4)


def test_validation_clips_are_those_held_out_beside_the_shards(data_set):
    shards = os.path.join(data_set, 'tfrecords')
    clips, note = find(shards)
    assert [clip.name for clip in clips] == ['001'] and note[0] == 'validation: 001 of %s' % data_set
    clips, _ = find('elsewhere', val_dir=data_set, val_clips='')
    assert [clip.name for clip in clips] == ['000', '001', '002']
    assert [clip.name for clip in find('elsewhere', val_dir=data_set, val_clips='002')[0]] == ['002']
    assert find(shards, eval_every=0) == ([], ['validation: off (--eval_every=0)'])
    assert find('elsewhere/x') == (
        [], ['validation: off (no clips are held out in elsewhere; name some with --val_dir)'])


def test_named_validation_clips_are_taken_beside_the_shards(data_set, tmp_path):
    shards = os.path.join(data_set, 'tfrecords')
    clips, notes = find(shards, val_clips='002,000')
    assert [clip.name for clip in clips] == ['000', '002']
    check_facts('\n'.join(notes), 'validation: 000, 002 of %s' % data_set, '--clips=002,000')
    assert [clip.name for clip in find(shards, val_clips='')[0]] == ['000', '001', '002']
    with raises_facts(UserError, '--clips', '007', data_set, '000, 001, 002'):
        find(shards, val_clips='000,007')
    without_list = write_clips(tmp_path, lengths=(3, 3), size=(16, 16))
    assert [clip.name for clip in find(os.path.join(without_list, 'tfrecords'), val_clips='001')[0]] == ['001']
    with raises_facts(UserError, 'nowhere'):
        find(str(tmp_path / 'nowhere' / 'tfrecords'), val_clips='001')
    for clips, notes in (find(str(tmp_path / 'nowhere' / 'tfrecords'), val_clips=''),   # named are none
                         validation_clips.find(TrainingConfig(eval_every=5, val_clips='001'), [], 4)):
        assert clips == [] and notes[0].startswith('validation: off (')


def test_validation_clips_of_another_scale_are_no_error_unless_named(data_set):
    training = TrainingConfig(eval_every=5)
    clips, note = validation_clips.find(training, [(os.path.join(data_set, 'tfrecords'), None)], 2)
    assert clips == [] and 'for scale 2' in note[0]
    assert note[0].startswith('validation: off (clip 001 has GT frames')
    with pytest.raises(UserError, match='for scale 2'):
        validation_clips.find(training.replace(val_dir=data_set), [('elsewhere', None)], 2)


@pytest.mark.parametrize('program, facts', [
    ('data_tools.make_tfrecords', ['data/REDS', 'bash scripts/prepare_reds.sh',
                                   'python -m data_tools.make_sample_clips --output_dir=data/REDS']),
    ('edvr.train', ['data/REDS/tfrecords', 'no such folder', 'python -m data_tools.make_tfrecords']),
    ('edvr.export', ['outputs/edvr', 'python -m edvr.train']),
    ('edvr.inspect_data', ['data/REDS/tfrecords', 'no such folder', 'python -m data_tools.make_tfrecords'])])
def test_what_is_missing_names_the_command_that_makes_it(run_program, tmp_path, program, facts):
    check_error(run_program(program, cwd=str(tmp_path)), *facts)
    assert os.listdir(str(tmp_path)) == []


def test_a_folder_of_clips_or_none_in_place_of_a_set(data_set, tmp_path):
    (tmp_path / 'REDS' / 'tfrecords').mkdir(parents=True)
    with raises_facts(UserError, 'REDS', 'manifest.json', 'not a set'):
        Manifest.read(str(tmp_path / 'REDS'))
    (tmp_path / 'REDS' / 'tfrecords' / 'manifest.json').write_text('{}')
    inside = str(tmp_path / 'REDS' / 'tfrecords')
    with raises_facts(UserError, 'did you mean --data_dir=' + inside):
        Manifest.read(str(tmp_path / 'REDS'))
    with raises_facts(UserError, 'nowhere', 'no such folder', 'data_tools.make_tfrecords'):
        Manifest.read(str(tmp_path / 'nowhere'))


def test_a_val_dir_without_validation_is_refused():
    with raises_facts(ConfigError, 'val_dir is clips', 'validation is off', '--eval_every=5000'):
        TrainingConfig(val_dir='clips')
    assert TrainingConfig(val_dir='clips', image_every=5).val_dir == 'clips'
