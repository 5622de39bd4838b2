"""LMDBs made for BasicSR as source: clips of their list, GT of the centre frame alone, wrong lists and values."""
import concurrent.futures
import os
import shutil

import numpy as np
import pytest
from facts import check_facts, raises_facts
from packed import pack

from data_tools.base.errors import UserError
from data_tools.media import clips, images, lmdb_source, splits
from data_tools.media.degradation import make_lq
from data_tools.packing import pack as packing
from data_tools.packing import verification
from data_tools.packing.config import PackConfig
from data_tools.packing.defaults import resolve_defaults
from data_tools.record import record_format, shard_reader
from data_tools.record.manifest import Manifest

lmdb = pytest.importorskip('lmdb')


def frames(count, seed, size=(16, 24)):
    return np.random.RandomState(seed).randint(0, 256, (count,) + size + (3,)).astype(np.uint8)


def write(root, values):
    """Writes an LMDB as BasicSR does; `values` are {name with suffix: image}."""
    environment = lmdb.open(str(root), map_size=2 ** 24)
    with environment.begin(write=True) as transaction:
        for name, image in values.items():
            transaction.put(os.path.splitext(name)[0].encode(), images.encode_png(image))
    environment.close()
    with open(str(root / 'meta_info.txt'), 'w') as file:
        file.writelines('%s (%d,%d,3) 1\n' % ((name,) + image.shape[:2]) for name, image in values.items())
    return str(root)


def test_lines_that_lead_out_of_a_folder_or_merge_clips_are_refused(tmp_path):
    root = tmp_path / 'x.lmdb'
    root.mkdir()

    def find(*keys):
        (root / 'meta_info.txt').write_text(''.join('%s.png (16,24,3) 1\n' % key for key in keys))
        return lmdb_source.find(str(root))

    assert set(find('X4/a/b/0', 'X4/a/c/0', 'X4/a/b/1', '..a/0')) == {'a_b', 'a_c', '..a'}
    for key in ('../0', 'X4/../0', 'X4//0', '/tmp/0', 'a/../b/0', './0', 'a/./0', '//0', 'a\\b/0', 'a\0b/0', 'a/b\0',
                'a.partial/0', 'a/..'):
        with raises_facts(UserError, 'meta_info.txt', 'line 2', repr(key)):
            find('000/0', key)
    for keys in (('a/b_c/0', 'a_b/c/1'), ('a_b/c/0', 'X4/a/b_c/0')):
        with raises_facts(UserError, 'meta_info.txt', 'line 2', 'a/b_c', 'a_b/c', 'a_b_c'):
            find(*keys)
    for keys in (('a/0', 'a/0'), ('a/0', 'X4/a/0')):
        with raises_facts(UserError, 'meta_info.txt', 'line 2', keys[1], 'twice'):
            find(*keys)


@pytest.fixture
def reds(tmp_path):
    """(GT, LQ, {clip: frames}): two clips, in an order that is not that of the numbers; LQ in the folder X4."""
    source = {name: frames(5, seed) for seed, name in enumerate(('001', '000'))}
    sides = [{}, {}]
    for name, clip in source.items():
        for index in (3, 0, 4, 1, 2):
            sides[0]['%s/%08d.png' % (name, index)] = clip[index]
            sides[1]['X4/%s/%08d.png' % (name, index)] = make_lq(clip[index], 4)
    return write(tmp_path / 'gt.lmdb', sides[0]), write(tmp_path / 'lq.lmdb', sides[1]), source


def windows(folder):
    for shard in Manifest.read(folder).shards:
        for _, _, record, error in shard_reader.walk(os.path.join(folder, shard.name)):
            assert error is None
            yield record_format.decode(record)


def test_windows_of_an_lmdb(reds, tmp_path):
    gt, lq, source = reds
    folder = pack(gt, tmp_path / 'set', fill='none', lq_folder=lq)
    found = list(windows(folder))
    assert sorted((window.clip, window.centre) for window in found) == [(name, index) for name in ('000', '001')
                                                                       for index in (1, 2, 3)]
    for window in found:
        clip = source[window.clip]
        np.testing.assert_array_equal(window.gt, clip[window.centre])
        for frame, image in zip(window.frames, window.lq):
            np.testing.assert_array_equal(image, make_lq(clip[frame], 4))
    made = pack(gt, tmp_path / 'made', make_lq=True, clips='001')
    assert Manifest.read(made).records == 5
    assert verification.check_set(made, True, gt) == 0


def test_gt_of_the_centre_frame_alone(tmp_path):
    """Vimeo-90K: GT has only im4 of each clip of seven frames."""
    clip = frames(7, 0)
    gt = write(tmp_path / 'GT_only4th.lmdb', {'00001/0002/im4.png': clip[3]})
    lq = write(tmp_path / 'LR7frames.lmdb', {'00001/0002/im%d.png' % (i + 1): make_lq(clip[i], 4) for i in range(7)})
    folder = pack(gt, tmp_path / 'set', fill='none', num_frames=7, num_shards=1, lq_folder=lq)
    window, = windows(folder)
    assert window.clip == '00001_0002' and window.centre == 3
    np.testing.assert_array_equal(window.gt, clip[3])
    np.testing.assert_array_equal(window.lq[6], make_lq(clip[6], 4))
    assert verification.check_set(folder, True, gt, lq_folder=lq) == 0
    with raises_facts(UserError, 'frame 0', '00001/0002', '--num_frames=7', '--fill=none'):
        clips.find_clips(gt, 4, lq_folder=lq)[0].gt.frame(0)


def clip_of(root, indices, folder='', scale=1):
    clip = frames(10, 0)
    return write(root, {'%s000/%08d.png' % (folder, i): make_lq(clip[i], scale) if scale > 1 else clip[i]
                        for i in indices})


@pytest.mark.parametrize('lacking, number', [([4, 5, 6], 4), ([9], 9), ([0], 0), ([1, 3, 5, 7, 9], 1)])
def test_gt_frames_that_the_lq_lacks_are_named(tmp_path, lacking, number):
    gt = clip_of(tmp_path / 'gt.lmdb', range(10))
    lq = clip_of(tmp_path / 'lq.lmdb', [i for i in range(10) if i not in lacking], 'X4/', 4)
    with raises_facts(UserError, lq, gt, '000/%08d' % number, '%d of 10' % len(lacking)):
        clips.find_clips(gt, 4, lq_folder=lq, allow_gaps=True)


def test_gaps_in_the_numbering_are_named(tmp_path):
    indices = [0, 1, 2, 3, 7, 8, 9]
    gt, lq = clip_of(tmp_path / 'gt.lmdb', indices), clip_of(tmp_path / 'lq.lmdb', indices, 'X4/', 4)
    for options in (dict(lq_folder=lq), dict(need_lq=False)):
        with raises_facts(UserError, gt, 'gap', '00000003', '00000007'):
            clips.find_clips(gt, 4, **options)
        assert clips.find_clips(gt, 4, allow_gaps=True, **options)[0].length == 7


def test_threads_and_processes_read_at_once(reds, tmp_path):
    """As Apache Beam's local runner, and as worker processes that are forked after the list was read."""
    gt, lq, _ = reds
    found = clips.find_clips(gt, 4, lq_folder=lq)[0].gt
    wanted = [found.frame(index) for index in range(found.length)]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            for frame, first in zip(threads.map(found.frame, range(found.length)), wanted):
                np.testing.assert_array_equal(frame, first)
    packing.pack_set(PackConfig(data_dir=gt, lq_folder=lq, output_dir=str(tmp_path / 'set'), num_frames=3, workers=2))
    assert verification.check_set(str(tmp_path / 'set'), True, gt, lq_folder=lq) == 0


def test_gt_that_differs_from_its_set_is_found(tmp_path, capsys):
    clip = frames(7, 0)
    lq = write(tmp_path / 'LR7frames.lmdb', {'00001/0002/im%d.png' % (i + 1): make_lq(clip[i], 4) for i in range(7)})
    folders = [write(tmp_path / ('GT_%s.lmdb' % name), {'00001/0002/im4.png': clip[index]})
               for name, index in (('a', 3), ('b', 4))]
    folder = pack(folders[0], tmp_path / 'set', fill='none', num_frames=7, num_shards=1, lq_folder=lq)
    assert verification.check_set(folder, True, folders[1], lq_folder=lq) == 1
    check_facts(capsys.readouterr().out, '00001_0002', 'frame 3', 'GT differs')


def test_reds4_is_held_out(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    root = write(tmp_path / 'x.lmdb', {'%03d/00000000.png' % i: image for i in range(270)})
    assert splits.held_out(root).names == ['000', '011', '015', '020']
    small = write(tmp_path / 'y.lmdb', {'%03d/00000000.png' % i: image for i in range(30)})
    assert splits.held_out(small).names is None


def test_wrong_lmdbs_are_named(reds, tmp_path):
    gt, lq, _ = reds
    meta = os.path.join(gt, 'meta_info.txt')
    with open(meta) as file:
        text = file.read()

    def find():
        return clips.find_clips(gt, 4, lq_folder=lq)

    with raises_facts(UserError, gt, '--lq_folder', '--make_lq'):
        clips.find_clips(gt, 4)
    with raises_facts(UserError, '--output_dir', gt, 'an LMDB'):
        resolve_defaults(PackConfig(data_dir=gt))
    for content, facts in [(None, [gt, 'no meta_info.txt', 'data.mdb']), ('', ['meta_info.txt', 'lists no images']),
                           ('baboon.png (120,123,3) 1\n', ['line 1', 'baboon.png']),
                           (text + '000/00000009.png (8,8,3) 1\n', ['line 11', '8x8', '16x24'])]:
        os.remove(meta) if content is None else open(meta, 'w').close()
        if content:
            with open(meta, 'w') as file:
                file.write(content)
        with raises_facts(UserError, *facts):
            find()
    with open(meta, 'w') as file:
        file.write(text.replace('000/00000002', '000/00000007'))
    with raises_facts(UserError, gt, 'no image 000/00000007', 'meta_info.txt'):
        list(clips.find_clips(gt, 4, need_lq=False, allow_gaps=True)[0].gt.read())
    with open(os.path.join(gt, 'data.mdb'), 'r+b') as file:
        file.write(b'x' * 9000)
    with open(meta, 'w') as file:
        file.write(text)
    copy = shutil.copytree(gt, str(tmp_path / 'copy.lmdb'))
    with raises_facts(UserError, copy, 'LMDB', 'data.mdb', 'again'):
        clips.find_clips(copy, 4, need_lq=False)[0].gt.frame(0)
