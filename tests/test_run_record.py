"""The records of a run: file of scalars over resumes, events of earlier versions, charts, table of hyperparameters."""
import json
import os
import re
import resource

import pytest
import tensorflow.compat.v1 as tf
from facts import check_facts, raises_facts

from data_tools.base.config import names_with
from data_tools.base.durations import duration
from data_tools.base.errors import UserError
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.tensorboard import curves
from edvr.tensorboard.run_events import RunEvents
from edvr.tensorboard.run_record import RunRecord
from edvr.tensorboard.scalar_file import ScalarFile
from edvr.training.rundir import configuration


def lines(path):
    with open(str(path)) as file:
        return [json.loads(line) for line in file]


def values(folder):
    """[(step, tag, tf.Summary.Value)] of the events in a folder."""
    return [(event.step, value.tag, value) for path in sorted(folder.glob('events*'))
            for event in tf.train.summary_iterator(str(path)) for value in event.summary.value]


def write(directory, step, *steps):
    with RunRecord(str(directory), step) as record:
        for each in steps:
            record.scalars(each, {'train/loss': float(each), 'watch_speed/device_hours': each / 4})
        return record.last


def test_a_resumed_run_has_each_step_once(tmp_path):
    path = tmp_path / 'scalars.jsonl'
    write(tmp_path, 0, 1, 2, 3)
    first = path.read_bytes()
    last = write(tmp_path, 2, 3, 4)   # from the checkpoint of step 2
    assert [point['step'] for point in lines(path)] == [1, 2, 3, 4]
    assert path.read_bytes().startswith(first[:first.index(b'{"step": 3')])
    assert last['watch_speed/device_hours'] == .75   # what was lost cost hours too
    inode = os.stat(str(path)).st_ino
    write(tmp_path, 4)
    assert os.stat(str(path)).st_ino == inode   # nothing to remove: it is not written again


def test_what_is_not_finite_is_null(tmp_path):
    path = str(tmp_path / 'a.jsonl')
    file = ScalarFile(path, 0)
    file.add(1, {'b': float('nan'), 'c': float('-inf'), 'a': 2.5})
    file.close()
    point, = lines(path)
    assert dict(point, time=0) == {'step': 1, 'time': 0, 'a': 2.5, 'b': None, 'c': None}


@pytest.mark.parametrize('torn', [b'{"step": 3, "train/lo', b'{', b'\xff\xfe', b'\0' * 9])
def test_a_torn_last_line_is_removed(tmp_path, capsys, torn):
    path = tmp_path / 'scalars.jsonl'
    write(tmp_path, 0, 1, 2)
    with open(str(path), 'ab') as file:
        file.write(torn)
    write(tmp_path, 2, 3)
    assert [point['step'] for point in lines(path)] == [1, 2, 3] and not capsys.readouterr().err


@pytest.mark.parametrize('damage', [b'not JSON\n', b'[1]\n', b'{"step": "3"}\n', b'{}\n', b'\xff\n', b'\n'])
def test_lines_that_are_no_points_are_removed_and_counted(tmp_path, capsys, damage):
    path = tmp_path / 'scalars.jsonl'
    write(tmp_path, 0, 1)
    with open(str(path), 'ab') as file:
        file.write(damage)
    write(tmp_path, 5, 6)
    assert [point['step'] for point in lines(path)] == [1, 6]
    check_facts(capsys.readouterr().err, 'scalars.jsonl', '1 lines')


def test_what_cannot_be_written_is_reported(tmp_path):
    (tmp_path / 'scalars.jsonl').mkdir()
    with raises_facts(UserError, 'scalars.jsonl', 'cannot write'):
        RunRecord(str(tmp_path), 0)
    file = ScalarFile(str(tmp_path / 'a.jsonl'), 0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with raises_facts(UserError, 'a.jsonl', 'ulimit -f'):
            for step in range(100):
                file.add(step, {'train/loss': 1.})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        file.close()


def test_curves_of_a_run_of_version_1_go_on(tmp_path):
    """In their place, by their names; the file of scalars has today's."""
    with RunEvents(str(tmp_path), 0, former_names=True) as events:
        events.scalars(1, {'watch_offset/l1': 1.})
    with RunRecord(str(tmp_path), 1) as record:
        record.scalars(2, {'watch_offset/l1': 2., 'watch_update/gradient_norm': 3., 'watch_data/share/A/B': .5})
    found = {(step, tag) for step, tag, _ in values(tmp_path)}
    assert {(1, 'offset/l1'), (2, 'offset/l1'), (2, 'train/gradient_norm'), (2, 'data/share/A/B')} <= found
    assert not (tmp_path / 'training').exists()
    point, = lines(tmp_path / 'scalars.jsonl')
    assert point['watch_offset/l1'] == 2 and point['watch_data/share/A/B'] == .5
    assert {value.metadata.summary_description for _, tag, value in values(tmp_path) if tag == 'data/share/A/B'} == {
        curves.CURVES['watch_data/share'].description}


def test_loss_psnr_and_rate_are_first():
    groups = sorted({name.split('/')[0] for name in curves.CURVES})
    assert groups[:2] == ['train', 'validation']
    assert sorted(name for name in curves.CURVES if name.startswith('train/')) == [
        'train/learning_rate', 'train/loss', 'train/loss_per_pixel', 'train/psnr']


def test_one_chart_has_the_psnr_of_training_validation_and_bicubic(tmp_path):
    with RunRecord(str(tmp_path), 0) as record:
        record.scalars(1, {'train/psnr': 20., 'validation/psnr': 22., curves.BICUBIC: 21.})
    from tensorboard.plugins.custom_scalar import layout_pb2
    text, = [value.tensor.string_val[0] for _, tag, value in values(tmp_path / 'training') if 'custom_scalars' in tag]
    categories = layout_pb2.Layout.FromString(text).category
    assert [category.title for category in categories] == ['training', 'input']
    patterns = categories[0].chart[0].multiline.tag
    shown = {(folder, tag): value.simple_value for folder in ('training', 'bicubic')
             for _, tag, value in values(tmp_path / folder) if any(re.match(pattern, tag) for pattern in patterns)}
    assert shown == {('training', 'train/psnr'): 20, ('training', 'validation/psnr'): 22,
                     ('bicubic', 'validation/psnr'): 21}


def test_hyperparameters_keep_their_types(tmp_path):
    """The same on all versions of TensorBoard, whose own function makes numbers of bools in some of them."""
    config = configuration.resolved(ModelConfig(), DataConfig(), TrainingConfig(), RuntimeConfig(), 2)
    wanted = dict(steps=600000., loss='charbonnier', learning_rate=4e-4, offset_rate=1., ema_decay=0., patch_size=64.,
                  seed=0., network='edvr', channels=64., num_reconstruct_block=10., with_tsa=True, whole_batch=64.)
    found = configuration.hparams(config)
    assert found == wanted and list(found) == list(wanted)
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in wanted.items()}
    assert set(wanted) - {'whole_batch'} == names_with('compared', ModelConfig, DataConfig, TrainingConfig,
                                                       RuntimeConfig)
    with RunRecord(str(tmp_path), 0) as record:
        record.hparams(0, found, 'run')
        record.ended(9)
    from tensorboard.plugins.hparams import api_pb2, metadata
    data = {tag: value.metadata.plugin_data.content for _, tag, value in values(tmp_path / 'training')}
    row = metadata.parse_session_start_info_plugin_data(data['_hparams_/session_start_info'])
    assert row.group_name == 'run' and {
        name: getattr(value, value.WhichOneof('kind')) for name, value in row.hparams.items()} == wanted
    table = metadata.parse_experiment_plugin_data(data['_hparams_/experiment'])
    assert [info.name for info in table.hparam_infos] == list(wanted)
    kinds = {bool: api_pb2.DATA_TYPE_BOOL, str: api_pb2.DATA_TYPE_STRING, float: api_pb2.DATA_TYPE_FLOAT64}
    assert [info.type for info in table.hparam_infos] == [kinds[type(value)] for value in wanted.values()]
    metrics = [info.name.tag for info in table.metric_infos]
    assert metrics[0] == 'validation/psnr_best' and set(metrics) <= set(curves.CURVES)
    end = metadata.parse_session_end_info_plugin_data(data['_hparams_/session_end_info'])
    assert end.status == api_pb2.STATUS_SUCCESS


@pytest.mark.parametrize('seconds, text', [
    (0, '0 s'), (59.4, '59 s'), (59.6, '1 min 0 s'), (725, '12 min 5 s'), (3599.7, '1 h 0 min'),
    (11520, '3 h 12 min'), (14390, '4 h 0 min'), (86399, '1 d 0 h'), (187200, '2 d 4 h'), (-3, '0 s')])
def test_durations(seconds, text):
    assert duration(seconds) == text
