"""Finding clips: every layout, natural order, and errors that name the wrong folder or file."""
import hashlib
import os
import shutil
import subprocess

import numpy as np
import pytest
from facts import raises_facts
from PIL import Image

from data_tools.base.errors import UserError
from data_tools.media import clips
from data_tools.media.clips import REDS4, find_clips, parse_names

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAYOUTS = {
    'sides above clips': ('truth/{}', 'blur4/{}'),
    'clips above sides': ('{}/truth', '{}/blur4'),
    'images, sides above clips': ('images/truth/{}', 'images/blur4/{}'),
    'images, clips above sides': ('images/{}/truth', 'images/{}/blur4'),
    'plain names': ('gt/{}', 'lq/{}'),
    'plain names in clips': ('{}/gt', '{}/lq'),
    'REDS as unpacked': ('train/train_sharp/{}', 'train/train_sharp_bicubic/X4/{}'),
    'REDS without outer folder': ('train_sharp/{}', 'train_sharp_bicubic/X4/{}'),
    'REDS, blurred': ('val/val_sharp/{}', 'val/val_blur_bicubic/X4/{}'),
}


def frames(folder, count=3, size=(4, 8), name='%08d.png', start=0):
    os.makedirs(str(folder), exist_ok=True)
    for i in range(start, start + count):
        Image.fromarray(np.zeros(size + (3,), np.uint8)).save(os.path.join(str(folder), name % i))


def pair(root, name='000', layout='sides above clips', count=3, size=(4, 8), scale=4):
    gt, lq = (os.path.join(str(root), part.format(name)) for part in LAYOUTS[layout])
    frames(gt, count, tuple(scale * n for n in size))
    frames(lq, count, size)
    return gt, lq


@pytest.mark.parametrize('layout', sorted(LAYOUTS))
def test_layouts(tmp_path, layout):
    folders = [pair(tmp_path, name, layout) for name in ('010', '002')]
    found = find_clips(str(tmp_path))
    assert [(clip.name, clip.length) for clip in found] == [('002', 3), ('010', 3)]
    assert found[1].gt.paths == tuple(os.path.join(folders[0][0], '%08d.png' % i) for i in range(3))
    assert found[1].lq.paths == tuple(os.path.join(folders[0][1], '%08d.png' % i) for i in range(3))
    gt_only, = find_clips(str(tmp_path), need_lq=False, clips=['002'])
    assert gt_only.lq is None and gt_only.gt.paths == found[0].gt.paths and gt_only.length == 3
    lq_only, = find_clips(str(tmp_path), need_gt=False, exclude=['002'])
    assert lq_only.gt is None and lq_only.lq.paths == found[1].lq.paths


@pytest.mark.parametrize('scale', clips.SCALES)
def test_scales_and_custom_names(tmp_path, scale):
    frames(tmp_path / 'truth' / 'my cat', 7, (6 * scale, 4 * scale), 'frame-%d.png', start=7)
    frames(tmp_path / ('blur%d' % scale) / 'my cat', 7, (6, 4), 'f%d.bmp', start=7)
    frames(tmp_path / ('blur%d' % (5 - scale if scale < 4 else 2)) / 'my cat', 2)   # another scale beside it
    clip, = find_clips(str(tmp_path), scale)
    assert clip.name == 'my cat' and [os.path.basename(path) for path in clip.lq.paths] == [
        'f%d.bmp' % i for i in range(7, 14)]   # 9 before 10


@pytest.mark.parametrize('suffix', ['bmp', 'tif', 'webp'])
def test_fingerprints_notice_each_pixel(tmp_path, suffix):
    image = np.random.RandomState(0).randint(0, 256, (64, 96, 3)).astype(np.uint8)
    path = tmp_path / ('0.' + suffix)
    Image.fromarray(image).save(str(path), **({'lossless': True} if suffix == 'webp' else {}))

    def fingerprint():
        return find_clips(str(tmp_path), need_lq=False)[0].fingerprint()

    before, data = fingerprint(), path.read_bytes()
    assert fingerprint() == before and len(data) > 16384
    middle = len(data) // 2
    for place in (middle, middle + 1, 4096, len(data) - 4097, len(data) - 1):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1:])
        assert fingerprint() != before
    path.write_bytes(data)
    assert fingerprint() == before


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
def test_fingerprints_of_png_and_jpeg_are_those_of_earlier_versions(tmp_path, suffix):
    image = np.random.RandomState(0).randint(0, 256, (128, 96, 3)).astype(np.uint8)
    path = tmp_path / ('0.' + suffix)
    Image.fromarray(image).save(str(path), quality=95)
    data = path.read_bytes()
    assert len(data) > 8192
    digest = hashlib.sha1(b'%d' % len(data) + data[:4096] + data[-4096:]).hexdigest()[:16]
    assert find_clips(str(tmp_path), need_lq=False)[0].fingerprint() == hashlib.sha1(
        ('0.%s %s' % (suffix, digest)).encode()).hexdigest()[:16]


def test_one_side_in_bare_folders(tmp_path):
    frames(tmp_path / 'b')
    frames(tmp_path / 'a10', 2)
    frames(tmp_path / 'a9', 1)
    assert [clip.name for clip in find_clips(str(tmp_path), need_gt=False)] == ['a9', 'a10', 'b']
    clip, = find_clips(str(tmp_path / 'b'), need_lq=False)
    assert clip.name == 'b' and len(clip.gt.paths) == 3 and clip.lq is None
    with raises_facts(UserError, 'no clips', 'GT and LQ', 'truth/NAME', 'blur4/NAME'):
        find_clips(str(tmp_path))


def test_what_systems_leave_behind_is_no_frame(tmp_path):
    gt, _ = pair(tmp_path)
    for name in ('.DS_Store', 'Thumbs.db', '._00000000.png'):
        with open(os.path.join(gt, name), 'w'):
            pass
    os.makedirs(str(tmp_path / '__MACOSX' / 'truth'))
    assert find_clips(str(tmp_path))[0].length == 3


def test_links_count_once(tmp_path):
    gt, _ = pair(tmp_path)
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'truth').symlink_to(os.path.dirname(gt))
    assert len(find_clips(str(tmp_path))) == 1


def fails(root, pattern, **options):
    with pytest.raises(UserError, match=pattern):
        find_clips(str(root), **options)


def test_missing_and_empty(tmp_path):
    fails(tmp_path / 'none', 'none: no such file or folder')
    fails(tmp_path, 'no clips of GT and LQ frames found')
    gt, _ = pair(tmp_path)
    os.makedirs(str(tmp_path / 'truth' / '001'))
    fails(tmp_path, r'clip 001 has GT frames in .*truth/001 but no LQ folder for scale 4; .*--make_lq')
    os.makedirs(str(tmp_path / 'blur4' / '001'))
    fails(tmp_path, r'(truth|blur4)/001 has no frames')
    assert len(find_clips(str(tmp_path), exclude=['001'])) == 1
    shutil.rmtree(gt)
    fails(tmp_path, r'clip 000 has LQ frames in .*blur4/000 but no GT folder', clips=['000'])


def test_a_name_that_is_not_utf_8(tmp_path):
    clips.check_text(['000', 'h\u00e4user'])
    with raises_facts(UserError, r"'x\udcff'", 'UTF-8', 'rename'):
        clips.check_text(['000', 'x\udcff'])


def test_pairs_that_do_not_match(tmp_path):
    gt, lq = pair(tmp_path)
    (tmp_path / 'blur3').symlink_to(str(tmp_path / 'blur4'))
    fails(tmp_path, r'clip 000: GT must be exactly 3 times .*truth/000/00000000.png is 16x32 .*blur3/000/0.*png is 4x8',
          scale=3)
    os.remove(os.path.join(lq, '00000002.png'))
    fails(tmp_path, r'clip 000: 2 LQ frames in .*blur4/000 but 3 GT frames in .*truth/000')
    os.remove(os.path.join(gt, '00000000.png'))
    fails(tmp_path, r'frames do not match: .*blur4/000/00000000.png is paired with .*truth/000/00000001.png')


def test_sizes_inside_a_clip(tmp_path):
    gt, _ = pair(tmp_path)
    frames(gt, 1, (16, 36), start=2)
    fails(tmp_path, r'00000000.png is 16x32 but .*00000002.png is 16x36')


def test_files_that_are_no_frames(tmp_path):
    gt, lq = pair(tmp_path)
    path = os.path.join(gt, 'readme.txt')
    with open(path, 'w') as file:
        file.write('hello')
    fails(tmp_path, r'truth/000/readme.txt is not an image \(1 such in')
    os.remove(path)
    for content in (b'', b'\x89PNG\r\n\x1a\n', b'nonsense'):
        with open(os.path.join(lq, '00000001.png'), 'wb') as file:
            file.write(content)
        fails(tmp_path, r'blur4/000/00000001.png: not an image, or a damaged one')


def test_folder_with_the_name_of_an_image_is_no_hole(tmp_path):
    frames(tmp_path / 'a', 4)
    os.remove(str(tmp_path / 'a' / '00000002.png'))
    os.mkdir(str(tmp_path / 'a' / '00000002.png'))
    fails(tmp_path, r'a/00000002\.png is a folder with the name of an image', need_gt=False)


def test_links_to_themselves_are_named(tmp_path):
    frames(tmp_path / 'a')
    path = str(tmp_path / 'a' / '00000001.png')
    os.remove(path)
    os.symlink('00000001.png', path)
    fails(tmp_path, r'cannot read .*a/00000001\.png: Too many levels of symbolic links', need_gt=False)
    os.remove(path)
    os.symlink('loop', str(tmp_path / 'loop'))
    fails(tmp_path, r'cannot read .*/loop: Too many levels of symbolic links', need_gt=False)


def test_numbering(tmp_path):
    frames(tmp_path / 'a', 4)
    os.remove(str(tmp_path / 'a' / '00000002.png'))
    frames(tmp_path / 'a', 1, start=4)
    fails(tmp_path, r'gap in its numbering: after 00000001.png comes 00000003.png', need_gt=False)
    assert find_clips(str(tmp_path), need_gt=False, allow_gaps=True)[0].length == 4
    shutil.rmtree(str(tmp_path / 'a'))
    frames(tmp_path / 'b', 3, name='%d0.png')   # thinned evenly
    assert find_clips(str(tmp_path), need_gt=False)[0].length == 3
    frames(tmp_path / 'b', 1, name='%d.png')    # 0.png beside 00.png
    fails(tmp_path, r'two frames of one number: .*png and .*png', need_gt=False)


def test_clip_that_is_there_twice(tmp_path):
    pair(tmp_path)
    pair(tmp_path, layout='clips above sides')
    fails(tmp_path, r'clip 000 exists twice: .*truth/000 and .*000/truth; keep one')
    shutil.rmtree(str(tmp_path))
    pair(tmp_path, layout='REDS as unpacked')
    pair(tmp_path, layout='REDS, blurred')
    fails(tmp_path, r'clip 000 exists twice: .*regroup_reds merges')


def test_choosing(tmp_path):
    for name in REDS4 + ('001',):
        pair(tmp_path, name, count=1)
    assert tuple(clip.name for clip in find_clips(str(tmp_path), clips=parse_names('REDS4'))) == REDS4
    assert [clip.name for clip in find_clips(str(tmp_path), exclude=parse_names('REDS4'))] == ['001']
    fails(tmp_path, r'--clips names 002, 7, not found in .*there are 5 clips: 000, 001, 011', clips=['001', '7', '002'])
    fails(tmp_path, r'--exclude names x, not found', exclude=['x'])
    fails(tmp_path, r'no clip is left of the 5', clips=['001'], exclude=['001'])


def test_names_from_the_command_line(tmp_path):
    assert parse_names(None) is None and parse_names('') is None
    (tmp_path / 'val.json').write_text('["b", "a"]')
    (tmp_path / 'a, b').write_text('["b"]')
    assert parse_names('@%s' % (tmp_path / 'a, b')) == ['b']
    assert parse_names(' c,@%s,a , REDS4' % (tmp_path / 'val.json')) == ['c', 'b', 'a', '000', '011', '015', '020']
    (tmp_path / 'nested.json').write_text('[' * 100000)
    with raises_facts(UserError, 'clip names', 'nested.json'):
        parse_names('@%s' % (tmp_path / 'nested.json'))
    with raises_facts(UserError, 'clip names', 'nowhere.json'):
        parse_names('@nowhere.json')
    (tmp_path / 'val.json').write_text('{"a": 1}')
    with raises_facts(UserError, 'JSON list', 'clip names'):
        parse_names('@%s' % (tmp_path / 'val.json'))


def test_official_validation_clips():
    assert clips.REDS_OFFICIAL_VAL[0] == '240' and clips.REDS_OFFICIAL_VAL[-1] == '269'
    assert len(clips.REDS_OFFICIAL_VAL) == 30


def test_prepare_script_runs_the_three_programs_in_order(tmp_path):
    log = tmp_path / 'log'
    python = tmp_path / 'python'   # notes what it is asked to run
    python.write_text('#!/bin/sh\necho "$@" >> %s\nexit "${FAIL:-0}"\n' % log)
    python.chmod(0o755)
    script = os.path.join(ROOT, 'scripts', 'prepare_reds.sh')
    env = dict(os.environ, PYTHON=str(python), DATA_DIR='my reds', BASE_URL='http://mirror')
    subprocess.run(['bash', script, '--encoding=tiles'], env=env, check=True, cwd=str(tmp_path))
    assert log.read_text().splitlines() == [
        '-m data_tools.download_reds --root_dir=my reds --base_url=http://mirror --train_sharp --train_sharp_bicubic '
        '--val_sharp --val_sharp_bicubic',
        '-m data_tools.regroup_reds --root_dir=my reds --mode=link --split=reds4',
        '-m data_tools.make_tfrecords --data_dir=my reds --output_dir=my reds/tfrecords --num_frames=5 '
        '--encoding=tiles']
    log.unlink()
    assert subprocess.run(['bash', script], env=dict(env, FAIL='3'), cwd=str(tmp_path)).returncode == 3
    assert len(log.read_text().splitlines()) == 1   # nothing is packed from half a download


@pytest.mark.parametrize('lq, gt', [
    ('%04d_x4.png', '%04d.png'), ('clip7_%d.png', 'clip7_%d_1280x720.png'), ('%05d_lq.jpg', 'frame%03d_scale2.png'),
    ('2024-05-01_%04d.png', '%04d_4k60.png'), ('%04d_9.png', '%04d_10.png')])
def test_frames_pair_by_the_position_of_their_number(tmp_path, lq, gt):
    """Sizes, scales and numbers of a clip in the names are no frame numbers."""
    frames(tmp_path / 'gt' / 'a', 5, (16, 32), gt, start=8)
    frames(tmp_path / 'lq' / 'a', 5, (4, 8), lq, start=8)
    assert find_clips(str(tmp_path))[0].length == 5
    shutil.rmtree(str(tmp_path / 'lq'))
    frames(tmp_path / 'lq' / 'a', 5, (4, 8), lq, start=9)
    with raises_facts(UserError, 'clip a', 'do not match', lq % 9, gt % 8):
        find_clips(str(tmp_path))
    os.remove(str(tmp_path / 'lq' / 'a' / (lq % 11)))
    with raises_facts(UserError, 'gap', lq % 10, lq % 12):
        find_clips(str(tmp_path), need_gt=False)


def test_two_readings_of_the_numbers_are_an_error(tmp_path):
    for index in range(5):
        frames(tmp_path / 'gt' / 'a', 1, (16, 32), '%04d.png', start=index)
        frames(tmp_path / 'lq' / 'a', 1, (4, 8), '%%04d_%04d.png' % (index + 1), start=index)
    with raises_facts(UserError, 'two ways', '0000_0001.png', '0000.png', '0 and 0', '1 and 0', 'rename'):
        find_clips(str(tmp_path))
    shutil.rmtree(str(tmp_path / 'lq'))
    for index in range(5):   # a time in each name
        frames(tmp_path / 'lq' / 'a', 1, (4, 8), '%%04d_%04d.png' % (40 * index), start=index)
    assert find_clips(str(tmp_path))[0].length == 5


def test_what_is_not_taken_is_named_once(tmp_path, capsys):
    frames(tmp_path / 'a')
    frames(tmp_path / 'b')
    for name in ('00001.xyz', 'B.XYZ'):
        (tmp_path / name).write_bytes(b'x')
    (tmp_path / 'deeper').mkdir()
    (tmp_path / 'deeper' / 'A.MTS').write_bytes(b'x')
    for name in ('@eaDir', 'lost+found', '.AppleDouble', '$RECYCLE.BIN', '#recycle', 'System Volume Information'):
        (tmp_path / name).mkdir()
    assert [clip.name for clip in find_clips(str(tmp_path), need_gt=False)] == ['a', 'b']
    note, = [line for line in capsys.readouterr().out.splitlines() if 'not taken' in line]
    for fact in ('00001.xyz, B.XYZ (a file without the suffix of a video)', 'deeper (a folder'):
        assert note.count(fact) == 1
    assert 'eaDir' not in note and 'RECYCLE' not in note
    assert clips.dataset_layouts.is_video('A.MTS') and clips.dataset_layouts.is_video('x.Vob')
    with raises_facts(UserError, '00001.xyz', 'without the suffix of a video', '.mts', '.mxf') as caught:
        find_clips(str(tmp_path / '00001.xyz'), need_gt=False)
    assert 'Layouts tried' not in str(caught.value)
