"""Videos to TFRecords: the decoded pixels, shot by shot; the bytes do not depend on the division of the work."""
import glob
import hashlib
import os

import numpy as np
import pytest
from facts import raises_facts
from helpers import smooth_frames
from packed import write_video
from test_video import make

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, video
from data_tools.media.degradation import Degradation, make_lq
from data_tools.packing import pack as packing
from data_tools.packing import scratch as scratch_files
from data_tools.packing import shard_writer, verification
from data_tools.packing.config import PackConfig
from data_tools.packing.defaults import resolve_defaults
from data_tools.packing.job import describe_job, order_in_shards
from data_tools.packing.scratch import Scratch
from data_tools.record import record_format, shard_reader
from data_tools.record.manifest import Manifest

LENGTHS = (7, 6, 9)


@pytest.fixture(scope='module', autouse=True)
def loaded():
    files.tensorflow()   # workers inherit it; each would load it


@pytest.fixture(scope='module')
def scenes():
    """uint8 [22, 35, 51, 3]: three shots of an odd size."""
    return np.concatenate([smooth_frames(length, 35, 51, seed) for seed, length in enumerate(LENGTHS)])


@pytest.fixture
def videos(tmp_path, scenes):
    (tmp_path / 'videos').mkdir()
    write_video(tmp_path / 'videos' / 'a.mkv', scenes)
    write_video(tmp_path / 'videos' / 'b.avi', smooth_frames(6, 32, 48, 9))
    return str(tmp_path / 'videos')


def options(videos, output, **more):
    return PackConfig(**dict(dict(data_dir=videos, output_dir=str(output), num_frames=3, num_shards=4, make_lq=True,
                                  workers=1, encoding='tiles', seed=2), **more))


def pack(videos, output, **more):
    packing.pack_set(options(videos, output, **more))
    return str(output)


def digests(folder):
    return [hashlib.sha1(open(path, 'rb').read()).hexdigest()
            for path in sorted(glob.glob(os.path.join(folder, '*.tfrecord')) + [os.path.join(folder, 'manifest.json')])]


def windows(folder):
    return {(window.clip, window.centre): window for shard in Manifest.read(folder).shards for window in (
        record_format.decode(record) for _, _, record, _ in shard_reader.walk(os.path.join(folder, shard.name)))}


def sound(folder, source):
    problems = []
    verification.check_set(folder, source=source, report=problems.append)
    return problems == []


def test_every_window_holds_frames_of_one_shot(videos, scenes, tmp_path, capsys):
    folder = pack(videos, tmp_path / 'set')
    assert 'GT of 35x51 (height x width) is cropped to 32x48' in capsys.readouterr().out
    found = windows(folder)
    assert len(found) == 28
    starts = np.cumsum((0,) + LENGTHS)
    for (clip, index), window in found.items():
        first, source = (starts[int(clip[-1])], scenes) if clip[0] == 'a' else (0, smooth_frames(6, 32, 48, 9))
        gt = source[first + index, :32, :48]
        np.testing.assert_array_equal(window.gt, gt)
        assert max(window.frames) < window.length == (LENGTHS[int(clip[-1])] if clip[0] == 'a' else 6)
        for frame, lq in zip(window.frames, window.lq):
            np.testing.assert_array_equal(lq, make_lq(source[first + frame, :32, :48], 4))
    manifest = Manifest.read(folder)
    assert manifest.job['shots'] == {'a': [[0, 7], [7, 13], [13, 22]], 'b': [[0, 6]]}
    assert manifest.job['degradation'] == {'kind': 'bicubic', 'resize': 'matlab'}
    assert manifest.job['ffmpeg'] == ffmpeg.version()
    assert manifest.sizes == [(8, 12)]
    assert not glob.glob(os.path.join(folder, 'scratch*')) and sound(folder, videos)


@pytest.mark.parametrize('name, more', [
    ('a_shot000', {}), ('a_shot001_version1', dict(versions=2, lq_noise=('gaussian',)))])
def test_two_clips_of_one_name_are_refused(videos, tmp_path, name, more):
    write_video(os.path.join(videos, name + '.mkv'), smooth_frames(5, 32, 48, 3))
    with raises_facts(UserError, name, 'a.mkv', name + '.mkv', '--exclude'):
        pack(videos, tmp_path / 'set', **more)
    assert not glob.glob(str(tmp_path / 'set' / '*.tfrecord'))
    folder = pack(videos, tmp_path / 'set', exclude=name, **more)
    assert len(Manifest.read(folder).job['clips']) == 4 * more.get('versions', 1)


def test_a_clip_with_the_name_of_a_shot_that_is_left_out_is_packed(videos, tmp_path):
    """Checks that a shot shorter than a window is left out, and that the video of its name is packed."""
    write_video(os.path.join(videos, 'a_shot001.mkv'), smooth_frames(8, 32, 48, 3))
    folder = pack(videos, tmp_path / 'set', num_frames=7, fill='none', exclude='b', num_shards=1)
    assert sorted(Manifest.read(folder).job['clips']) == [['a_shot000', 7], ['a_shot001', 8], ['a_shot002', 9]]


def test_the_same_bytes_however_the_work_is_cut_up(videos, tmp_path):
    made = dict(degradation='compressed', crf=(10, 30), lq_noise=('gaussian', 'salt_pepper'))
    one = pack(videos, tmp_path / 'one', **made)
    lq = 28 * 3 * 8 * 12
    several = pack(videos, tmp_path / 'two', workers=2, scratch_dir=str(tmp_path / 'scratch'),
                   scratch_gb=(lq + 40000) / 1e9, **made)   # GT of about 9 of the 28 windows at a time
    assert digests(one) == digests(several) and os.listdir(str(tmp_path / 'scratch')) == []
    for part in ('1:4', '0:1'):
        parts = pack(videos, tmp_path / 'three', shard_range=part, **made)
    packing.pack_set(options(videos, tmp_path / 'three', merge_manifests=True, **made))
    assert digests(parts) == digests(one)
    assert sound(one, videos)
    degradation = Degradation.from_job(Manifest.read(one).job)
    b = smooth_frames(6, 32, 48, 9)
    for window in windows(one).values():
        if window.clip == 'b':
            expected = list(degradation.apply(iter(b), 'b'))
            np.testing.assert_array_equal(window.lq, [expected[frame] for frame in window.frames])


def test_a_stopped_run_continues(videos, tmp_path):
    config = options(videos, tmp_path / 'set')
    found, shots = packing.find_source(resolve_defaults(config)[0])
    job = describe_job(config, found, shots)
    scratch = Scratch('', config.output_dir, range(4), job)
    os.makedirs(scratch.folder)
    centres = {clip.name: list(range(clip.length)) for clip in found}
    scratch_files.decode_clips(found[:2], centres, scratch)   # two of the four clips, then the power went
    before = {name: os.stat(os.path.join(scratch.folder, name)).st_mtime_ns for name in os.listdir(scratch.folder)}
    assert len(before) == 4
    assert [scratch.missing(clip, centres[clip.name]) for clip in found] == [(False, False)] * 2 + [(True, True)] * 2
    scratch_files.decode_clips(found, centres, scratch)
    after = {name: os.stat(os.path.join(scratch.folder, name)).st_mtime_ns for name in os.listdir(scratch.folder)}
    assert len(after) == 8 and {name: after[name] for name in before} == before
    np.testing.assert_array_equal(scratch.read_gt(found[2], 3, centres['a_shot002']),
                                  next(found[2].gt.read(3)))


def test_only_the_clip_that_has_changed_is_packed_again(videos, tmp_path, monkeypatch, capsys):
    folder = pack(videos, tmp_path / 'set')
    old = smooth_frames(6, 32, 48, 9)
    write_video(os.path.join(videos, 'b.avi'), 255 - old)   # as many frames
    with raises_facts(UserError, '1 clips', 'changed', 'b', '--update'):
        pack(videos, folder)
    log, encode = tmp_path / 'encoded', shard_writer.encode_window

    def encoding(clip, *rest):
        with open(str(log), 'a') as file:
            file.write(clip.name + '\n')
        return encode(clip, *rest)
    monkeypatch.setattr(shard_writer, 'encode_window', encoding)
    pack(videos, folder, update=True)
    assert log.read_text().split() == ['b'] * 6
    fresh = pack(videos, tmp_path / 'fresh')
    assert digests(folder) == digests(fresh)
    # an unfinished set needs no flag
    pack(videos, tmp_path / 'part', shard_range='0:3')
    write_video(os.path.join(videos, 'b.avi'), old)
    log.write_text('')
    pack(videos, tmp_path / 'part')
    assert 'the source of 1 clips has changed since they were packed; they are packed again: b' in (
        capsys.readouterr().out)
    shards = [['a' if clip < 3 else 'b' for clip, _ in part] for part in order_in_shards(files.read_json(
        str(tmp_path / 'part' / 'job.json')))]
    assert sorted(name[0] for name in log.read_text().split()) == sorted(
        [name for shard in shards[:3] for name in shard if name == 'b'] + shards[3])
    assert sound(str(tmp_path / 'part'), videos)
    write_video(os.path.join(videos, 'b.avi'), old[:5])
    with raises_facts(UserError, 'another job', 'clips', 'shots', 'windows'):
        pack(videos, folder, update=True)


def test_videos_are_scanned_once(videos, tmp_path, monkeypatch):
    pack(videos, tmp_path / 'set')

    def inspect(*arguments):
        raise AssertionError('decoded again')
    monkeypatch.setattr(video, 'inspect', inspect)
    pack(videos, tmp_path / 'set')


def test_codecs_odd_sizes_and_variable_rates(tmp_path):
    (tmp_path / 'v').mkdir()
    make(tmp_path / 'v' / 'h264.mp4', '-pix_fmt', 'yuv420p', size='66x50', frames=6, rate='30000/1001')
    make(tmp_path / 'v' / 'vfr.mkv', '-vf', "select='not(eq(mod(n,3),1))'", *ffmpeg.each_frame(), '-pix_fmt', 'yuv420p',
         size='66x50', frames=6)
    make(tmp_path / 'v' / 'vp9.webm', '-pix_fmt', 'yuv420p', '-c:v', 'libvpx-vp9', '-deadline', 'realtime',
         size='65x51', frames=6)
    make(tmp_path / 'v' / 'mpeg4.avi', '-c:v', 'mpeg4', size='64x48', frames=6)
    folder = pack(str(tmp_path / 'v'), tmp_path / 'set', encoding='raw')
    manifest = Manifest.read(folder)
    assert manifest.job['clips'] == [['h264', 6], ['mpeg4', 6], ['vfr', 6], ['vp9', 6]]
    assert manifest.sizes == [(12, 16)] and sound(folder, str(tmp_path / 'v'))
    info = video.inspect(str(tmp_path / 'v' / 'vfr.mkv'))
    assert not info.constant_rate
    for index, frame in enumerate(video.decode(info)):
        np.testing.assert_array_equal(windows(folder)['vfr', index].gt, frame[:48, :64])


def test_short_shots_are_left_out_and_named(videos, tmp_path, capsys):
    folder = pack(videos, tmp_path / 'set', num_frames=7, exclude='b')
    assert 'note: 1 shots are left out, because they have fewer frames than a window (7): a_shot001 (6)' in (
        capsys.readouterr().out)
    assert [name for name, _ in Manifest.read(folder).job['clips']] == ['a_shot000', 'a_shot002']
    assert sound(folder, videos)
    with raises_facts(UserError, '3 shots', 'window (11)', '--nosplit_shots'):
        pack(videos, tmp_path / 'other', num_frames=11, exclude='b')
    whole = pack(videos, tmp_path / 'whole', num_frames=11, exclude='b', split_shots=False, fill='none')
    assert sorted(index for _, index in windows(whole)) == list(range(5, 17))
    assert sound(whole, videos)


def test_too_little_space_is_reported_before_the_work(videos, tmp_path):
    with raises_facts(UserError, 'decoded frames', '0.00 GB', '--scratch_gb', 'free'):
        pack(videos, tmp_path / 'set', scratch_gb=1e-6)
    pack(videos, tmp_path / 'set', exclude='a')   # other options: nothing was done with the first
    assert sorted(os.listdir(str(tmp_path / 'set'))) == ['job.json', 'manifest.json'] + [
        'shard-%05d-of-00004.tfrecord' % i for i in range(4)] + ['videos.json']
