"""Following a training: every new complete checkpoint is evaluated once, the best is kept, the end is clean."""
import json
import math
import os
import shutil
import signal
import time
import types

import numpy as np
import preloaded
import pytest
import tensorflow.compat.v1 as tf
from facts import check_facts, raises_facts
from helpers import smooth_frames, tiny_checkpoint

from data_tools.base.errors import UserError
from data_tools.media.clips import Clip
from data_tools.media.images import write_png
from edvr import checkpoints
from edvr.config.restoration import EvaluateConfig, RestoreConfig
from edvr.evaluation import measure, watch


@pytest.fixture(scope='module')
def steps(tmp_path_factory):
    """A directory with checkpoints of the steps 1, 2 and 3 (the same weights)."""
    folder = str(tmp_path_factory.mktemp('steps'))
    prefix = tiny_checkpoint(folder)
    for step in (1, 2, 3):
        copy_step(prefix, folder, step)
    os.remove(prefix + '.index')   # of the step that the shared checkpoint has
    return folder


def copy_step(prefix, folder, step):
    target = os.path.join(str(folder), '%s-%d' % (checkpoints.BASENAME, step))
    for suffix in ('.data-00000-of-00001', '.index'):
        shutil.copy(prefix + suffix, target + suffix)
    return target


def arrive(steps, folder, step):
    """Checkpoint `step` of the training appears in `folder`."""
    shutil.copy(os.path.join(steps, checkpoints.MODEL_FILE), str(folder))
    return copy_step(os.path.join(steps, '%s-%d' % (checkpoints.BASENAME, step)), folder, step)


def curve(folder, tag='edvr_psnr'):
    """[(step, value)] of TensorBoard."""
    points = []
    for name in sorted(os.listdir(os.path.join(str(folder), 'eval'))):
        if 'tfevents' in name:
            for event in tf.train.summary_iterator(os.path.join(str(folder), 'eval', name)):
                points += [(event.step, value.simple_value) for value in event.summary.value if value.tag == tag]
    return sorted(points)


def test_the_best_is_kept_and_everything_recorded(steps, tmp_path):
    arrive(steps, tmp_path, 1)
    follower = watch.Watch(str(tmp_path))
    assert [checkpoints.step_of(prefix) for prefix in follower.waiting()] == [1]
    follower.add(follower.waiting()[0], {'edvr_psnr': 25.})
    for step in (2, 3):
        arrive(steps, tmp_path, step)
    follower.add(follower.waiting()[0], {'edvr_psnr': 27.})
    follower.add(follower.waiting()[0], {'edvr_psnr': 26.})
    assert follower.waiting() == [] and follower.best['step'] == 2
    best = str(tmp_path / 'eval' / 'best')
    assert checkpoints.latest(best) == os.path.join(best, 'model.ckpt-2')
    assert checkpoints.load_model_config(best) == checkpoints.load_model_config(steps)
    assert sorted(name.split('.')[1] for name in os.listdir(best) if 'ckpt' in name) == ['ckpt-2', 'ckpt-2']
    assert curve(tmp_path) == [(1, 25.), (2, 27.), (3, 26.)]

    again = watch.Watch(str(tmp_path))   # a restart continues
    assert again.waiting() == [] and again.best['edvr_psnr'] == 27. and again.last_step == 3


def test_an_infinite_psnr_of_an_earlier_version_is_not_the_best(steps, tmp_path):
    (tmp_path / 'eval').mkdir()
    (tmp_path / 'eval' / 'results.json').write_text('[{"step": 1, "checkpoint": "c", "edvr_psnr": Infinity}]')
    follower = watch.Watch(str(tmp_path))
    assert follower.best is None and follower.last_step == 1
    follower.add(arrive(steps, tmp_path, 2), {'edvr_psnr': 25.})
    assert follower.best['step'] == 2 and checkpoints.latest(follower.best_folder).endswith('-2')


def test_results_of_other_clips_are_not_compared(steps, tmp_path, capsys):
    for step, (digest, psnr, best) in enumerate([('a', 30., 1), ('b', 25., 2), ('b', 24., 2)], 1):
        follower = watch.Watch(str(tmp_path))
        follower.measures(digest)
        follower.add(arrive(steps, tmp_path, step), {'edvr_psnr': psnr})
        assert follower.best['step'] == best and checkpoints.latest(follower.best_folder).endswith('-%d' % best)
    assert capsys.readouterr().out.count('other clips') == 1
    assert watch.Watch(str(tmp_path)).best['step'] == 2
    follower.measures('a')
    assert follower.best['step'] == 1


def test_cut_checkpoints_wait_until_they_are_whole(steps, tmp_path):
    prefix = arrive(steps, tmp_path, 2)
    data = prefix + '.data-00000-of-00001'
    with open(data, 'rb') as file:
        whole = file.read()
    with open(data, 'wb') as file:
        file.write(whole[:100])
    follower = watch.Watch(str(tmp_path))
    assert follower.waiting() == []
    with open(data, 'wb') as file:
        file.write(whole)
    assert follower.waiting() == [prefix]


def test_no_directory_is_named(tmp_path):
    with raises_facts(UserError, '--watch', 'training directory', 'nowhere', 'not a directory'):
        watch.Watch(str(tmp_path / 'nowhere'))


def test_follow_skips_a_damaged_checkpoint_and_ends_at_the_step(steps, tmp_path, monkeypatch, capsys):
    for step in (1, 2, 3):
        arrive(steps, tmp_path, step)
    restored = []

    class RefusesStep2:
        """A Restorer that refuses step 2."""
        config, step = checkpoints.load_model_config(steps), 1

        def __init__(self, options, checkpoint):
            if checkpoint.endswith('-2'):
                raise UserError('values that are not finite')
            restored.append(checkpoint[-1])

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(watch, 'Restorer', RefusesStep2)
    numbers = iter([20., 21.])
    follower = watch.follow(
        RestoreConfig(checkpoint=str(tmp_path), device='npu', soc_version='Ascend310P3'),
        EvaluateConfig(watch=True, watch_until_step=3),
        lambda config, scale: [Clip('clip', None, types.SimpleNamespace(length=4, size=(8, 8)))],
        lambda restorer, clips: [measure.ClipResult(
            'clip', [{'edvr_psnr': next(numbers)}] * 3 + [{'edvr_psnr': math.inf}], [1.] * 4)])
    assert restored == ['1', '3']
    assert [result['step'] for result in follower.results] == [1, 2, 3]
    assert follower.results[1]['error'] == 'values that are not finite'
    captured = capsys.readouterr()
    assert 'error: values that are not finite' in captured.err
    check_facts(captured.out, '3 checkpoints', 'best: step 3', 'PSNR = 40.7500')
    assert captured.out.count('deformable convolutions on Ascend 310P') == 1


def test_wrong_data_end_the_watch(steps, tmp_path, monkeypatch):
    arrive(steps, tmp_path, 1)

    def no_clips(config, scale):
        raise UserError('no such folder')

    with pytest.raises(UserError, match='no such folder'):
        watch.follow(RestoreConfig(checkpoint=str(tmp_path), kernels='tf'), EvaluateConfig(watch=True), no_clips, None)
    assert watch.Watch(str(tmp_path)).results == []


def test_program_follows_and_ends_on_sigterm(steps, tmp_path):
    arrive(steps, tmp_path, 1)
    data = tmp_path / 'data'
    for kind, frame in (('truth', smooth_frames(1, 48, 48)[0]), ('blur4', np.zeros([12, 12, 3], np.uint8))):
        (data / kind / '000').mkdir(parents=True)
        write_png(str(data / kind / '000' / '0.png'), frame)
    with (tmp_path / 'out').open('w') as out, (tmp_path / 'err').open('w') as err:
        process = preloaded.start('edvr.evaluate', ['--watch', '--watch_interval_s=0.2', '--checkpoint=%s' % tmp_path,
                                                    '--data_dir=%s' % data, '--kernels=tf'], out, err)
    try:
        record = tmp_path / 'eval' / 'results.json'
        deadline = time.time() + 120
        while process.poll() is None and not record.exists() and time.time() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (tmp_path / 'err').read_text()
    finally:
        process.kill()
    assert [result['step'] for result in json.loads(record.read_text())] == [1]
    assert '1 checkpoints evaluated; best: step 1' in (tmp_path / 'out').read_text()
    assert checkpoints.latest(str(tmp_path / 'eval' / 'best')).endswith('model.ckpt-1')
    assert len(curve(tmp_path)) == 1
