"""Evaluating clips: the numbers against their definition, the printed lines, the files."""
import csv
import json
import os

import numpy as np
import preloaded
import pytest
from facts import raises_facts
from helpers import smooth_frames, tiny_checkpoint
from packed import write_video
from PIL import Image

from data_tools.base.errors import UserError
from data_tools.media import clips as clips_module
from data_tools.media.comparison import side_by_side
from data_tools.media.degradation import blur_and_subsample
from data_tools.media.frames import Decoder, ImageFrames
from data_tools.media.images import read_image, write_png
from data_tools.media.imresize import enlarge
from edvr.config import ConfigError
from edvr.config.restoration import EvaluateConfig, RestoreConfig
from edvr.evaluation import clip_set, measure, metrics, report
from edvr.restore import pixels
from edvr.restore.restorer import Restorer
from edvr.sharing.workers import ThisProcess


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp('network')
    tiny_checkpoint(folder)
    return str(folder)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Two clips, of 4 and 3 frames, in REDS layout."""
    root = tmp_path_factory.mktemp('data')
    for name, length in (('000', 4), ('011', 3)):
        for kind in ('truth', 'blur4'):
            (root / kind / name).mkdir(parents=True)
        for i, gt in enumerate(smooth_frames(length, 48, 64, seed=length)):
            write_png(str(root / 'truth' / name / ('%08d.png' % i)), gt)
            lq = np.asarray(Image.fromarray(gt).resize((16, 12), Image.BICUBIC))
            write_png(str(root / 'blur4' / name / ('%08d.png' % i)), lq)
    return str(root)


@pytest.fixture(scope='module')
def restorer(network):
    with Restorer(network, kernels='tf') as restorer:
        yield restorer


def test_numbers_are_what_their_names_say(restorer, data):
    clip = clips_module.find_clips(data)[0]
    result = measure.evaluate_clip(restorer, clip, EvaluateConfig(crop_border=2))
    restored = list(restorer.restore_clip(clip.lq.read()))
    assert result.name == '000' and len(result.frames) == len(result.seconds) == 4
    for sr, gt_path, lq_path, row in zip(restored, clip.gt.paths, clip.lq.paths, result.frames):
        gt, lq = read_image(gt_path), read_image(lq_path)
        rounded = np.clip(np.rint(sr * 255), 0, 255).astype(np.uint8)
        enlarged = enlarge(lq, 4)
        expected = {'edvr_psnr': metrics.psnr(rounded, gt, 2), 'edvr_ssim': metrics.ssim(rounded, gt, 2),
                    'edvr_psnr_y': metrics.psnr_y(rounded, gt, 2), 'edvr_ssim_y': metrics.ssim_y(rounded, gt, 2),
                    'edvr_psnr_unrounded': metrics.psnr(sr, gt, 2), 'edvr_ssim_unrounded': metrics.ssim(sr, gt, 2),
                    'edvr_psnr_y_unrounded': metrics.psnr_y(sr, gt, 2),
                    'edvr_ssim_y_unrounded': metrics.ssim_y(sr, gt, 2),
                    'bicubic_psnr': metrics.psnr(enlarged, gt, 2), 'bicubic_ssim': metrics.ssim(enlarged, gt, 2),
                    'bicubic_psnr_y': metrics.psnr_y(enlarged, gt, 2),
                    'bicubic_ssim_y': metrics.ssim_y(enlarged, gt, 2)}
        assert row == pytest.approx(expected)


def test_lq_made_while_evaluating(restorer, tmp_path):
    """A video that is all there is: each shot by itself, LQ as make_lq makes it, GT cropped to fit."""
    gt = np.concatenate([smooth_frames(5, 26, 33, seed) for seed in (1, 2)])
    (tmp_path / 'videos').mkdir()
    write_video(tmp_path / 'videos' / 'x.mkv', gt)
    config = EvaluateConfig(data_dir=str(tmp_path / 'videos'), make_lq=True, degradation='bd', ssim=False)
    clips = clip_set.load(config, 4)
    assert [(clip.name, clip.length) for clip in clips] == [('x_shot000', 5), ('x_shot001', 5)]
    with Decoder() as lq_decoder, Decoder() as gt_decoder:   # both shots; the first is not read to its end
        result = [measure.evaluate_clip(restorer, clip, config.replace(max_frames=frames), None, frames == 5,
                                        (lq_decoder, gt_decoder)) for clip, frames in zip(clips, (2, 5))][1]
    assert measure.evaluate_clip(restorer, clips[1], config).frames == result.frames
    for first, end in ((1, 3), (3, 4), (4, 5)):   # as several devices do
        part = measure.evaluate_clip(restorer, clips[1], config, first=first, end=end)
        assert part.frames == result.frames[first:end]
    lq = [blur_and_subsample(frame, 4) for frame in gt[5:, :24, :32]]
    for row, sr, frame, small in zip(result.frames, restorer.restore_clip(iter(lq)), gt[5:, :24, :32], lq):
        assert row['edvr_psnr'] == metrics.psnr(pixels.to_uint8(sr), frame)
        assert row['bicubic_psnr'] == metrics.psnr(enlarge(small, 4), frame)


def test_measuring_beside_restoring_changes_no_number(restorer, data):
    clip = clips_module.find_clips(data)[0]
    seen = []
    results = [measure.evaluate_clip(restorer, clip, EvaluateConfig(ssim=False), concurrent_metrics=beside,
                                        on_frame=lambda index, *rest: seen.append(index))
               for beside in (False, True)]
    assert results[0].frames == results[1].frames
    assert seen == [0, 1, 2, 3] * 2
    assert set(results[0].frames[0]) == {'edvr_psnr', 'edvr_psnr_y', 'edvr_psnr_unrounded', 'edvr_psnr_y_unrounded',
                                         'bicubic_psnr', 'bicubic_psnr_y'}


def test_max_frames_takes_the_first_with_their_true_neighbours(restorer, data):
    clip = clips_module.find_clips(data)[0]
    whole = measure.evaluate_clip(restorer, clip, EvaluateConfig())
    part = measure.evaluate_clip(restorer, clip, EvaluateConfig(max_frames=2))
    assert part.frames == whole.frames[:2]


def test_means_are_over_frames_then_over_clips():
    results = [measure.ClipResult('a', [{'edvr_psnr': 20.}, {'edvr_psnr': 22.}, {'edvr_psnr': 24.}], [9., 1., 3.]),
               measure.ClipResult('b', [{'edvr_psnr': 30.}], [2.])]
    assert measure.overall(results) == {'edvr_psnr': 26.}
    assert measure.median_ms(results) == 2000.   # of 1, 3, 2: the first frame of all pays for starting
    assert measure.median_ms(results[1:]) == 2000.


def test_program(run_program, network, data, tmp_path):
    process = run_program('edvr.evaluate', '--checkpoint=' + network, '--data_dir=' + data, '--kernels=tf',
                          '--json=%s' % (tmp_path / 'new' / 'numbers.json'), '--csv=%s' % (tmp_path / 'numbers.csv'),
                          '--comparison_dir=%s' % (tmp_path / 'pictures'), '--summary_dir=%s' % (tmp_path / 'events'))
    assert process.returncode == 0, process.stderr
    content = json.loads((tmp_path / 'new' / 'numbers.json').read_text())
    lines = process.stdout.splitlines()
    for clip in content['clips']:
        assert 'Video %s PSNR = %.4f, SSIM = %.6f' % (clip['name'], clip['edvr_psnr'], clip['edvr_ssim']) in lines
        assert clip['edvr_psnr'] == pytest.approx(np.mean([row['edvr_psnr'] for row in clip['frames']]))
    assert 'PSNR = %.4f, SSIM = %.6f' % (content['edvr_psnr'], content['edvr_ssim']) in lines
    assert sum(line.startswith('Inference time: ') for line in lines) == 2
    assert 'network: %s' % content['checkpoint'] in lines
    assert content['edvr_psnr'] == pytest.approx(np.mean([clip['edvr_psnr'] for clip in content['clips']]))
    assert content['step'] == 7 and content['scale'] == 4 and content['bicubic_psnr'] > 10
    with open(str(tmp_path / 'numbers.csv')) as file:
        rows = list(csv.DictReader(file))
    assert [(row['clip'], row['frame']) for row in rows] == [
        ('000', '0'), ('000', '1'), ('000', '2'), ('000', '3'), ('000', 'mean'),
        ('011', '0'), ('011', '1'), ('011', '2'), ('011', 'mean'), ('all', 'mean')]
    assert float(rows[-1]['edvr_psnr']) == pytest.approx(content['edvr_psnr'])
    assert sorted(os.listdir(str(tmp_path / 'pictures'))) == ['000_00000002.png', '011_00000001.png',
                                                                'index.html']
    assert read_image(str(tmp_path / 'pictures' / '000_00000002.png')).shape == (48 + 16, 4 * 64, 3)
    assert len(os.listdir(str(tmp_path / 'events'))) == 1


def test_numbers_are_written_if_nobody_reads_the_output(network, data, tmp_path):
    with preloaded.unread() as lost:
        process = preloaded.start('edvr.evaluate', [
            '--checkpoint=' + network, '--data_dir=' + data, '--kernels=tf', '--json=%s' % (tmp_path / 'numbers.json')],
            lost, lost)
        assert process.wait(300) == 0
    assert len(json.loads((tmp_path / 'numbers.json').read_text())['clips']) == 2


def test_frames_are_restored_if_nobody_reads_the_output(network, data, tmp_path):
    with preloaded.unread() as lost:
        process = preloaded.start('edvr.infer', [
            '--checkpoint=' + network, '--input=' + os.path.join(data, 'blur4', '011'),
            '--output=%s' % (tmp_path / 'out'), '--kernels=tf'], lost, lost)
        assert process.wait(300) == 0
    assert len([name for name in os.listdir(str(tmp_path / 'out')) if name.endswith('.png')]) == 3


def test_program_says_what_is_missing(run_program, network):
    process = run_program('edvr.evaluate', '--checkpoint=' + network, cwd=network)
    assert process.returncode == 1
    assert process.stderr.startswith('error: data/REDS: no such file or folder of clips; bash')


def test_files_that_cannot_be_written_are_named_before_the_work(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'cannot write .*file: '):
        clip_set.make_ready(EvaluateConfig(json=str(tmp_path / 'file' / 'x.json')))


def test_a_folder_that_takes_no_files_is_named_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'access', lambda path, mode: False)   # to root no folder is closed
    with pytest.raises(UserError, match=r'cannot write \S+ no permission'):
        clip_set.make_ready(EvaluateConfig(csv=str(tmp_path / 'x.csv')))


def test_equal_images_are_infinitely_good_in_json_too(tmp_path):
    row = {'edvr_psnr': float('inf'), 'edvr_psnr_unrounded': 50.}
    results = [measure.ClipResult('a', [row], [1.])]
    report.write_json(str(tmp_path / 'x.json'), report.to_dict(results))
    assert json.loads((tmp_path / 'x.json').read_text())['edvr_psnr'] == 'inf'


def test_table_leaves_out_what_was_not_measured():
    results = [measure.ClipResult('a', [{'edvr_psnr': 20., 'edvr_psnr_y': 21.}], [1.])]
    lines = report.table(results, crop_border=4)
    assert lines[0].split() == ['clip', '(frames)', 'PSNR', 'RGB', 'PSNR', 'Y']
    assert lines[1].split() == ['a', '(1)', 'EDVR,', 'rounded', 'to', 'uint8', '20.0000', '21.0000']
    assert 'crop_border 4' in lines[-1] and len(lines) == 4


def test_comparison_frames_are_spread_over_the_clip():
    clip = clips_module.Clip('a', *[ImageFrames(('x',) * 100, (1, 1), (1, 1))] * 2)
    assert clip_set.comparison_frames(clip, EvaluateConfig()) == {50}
    assert clip_set.comparison_frames(clip, EvaluateConfig(comparison_frames=3)) == {25, 50, 75}
    assert clip_set.comparison_frames(clip, EvaluateConfig(comparison_frames=2, max_frames=2)) == {0, 1}


def test_side_by_side_enlarges_small_panels_without_blending():
    lq, gt = np.uint8([[[0, 0, 0], [200, 0, 0]]]).repeat(10, 0).repeat(30, 1), np.full([20, 120, 3], 9, np.uint8)
    sheet = side_by_side([('LQ', lq), ('GT', gt)])
    assert sheet.shape == (36, 240, 3)
    np.testing.assert_array_equal(sheet[16:, :120], lq.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(sheet[16:, 120:], gt)
    assert sheet[:16].max() > 200   # captions


def test_bicubic_is_the_frame_itself_without_upscaling():
    frame = smooth_frames(1, 6, 8)[0]
    np.testing.assert_array_equal(enlarge(frame, 1), frame)
    assert enlarge(frame, 3).shape == (18, 24, 3)


def test_configurations_refuse_nonsense():
    with raises_facts(ConfigError, 'tile', "'big'", 'LQ pixels'):
        RestoreConfig(tile='big')
    with raises_facts(ConfigError, 'watch_until_step', 5, '--watch'):
        EvaluateConfig(watch_until_step=5)


def test_metrics_of_sequences_and_the_page(restorer, network, data, tmp_path, capsys):
    config = EvaluateConfig(data_dir=str(data), clips='all', metrics=('psnr', 'warp'), max_frames=3,
                            comparison_dir=str(tmp_path / 'pictures'), json=str(tmp_path / 'x.json'),
                            csv=str(tmp_path / 'x.csv'))
    clips = clip_set.load(config, 4)
    clip_set.make_ready(config)
    results = clip_set.evaluate_and_write(ThisProcess(restorer), clips, RestoreConfig(checkpoint=str(network)), config)
    for result in results:
        first, *others = [(row['edvr_warp'], row['bicubic_warp']) for row in result.frames]
        assert first == (None, None) and all(number > 0 for row in others for number in row)
        assert 'edvr_ssim' not in result.frames[0]
    table = capsys.readouterr().out
    assert 'warp' in table and 'SSIM' not in table
    content = json.loads((tmp_path / 'x.json').read_text())
    assert content['clips'][0]['frames'][0]['edvr_warp'] is None and content['edvr_warp'] > 0
    page = (tmp_path / 'pictures' / 'index.html').read_text()
    assert page.count('data:image/png;base64,') == 3 * len(clips)
    for clip in clips:
        assert '"clip": "%s"' % clip.name in page
