"""Validation during training: PSNR as evaluation computes it, the best checkpoint, pictures, at the right steps."""
import dataclasses
import json
import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny_training
from facts import raises_facts
from helpers import smooth_frames, tiny_checkpoint
from packed import write_video
from PIL import Image

from data_tools.base.config import element_type, is_tuple
from data_tools.base.errors import UserError
from data_tools.media.clips import find_clips
from data_tools.media.degradation import Degradation, blur_and_subsample, make_lq
from data_tools.media.frames import DegradedFrames
from data_tools.media.images import write_png
from data_tools.packing import pack as packing
from data_tools.packing.config import PackConfig
from edvr import checkpoints
from edvr.config import TrainingConfig
from edvr.config.restoration import EvaluateConfig, RestoreConfig
from edvr.evaluation import clip_set, measure
from edvr.restore.restorer import Restorer
from edvr.tensorboard.run_record import RunRecord
from edvr.training.hooks import checkpoint_saver
from edvr.training.hooks.validation import Validation
from edvr.training.rundir import run_state
from edvr.training.training_run import Run


@pytest.fixture
def clips(tmp_path):
    for index, gt in enumerate(smooth_frames(3, 32, 48)):
        for kind, frame in (('truth', gt), ('blur4', np.asarray(Image.fromarray(gt).resize((12, 8), Image.BICUBIC)))):
            (tmp_path / 'val' / kind / '000').mkdir(parents=True, exist_ok=True)
            write_png(str(tmp_path / 'val' / kind / '000' / ('%08d.png' % index)), frame)
    return find_clips(str(tmp_path / 'val'))


def test_validation(tmp_path, clips, capsys):
    directory = tmp_path / 'run'
    prefix = tiny_checkpoint(directory, step=20, ema=True)
    with Restorer(prefix) as restorer:
        result = measure.evaluate_clip(restorer, clips[0], EvaluateConfig(max_frames=2, ssim=False))
    numbers = measure.overall([result])
    expected = numbers['edvr_psnr']
    config = TrainingConfig(model_dir=str(directory), val_dir='x', save_every=10, eval_every=20, image_every=20,
                            eval_frames=2)
    store = checkpoint_saver.CheckpointStore(str(directory), 9, 0., run_state.RunState(str(directory)))
    with RunRecord(str(tmp_path), 0) as record:
        validation = Validation(clips, config, 'cpu', record, store)
        for step in (10, 20, 30):   # only the second is a multiple
            validation(prefix, step, step - 10)
    assert 'validation: step 20, 2 frames of 1 clips, PSNR %.4f dB (best), bicubic %.4f dB' % (
        expected, numbers['bicubic_psnr']) in capsys.readouterr().out
    assert checkpoints.step_of(checkpoints.latest(str(directory / 'best'))) == 20
    line, = [value for event in tf.train.summary_iterator(str(next((tmp_path / 'bicubic').glob('events*'))))
             for value in event.summary.value]
    assert line.tag == 'validation/psnr' and line.simple_value == pytest.approx(numbers['bicubic_psnr'], abs=1e-4)
    assert line.metadata.summary_description.startswith('PSNR in dB of the validation clips')
    found = {}
    for event in tf.train.summary_iterator(str(next((tmp_path / 'training').glob('events*')))):
        for value in event.summary.value:
            found[value.tag, event.step] = value
    names = ['validation/psnr', 'validation/psnr_best', 'validation/sample']
    assert sorted(found)[1:] == [(name, 20) for name in names]
    assert [found[name, 20].simple_value for name in names[:2]] == pytest.approx([expected] * 2, abs=1e-4)
    assert (found[names[2], 20].image.height, found[names[2], 20].image.width) == (16 + 32, 3 * 48)
    with open(str(tmp_path / 'scalars.jsonl')) as file:
        point, = map(json.loads, file)
    assert point['validation/psnr_bicubic'] == pytest.approx(numbers['bicubic_psnr'], abs=1e-4)


def test_a_frame_that_is_restored_exactly_decides_nothing(tmp_path, clips, capsys, monkeypatch):
    """Its PSNR is infinite."""
    directory = tmp_path / 'run'
    prefix = tiny_checkpoint(directory, step=10)
    frames = [{'edvr_psnr': float('inf'), 'bicubic_psnr': float('inf')}, {'edvr_psnr': 30., 'bicubic_psnr': 28.}]
    monkeypatch.setattr(measure, 'evaluate_clip', lambda restorer, clip, config, decoders: measure.ClipResult(
        clip.name, [dict(frame) for frame in frames], [1., 1.]))
    config = TrainingConfig(model_dir=str(directory), val_dir='x', save_every=10, eval_every=10)
    state = run_state.RunState(str(directory))
    with RunRecord(str(tmp_path), 0) as record:
        validation = Validation(clips, config, 'cpu', record,
                                checkpoint_saver.CheckpointStore(str(directory), 9, 0., state))
        validation(prefix, 10, 0)
        assert 'PSNR 65.0000 dB (best), bicubic 64.0000 dB' in capsys.readouterr().out
        assert run_state.RunState(str(directory)).best['psnr'] == 65.   # readable by the next session
        frames[1]['edvr_psnr'] = 31.
        validation(prefix, 20, 10)
    assert 'PSNR 65.5000 dB (best)' in capsys.readouterr().out and state.best['psnr'] == 65.5


def test_the_digest_is_of_what_is_measured(clips, tmp_path):
    gt = clips[0].gt

    def made(**options):
        return [clips[0]._replace(lq=DegradedFrames(gt, Degradation('bd', 4, **options), '000'))]

    config = EvaluateConfig(max_frames=2)
    every = [(clips, config), (clips, config.replace(max_frames=3)), (clips, config.replace(crop_border=4)),
             ([clips[0]._replace(name='001')], config), (clips * 2, config), (made(), config),
             (made(noise=('gaussian',)), config), ([clips[0]._replace(gt=gt.cropped((16, 16)))], config)]
    digests = [measure.digest(*each) for each in every]
    assert len(set(digests)) == len(every) and digests == [measure.digest(*each) for each in every]
    assert measure.digest(clips, config.replace(max_frames=3)) == measure.digest(clips, config.replace(max_frames=0))


def test_lq_of_validation_clips_is_made_as_that_of_the_training_set(tmp_path):
    (tmp_path / 'videos').mkdir()
    gt = smooth_frames(5, 32, 48)
    write_video(tmp_path / 'videos' / 'a.mkv', gt)
    packing.pack_set(PackConfig(data_dir=str(tmp_path / 'videos'), output_dir=str(tmp_path / 'set'), num_frames=3,
                                make_lq=True, degradation='bd', num_shards=1, workers=1))
    for folder, function in ((tmp_path / 'set', blur_and_subsample),
                             (tiny_training.make_set(tmp_path / 'other'), make_lq)):   # came with LQ of its own
        run = Run(*tiny_training.configs(folder, tmp_path / 'run', val_dir=str(tmp_path / 'videos'), make_lq=True,
                                         eval_every=3))
        clip, = run.val_clips
        np.testing.assert_array_equal(list(clip.lq.read()), [function(frame, 4) for frame in gt])
        np.testing.assert_array_equal(list(clip.gt.read()), gt)
    with raises_facts(UserError, 'no clips', 'GT and LQ'):
        Run(*tiny_training.configs(folder, tmp_path / 'run', val_dir=str(tmp_path / 'videos'), eval_every=3))


def test_evaluate_measures_what_the_run_validated(tmp_path, capsys):
    """With the command that the run prints, on LQ that it drew itself."""
    (tmp_path / 'videos').mkdir()
    write_video(tmp_path / 'videos' / 'a.mkv', smooth_frames(5, 32, 48))
    write_video(tmp_path / 'videos' / 'b.mkv', smooth_frames(4, 32, 48, seed=2))
    packing.pack_set(PackConfig(data_dir=str(tmp_path / 'videos'), output_dir=str(tmp_path / 'set'), num_frames=3,
                                make_lq=True, num_shards=1, workers=1, degradation='compressed', crf=(15, 40), seed=3,
                                lq_resize='pillow', lq_noise=('gaussian', 'speckle')))
    run = Run(*tiny_training.configs(tmp_path / 'set', tmp_path / 'run', val_dir=str(tmp_path / 'videos'), make_lq=True,
                                     eval_frames=2, save_every=1, eval_every=1, steps=1))
    capsys.readouterr()
    assert run.train() == 0
    output = capsys.readouterr().out
    validated = re.search(r'PSNR (\S+) dB.*bicubic (\S+) dB', output).groups()
    line = next(line for line in output.splitlines() if line.startswith('validation: a'))
    made = Degradation('compressed', 4, (15, 40), seed=3)
    assert 'a (crf=%d), b (crf=%d) of' % (made.crf_of('a'), made.crf_of('b')) in line
    command = re.search(r'python -m edvr.evaluate (.*)', output).group(1).split()
    config = _parsed(command)
    with Restorer(RestoreConfig(checkpoint=str(tmp_path / 'run'))) as restorer:
        results = [measure.evaluate_clip(restorer, clip, config) for clip in clip_set.load(config, 4)]
    numbers = measure.overall(results)
    assert ('%.4f' % numbers['edvr_psnr'], '%.4f' % numbers['bicubic_psnr']) == validated


def _parsed(command):
    """The EvaluateConfig of flags."""
    values = dict(word[2:].split('=', 1) if '=' in word else (word[2:], 'True') for word in command)
    del values['checkpoint']
    fields = {field.name: field for field in dataclasses.fields(EvaluateConfig)}
    assert set(values) <= set(fields)
    kinds = {name: element_type(fields[name]) for name in values}
    return EvaluateConfig(**{name: tuple(map(kinds[name], value.split(','))) if is_tuple(fields[name])
                             else kinds[name](value) for name, value in values.items()})
