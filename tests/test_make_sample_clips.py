"""Sample clips: the same pixels everywhere, scenes that differ, motion between frames, files in REDS layout."""
import hashlib
import os

import numpy as np
import pytest
from facts import check_error, raises_facts
from PIL import Image

from data_tools.base.errors import UserError
from data_tools.media.clips import find_clips
from data_tools.media.degradation import make_lq
from data_tools.media.images import read_image
from data_tools.sample import clips as sample_clips
from data_tools.sample.scene import Scene


def scene(index=0, seed=0, height=64, width=96):
    return Scene(sample_clips.clip_seed(seed, index), height, width)


def test_pixels_do_not_depend_on_the_libraries():
    """Golden: the same on every Python, NumPy and Pillow. If scenes change on purpose, raise SCENES_VERSION."""
    frames = [scene(index).frame(t) for index in (0, 1) for t in (0, 5)]
    assert hashlib.sha256(b''.join(frame.tobytes() for frame in frames)).hexdigest() == GOLDEN


def test_clips_differ_and_frames_move():
    one, other = scene(0), scene(1)
    frame = one.frame(0).astype(int)
    assert np.abs(frame - other.frame(0)).mean() > 10
    assert np.abs(frame - scene(0, seed=1).frame(0)).mean() > 10
    step = np.abs(frame - one.frame(1)).mean()
    assert 1 < step < 25   # it moves, but neighbours resemble each other
    assert np.abs(frame - one.frame(8)).mean() > step


def test_frames_have_edges_and_range():
    frame = scene(2, height=128, width=192).frame(3).astype(float)
    assert frame.max() - frame.min() > 150
    # the darkest paint is brighter: the planes cover the frame at all times
    assert min(scene(2, height=96, width=160).frame(t).min() for t in range(0, 90, 3)) > 5
    bicubic = Image.fromarray(make_lq(frame.astype(np.uint8), 4)).resize((192, 128), Image.BICUBIC)
    psnr = 10 * np.log10(255 ** 2 / ((np.asarray(bicubic) - frame) ** 2).mean())
    assert 18 < psnr < 32   # as in photographs: detail is lost by downscaling, but not everything


def test_sides_that_do_not_divide():
    gt = np.zeros((24, 36, 3), np.uint8)
    with raises_facts(UserError, 'my.png', '24x36', 'scale 5', 'crop', '20x35'):
        make_lq(gt, 5, 'my.png')


def test_program_writes_reds_layout_and_continues(tmp_path, run_program):
    flags = ['--output_dir=%s' % (tmp_path / 'out'), '--num_clips=2', '--num_frames=3', '--gt_size=32x48', '--scale=2',
             '--num_workers=2']
    done = run_program('data_tools.make_sample_clips', *flags)
    assert done.returncode == 0, done.stderr
    clips = find_clips(str(tmp_path / 'out'), scale=2)
    assert [(clip.name, clip.length) for clip in clips] == [('000', 3), ('001', 3)]
    path = clips[1].gt.paths[2]
    assert path == str(tmp_path / 'out' / 'images' / 'truth' / '001' / '00000002.png')
    np.testing.assert_array_equal(read_image(path), scene(1, height=32, width=48).frame(2))
    before = read_image(path)
    os.remove(path)   # as if it had been interrupted
    os.remove(clips[0].lq.paths[0])
    sample_clips.make_clips(str(tmp_path / 'out'), 2, 3, 32, 48, scale=2)
    np.testing.assert_array_equal(read_image(path), before)
    assert len(find_clips(str(tmp_path / 'out'), scale=2)) == 2


def test_refuses_what_it_cannot_do(tmp_path, run_program):
    with pytest.raises(UserError, match='multiples of 16'):
        sample_clips.make_clips(str(tmp_path), 1, 1, 40, 64)
    (tmp_path / 'mine.txt').write_text('x')
    with raises_facts(UserError, 'not empty', 'this program'):
        sample_clips.make_clips(str(tmp_path), 1, 1, 32, 64)
    sample_clips.make_clips(str(tmp_path / 'a'), 1, 1, 32, 64)
    with raises_facts(UserError, 'other sample clips', 'seed=0'):
        sample_clips.make_clips(str(tmp_path / 'a'), 1, 1, 32, 64, seed=1)
    (tmp_path / 'a' / 'sample_clips.json').write_text('[1]')
    with raises_facts(UserError, 'other sample clips', '[1]'):
        sample_clips.make_clips(str(tmp_path / 'a'), 1, 1, 32, 64)
    bad = run_program('data_tools.make_sample_clips', '--output_dir=%s' % (tmp_path / 'b'), '--gt_size=720')
    check_error(bad, '--gt_size=720', 'HEIGHTxWIDTH')
    assert not (tmp_path / 'b').exists()


GOLDEN = '55a09118bf78aced035bceb7e8cbfe76fc67d28d1483000c58257b24f59d61dd'
