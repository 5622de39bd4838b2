"""Data sets in the layouts of their authors, videos, lists: each is detected, and an error lists the tried layouts."""
import os

import numpy as np
import pytest
from facts import raises_facts
from packed import write_video
from test_clips import frames

from data_tools.base.errors import UserError
from data_tools.media import dataset_layouts
from data_tools.media.clips import find_clips, parse_names
from data_tools.media.degradation import Degradation
from data_tools.media.frames import VideoFrames

SMALL, LARGE = (4, 8), (16, 32)


def sides(root, gt, lq, names=('a', 'b'), large=LARGE):
    for name in names:
        frames(os.path.join(str(root), gt.format(*name.split('_'))), size=large, name='im%d.png', start=1)
        frames(os.path.join(str(root), lq.format(*name.split('_'))), size=SMALL, name='im%d.png', start=1)


def folders(found):
    return [(clip.name, os.path.basename(os.path.dirname(clip.lq.path)), clip.length) for clip in found]


@pytest.mark.parametrize('gt, lq', [
    ('GT/{}', 'BIx4/{}'), ('GT/{}', 'BDx4/{}'),          # Vid4, UDM10, SPMCS of the toolboxes
    ('{}/truth', '{}/blur4'), ('{}/truth', '{}/input4')])   # UDM10 and SPMCS of their authors
def test_test_sets(tmp_path, gt, lq):
    sides(tmp_path, gt, lq)
    found = find_clips(str(tmp_path))
    assert [(clip.name, clip.length) for clip in found] == [('a', 3), ('b', 3)]
    assert found[0].gt.paths[0] == str(tmp_path / gt.format('a') / 'im1.png')
    assert found[0].lq.paths[2] == str(tmp_path / lq.format('a') / 'im3.png')


def test_two_kinds_of_lq(tmp_path, capsys):
    sides(tmp_path, 'GT/{}', 'BDx4/{}')
    sides(tmp_path, 'GT/{}', 'BIx4/{}')
    assert folders(find_clips(str(tmp_path)))[0] == ('a', 'BIx4', 3)
    assert 'LQ is taken from BIx4; --lq_folder=BDx4 takes the other' in capsys.readouterr().out
    assert folders(find_clips(str(tmp_path), lq_folder='BDx4'))[0] == ('a', 'BDx4', 3)
    assert folders(find_clips(str(tmp_path), need_gt=False))[0] == ('a', 'BIx4', 3)
    with raises_facts(UserError, 'clip a', 'GT frames', 'no LQ folder'):
        find_clips(str(tmp_path), lq_folder='BDx3')


@pytest.mark.parametrize('gt, lq, root', [
    ('vimeo_septuplet/sequences/{}/{}', 'vimeo_septuplet_matlabLRx4/sequences/{}/{}', ''),
    ('vimeo_septuplet/sequences/{}/{}', 'vimeo_septuplet_matlabLRx4/sequences/{}/{}', 'vimeo_septuplet'),
    ('vimeo_septuplet/sequences/{}/{}', 'vimeo_septuplet_BDLRx4/sequences/{}/{}', 'vimeo_septuplet'),
    ('my_vimeo/sequences/{}/{}', 'my_vimeo_matlabLRx4/sequences/{}/{}', 'my_vimeo'),
    ('GT/{}/{}', 'BIx4/{}/{}', '')])
def test_vimeo_90k(tmp_path, capsys, gt, lq, root):
    sides(tmp_path, gt, lq, ('00001_0001', '00001_0002', '00002_0001'))
    root = tmp_path / root
    assert [clip.name for clip in find_clips(str(root))] == ['00001_0001', '00001_0002', '00002_0001']
    top = tmp_path / os.path.dirname(gt.split('{')[0].rstrip('/'))
    (top / 'sep_trainlist.txt').write_text('00001/0001\n00002/0001\n\n')
    (top / 'sep_testlist.txt').write_text('00001/0002\n')
    found = find_clips(str(root), part='train')
    assert [clip.name for clip in found] == ['00001_0001', '00002_0001']
    assert found[1].lq.paths[0] == str(tmp_path / lq.format('00002', '0001') / 'im1.png')
    assert 'sep_trainlist.txt are taken, 2 of 3; --clips=all takes all' in capsys.readouterr().out
    assert [clip.name for clip in find_clips(str(root), part='test')] == ['00001_0002']
    assert len(find_clips(str(root), part='train', clips=parse_names('all'))) == 3
    assert parse_names('@%s' % (top / 'sep_testlist.txt')) == ['00001_0002']


def test_gt_beyond_a_multiple_of_the_scale_is_left_out(tmp_path, capsys):
    sides(tmp_path, 'GT/{}', 'BIx4/{}', large=(18, 35))
    clip = find_clips(str(tmp_path))[0]
    assert clip.gt.size == LARGE and next(clip.gt.read()).shape == LARGE + (3,)
    assert 'GT of 18x35 (height x width) is cropped to 16x32 at the right and at the bottom, in 2 clips' in (
        capsys.readouterr().out)


def test_videos(tmp_path):
    rng = np.random.RandomState(0)
    large = rng.randint(0, 256, (6, 16, 32, 3)).astype(np.uint8)
    (tmp_path / 'gt').mkdir()
    (tmp_path / 'lq').mkdir()
    write_video(tmp_path / 'gt' / 'x.mkv', large)
    write_video(tmp_path / 'lq' / 'x.avi', large[:, ::4, ::4])
    clip, = find_clips(str(tmp_path))
    assert clip.name == 'x' and clip.length == 6 and isinstance(clip.gt, VideoFrames)
    np.testing.assert_array_equal(list(clip.gt.read(2)), large[2:])
    np.testing.assert_array_equal(list(clip.lq.read()), large[:, ::4, ::4])
    np.testing.assert_array_equal(list(clip.gt.stretch(1, 5).stretch(1, 3).read()), large[2:4])
    for root in (tmp_path / 'gt', tmp_path / 'gt' / 'x.mkv'):   # a folder of videos, a video
        alone, = find_clips(str(root), need_lq=False)
        assert (alone.name, alone.length, alone.lq) == ('x', 6, None)
    elsewhere, = find_clips(str(tmp_path / 'gt'), lq_folder='../lq')
    assert elsewhere.lq.path.endswith('x.avi') and elsewhere.gt.path.endswith('x.mkv')
    write_video(tmp_path / 'lq' / 'x.avi', large[:5, ::4, ::4])
    with raises_facts(UserError, 'clip x', '5 LQ frames', 'x.avi', '6 GT frames', 'x.mkv'):
        find_clips(str(tmp_path))
    write_video(tmp_path / 'lq' / 'x.mkv', large[:, ::4, ::4])
    with pytest.raises(UserError, match=r'clip x exists twice: .*lq/x\.\w+ and .*lq/x\.\w+; keep one'):
        find_clips(str(tmp_path))


def test_lists(tmp_path):
    frames(tmp_path / 'day1' / 'a', size=LARGE)
    frames(tmp_path / 'day2' / 'a', size=LARGE)
    frames(tmp_path / 'set' / 'gt' / 'c', size=LARGE)
    path = tmp_path / 'clips.txt'
    path.write_text('# two days\nday1/a\n%s   # absolute\n\nset\n' % (tmp_path / 'day2' / 'a'))
    found = find_clips(str(path), need_lq=False)
    assert [clip.name for clip in found] == ['a', 'c', 'day2_a']
    assert found[2].gt.path == str(tmp_path / 'day2' / 'a')
    for text, message in (('# nothing', 'lists nothing; write one path'), ('day3/a', 'names .*day3/a, which does'),
                          ('day1/a\nday2/a\nday2/a', 'names two clips day2_a'), ('clips.txt', 'names the list')):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            find_clips(str(path), need_lq=False)


def test_nothing_found_shows_what_was_tried_and_what_is_there(tmp_path):
    frames(tmp_path / 'c1', size=LARGE)
    frames(tmp_path / 'c2', size=LARGE)
    (tmp_path / 'notes.md').write_text('x')
    with pytest.raises(UserError) as caught:
        find_clips(str(tmp_path))
    text = str(caught.value)
    for part in ('truth/NAME or gt/NAME or NAME/truth or NAME/gt with blur4/NAME or lq/NAME',
                 'train_sharp_bicubic/X4/NAME', 'GT/NAME or NAME/truth with BIx4/NAME', '.mp4',
                 'vimeo_septuplet_matlabLRx4/sequences/NAME/NAME', 'Found instead: 2 folders (c1, c2), 1 other files',
                 '2 clips have one side only: if that is GT, --make_lq makes LQ from it'):
        assert part in text, part
    clip = find_clips(str(tmp_path), degradation=Degradation('bicubic', 4))[0]
    assert clip.lq.size == SMALL


@pytest.mark.parametrize('pattern, base, parts, kind, path', [
    ('gt/*', '', ('x',), 'BI', 'lq/x'), ('*/truth', 'images', ('x',), 'BD', 'images/x/blur4'),
    ('GT/*', '', ('x',), 'BI', 'BIx4/x'), ('GT/*', '', ('x',), 'BD', 'BDx4/x'),
    ('val_sharp/*', 'val', ('007',), 'BI', 'val/val_sharp_bicubic/X4/007'), ('*', '', ('x',), 'BD', 'x'),
    ('sequences/*/*', 'v', ('00001', '0002'), 'BI', 'v_matlabLRx4/sequences/00001/0002'),
    ('sequences/*/*', '', ('00001', '0002'), 'BD', '../v_BDLRx4/sequences/00001/0002')])
def test_where_made_lq_belongs(pattern, base, parts, kind, path):
    place = dataset_layouts.Place('/data/v/%s' % pattern.replace('*', '{}').format(*parts), base, pattern, parts)
    assert dataset_layouts.lq_place(place, 4, kind) == path


def test_lq_of_each_layout_has_the_clips_of_its_gt():
    for layout in dataset_layouts.LAYOUTS.values():
        for kind in layout.lq:
            assert len(layout.lq_pattern(layout.gt[0], kind).split('*')) == len(layout.gt[0].split('*'))


def test_a_clip_in_both_parts_of_reds_names_the_remedy(tmp_path):
    sides(tmp_path, 'train_sharp/{}', 'train_sharp_bicubic/X4/{}', ['a'])
    sides(tmp_path, 'val_sharp/{}', 'val_sharp_bicubic/X4/{}', ['a'])
    with raises_facts(UserError, 'clip a', 'twice', 'regroup_reds'):
        find_clips(str(tmp_path))
