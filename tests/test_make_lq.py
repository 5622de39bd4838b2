"""make_lq: frames by name, resumed, never mixed."""
import os

import numpy as np
import pytest
from facts import raises_facts
from helpers import smooth_frames
from packed import write_clips, write_video

from data_tools.base.errors import UserError
from data_tools.lq import writer
from data_tools.lq.config import MakeLqConfig
from data_tools.media.clips import find_clips
from data_tools.media.degradation import Degradation, blur_and_subsample, make_lq
from data_tools.media.images import read_image


@pytest.fixture
def source(tmp_path):
    return write_clips(tmp_path / 'clips', (3, 2))


def run(source, output, **options):
    return writer.write_lq(MakeLqConfig(data_dir=str(source), output_dir=str(output), workers=1, **options))


def test_lq_beside_gt(run_program, source, tmp_path):
    process = run_program('data_tools.make_lq', '--data_dir=' + source, '--output_dir=%s' % (tmp_path / 'lq'),
                          '--degradation=bd', '--workers=2')
    assert process.returncode == 0 and 'LQ of 2 clips, 5 frames written' in process.stdout, process.stderr
    assert sorted(os.listdir(str(tmp_path / 'lq' / 'blur4'))) == ['000', '001']
    for name in ('00000000', '00000001'):
        gt = read_image(os.path.join(source, 'truth', '001', name + '.png'))
        lq = read_image(str(tmp_path / 'lq' / 'blur4' / '001' / (name + '.png')))
        np.testing.assert_array_equal(lq, blur_and_subsample(gt, 4))
    clip = find_clips(source, lq_folder=str(tmp_path / 'lq' / 'blur4'))[0]
    assert clip.lq.path == str(tmp_path / 'lq' / 'blur4' / '000')


def test_resumed_and_changed(source, tmp_path):
    folder = tmp_path / 'lq' / 'blur4' / '000'
    assert run(source, tmp_path / 'lq', clips='000') == 3
    assert run(source, tmp_path / 'lq', clips='000') == 0
    os.remove(str(folder / '00000001.png'))
    assert run(source, tmp_path / 'lq', clips='000') == 2
    with raises_facts(UserError, 'kind', "'bicubic'", "'bd'", '--overwrite'):
        run(source, tmp_path / 'lq', clips='000', degradation='bd')
    assert run(source, tmp_path / 'lq', clips='000', degradation='bd', overwrite=True) == 3
    truth = os.path.join(source, 'truth')
    os.replace(os.path.join(truth, '001', '00000000.png'), os.path.join(truth, '000', '00000002.png'))
    assert run(source, tmp_path / 'lq', clips='000', degradation='bd') == 3   # the source has changed
    os.remove(str(folder / writer.RECORD))
    with raises_facts(UserError, 'not empty', 'make_lq'):
        run(source, tmp_path / 'lq', clips='000')


def test_a_video_with_compression(tmp_path):
    gt = smooth_frames(5, 34, 51)
    (tmp_path / 'videos').mkdir()
    write_video(tmp_path / 'videos' / 'x.mkv', gt)
    assert run(tmp_path / 'videos', tmp_path / 'lq', degradation='compressed', crf=(10, 30)) == 5
    made = Degradation('compressed', 4, crf=(10, 30))
    frames = [read_image(str(tmp_path / 'lq' / 'x' / ('%08d.png' % i))) for i in range(5)]
    np.testing.assert_array_equal(frames, list(made.apply((frame[:32, :48] for frame in gt), 'x')))
    paired, = find_clips(str(tmp_path / 'videos'), lq_folder=str(tmp_path / 'lq'))   # GT cropped to fit
    assert paired.gt.size == (32, 48) and paired.lq.size == (8, 12)


def test_gt_is_not_written_over(tmp_path):
    from test_clips import frames
    frames(tmp_path / 'a', size=(8, 8))
    with raises_facts(UserError, 'LQ', 'over the GT', 'another --output_dir'):
        run(tmp_path, tmp_path)
    assert make_lq(read_image(str(tmp_path / 'a' / '00000000.png')), 4).shape == (2, 2, 3)
