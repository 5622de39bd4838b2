"""Restores folders, data sets and videos to PNG folders and videos: complete, resumable, equal in every way."""
import os
import re
import shutil
from fractions import Fraction

import numpy as np
import pytest
from facts import check_error, raises_facts
from helpers import smooth_frames, tiny_checkpoint
from test_video import make

from data_tools.base.errors import UserError
from data_tools.media import frames, video
from data_tools.media.deinterlacing import Deinterlacing
from data_tools.media.images import read_image, write_png
from data_tools.media.imresize import enlarge
from edvr import checkpoints
from edvr.config import ConfigError
from edvr.config.export import ExportConfig
from edvr.config.infer import InferConfig
from edvr.config.restoration import RestoreConfig
from edvr.exporting.export_job import export
from edvr.output import clip_source
from edvr.output.infer_job import prepare, preview, run
from edvr.restore.pixels import to_uint8
from edvr.restore.restorer import Restorer
from edvr.sharing.workers import ThisProcess


def infer(restorer, restore_config, config):
    return run(prepare(restorer, restore_config, config), ThisProcess(restorer))


@pytest.fixture(name='restore')
def restore_with_the_shared_network(restorer, checkpoint):
    """Runs infer on the shared network."""
    def run(source, output, **options):
        return infer(restorer, RestoreConfig(checkpoint=checkpoint),
                     InferConfig(input=str(source), output=str(output), **options))
    return run


def write_clip(folder, count=5, height=14, width=18, seed=0, start=0):
    """PNG frames, an uneven size on purpose; returns them, uint8 [count, height, width, 3]."""
    os.makedirs(str(folder))
    images = smooth_frames(count, height, width, seed)
    for index, image in enumerate(images):
        write_png(os.path.join(str(folder), '%03d.png' % (start + index)), image)
    return images


def expected(restorer, images):
    return [to_uint8(sr) for sr in restorer.restore_clip(iter(images))]


def assert_folder_holds(folder, want, start=0):
    names = sorted(name for name in os.listdir(str(folder)) if not name.startswith('.'))
    assert names == ['%03d.png' % (start + index) for index in range(len(want))]
    for name, image in zip(names, want):
        np.testing.assert_array_equal(read_image(os.path.join(str(folder), name)), image)


def test_a_folder_of_images_keeps_its_names(restorer, restore, tmp_path):
    images = write_clip(tmp_path / 'clip', start=7)
    assert restore(tmp_path / 'clip', tmp_path / 'out') == 5
    assert_folder_holds(tmp_path / 'out', expected(restorer, images), start=7)


def test_a_dataset_gives_a_folder_per_clip(restorer, restore, tmp_path):
    first, second = (write_clip(tmp_path / 'blur4' / name, 4, seed=seed) for seed, name in enumerate(('000', '011')))
    assert restore(tmp_path, tmp_path / 'out') == 8
    assert sorted(os.listdir(str(tmp_path / 'out'))) == ['000', '011']
    assert_folder_holds(tmp_path / 'out' / '000', expected(restorer, first))
    assert_folder_holds(tmp_path / 'out' / '011', expected(restorer, second))
    assert restore(tmp_path, tmp_path / 'one', clips='011') == 4   # a single clip needs no subfolder
    assert_folder_holds(tmp_path / 'one', expected(restorer, second))


def test_a_network_without_upscaling_takes_the_lq_of_full_size(tmp_path):
    images = write_clip(tmp_path / 'set' / 'truth' / '000', count=3, height=16, width=16)
    write_clip(tmp_path / 'set' / 'blur1' / '000', count=3, height=16, width=16)
    checkpoint = tiny_checkpoint(tmp_path / 'train', hr_in=True)
    with Restorer(checkpoint) as restorer:
        infer(restorer, RestoreConfig(checkpoint=checkpoint),
              InferConfig(input=str(tmp_path / 'set'), output=str(tmp_path / 'out')))
        assert_folder_holds(tmp_path / 'out', expected(restorer, images))


@pytest.mark.parametrize('first', [1, 4, 6, 8])
def test_an_interrupted_run_continues_and_reads_only_the_neighbours(restorer, restore, tmp_path, monkeypatch, first):
    images = write_clip(tmp_path / 'clip', 9)
    restore(tmp_path / 'clip', tmp_path / 'out')
    for index in range(first, 9):
        os.remove(str(tmp_path / 'out' / ('%03d.png' % index)))
    read = []

    def counting(path, *options):
        read.append(int(os.path.basename(path)[:3]))
        return read_image(path, *options)
    monkeypatch.setattr(frames, 'read_image', counting)
    assert restore(tmp_path / 'clip', tmp_path / 'out') == 9 - first
    assert read == list(range(max(0, first - 2), 9))   # T = 3: the last frame's window may reach back two
    assert_folder_holds(tmp_path / 'out', expected(restorer, images))


def test_nothing_is_done_twice_and_overwrite_starts_over(restore, tmp_path, capsys):
    write_clip(tmp_path / 'clip')
    restore(tmp_path / 'clip', tmp_path / 'out')
    before = os.stat(str(tmp_path / 'out' / '002.png')).st_mtime_ns
    assert restore(tmp_path / 'clip', tmp_path / 'out') == 0
    assert 'nothing to do' in capsys.readouterr().out
    assert os.stat(str(tmp_path / 'out' / '002.png')).st_mtime_ns == before
    assert restore(tmp_path / 'clip', tmp_path / 'out', overwrite=True) == 5


def test_frames_of_another_network_are_not_mixed(restore, tmp_path):
    write_clip(tmp_path / 'clip')
    restore(tmp_path / 'clip', tmp_path / 'out')
    os.remove(str(tmp_path / 'out' / '004.png'))
    other = tiny_checkpoint(tmp_path / 'other', seed=1)
    with Restorer(other) as restorer, raises_facts(UserError, 'restored differently', 'network'):
        infer(restorer, RestoreConfig(checkpoint=other), InferConfig(input=str(tmp_path / 'clip'),
                                                                     output=str(tmp_path / 'out')))


def test_an_exported_graph_gives_the_same_frames(restorer, restore, checkpoint, tmp_path):
    images = write_clip(tmp_path / 'clip', 3)
    path = str(tmp_path / 'EDVR.pb')
    export(ExportConfig(checkpoint=checkpoint, output=path, batch_size=1, height=16, width=20), log=lambda line: None)
    with Restorer(path) as frozen:
        infer(frozen, RestoreConfig(checkpoint=path), InferConfig(input=str(tmp_path / 'clip'),
                                                                  output=str(tmp_path / 'out')))
    for index, want in enumerate(expected(restorer, images)):
        got = read_image(str(tmp_path / 'out' / ('%03d.png' % index)))
        assert got.shape == (56, 72, 3) and np.abs(got.astype(int) - want).max() <= 1


def test_a_video_becomes_a_video_with_its_rate_and_audio(restorer, restore, tmp_path):
    path = make(tmp_path / 'a.mp4', '-f', 'lavfi', '-i', 'sine=duration=0.3', '-c:a', 'aac', '-pix_fmt', 'yuv420p',
                rate='30000/1001', frames=7)
    assert restore(path, tmp_path / 'b.mkv', crf=1) == 7
    info = video.inspect(str(tmp_path / 'b.mkv'))
    assert (info.height, info.width, info.num_frames, info.audio) == (96, 128, 7, ('aac',))
    assert info.rate == Fraction(30000, 1001)
    want = expected(restorer, list(video.decode(video.inspect(path))))
    for got, image in zip(video.decode(info), want):
        assert np.abs(got.astype(int) - image).mean() < 6   # 4:2:0 loses colour detail of this random network
    with pytest.raises(UserError, match=r'b\.mkv exists'):
        restore(path, tmp_path / 'b.mkv')


def test_a_video_becomes_numbered_frames_and_resumes(restorer, restore, tmp_path):
    path = make(tmp_path / 'a.mkv', '-pix_fmt', 'yuv420p', frames=6)
    restore(path, tmp_path / 'out')
    want = expected(restorer, list(video.decode(video.inspect(path))))
    for index in (3, 4, 5):
        os.remove(str(tmp_path / 'out' / ('%08d.png' % index)))
    assert restore(path, tmp_path / 'out') == 3
    for index, image in enumerate(want):
        np.testing.assert_array_equal(read_image(str(tmp_path / 'out' / ('%08d.png' % index))), image)


def test_images_become_a_video(restore, tmp_path):
    write_clip(tmp_path / 'clip', 3, 15, 17)
    (tmp_path / 'new').mkdir()
    for name in ('a.mp4.17.partial', 'b.mp4.17.partial'):   # of a killed run, and of one that goes on beside this
        (tmp_path / 'new' / name).write_bytes(b'')
    restore(tmp_path / 'clip', tmp_path / 'new' / 'a.mp4', fps=12.5)
    assert sorted(os.listdir(str(tmp_path / 'new'))) == ['a.mp4', 'b.mp4.17.partial']
    info = video.inspect(str(tmp_path / 'new' / 'a.mp4'))
    assert (info.height, info.width, info.num_frames, info.rate) == (60, 68, 3, Fraction(25, 2))


def test_a_cut_video_leaves_nothing_as_if_whole(restore, tmp_path):
    path = make(tmp_path / 'a.mkv', '-pix_fmt', 'yuv420p', '-g', '5', frames=40)
    with open(path, 'r+b') as file:
        file.truncate(os.path.getsize(path) // 2)
    with pytest.raises(UserError, match=r'only \d+ frames decode'):
        restore(path, tmp_path / 'b.mp4')
    assert sorted(os.listdir(str(tmp_path))) == ['a.mkv']


def test_a_frame_that_does_not_decode_stops_with_its_name_and_keeps_the_others(restore, tmp_path):
    write_clip(tmp_path / 'clip', 6)
    path = tmp_path / 'clip' / '004.png'
    path.write_bytes(path.read_bytes()[:-40])
    with raises_facts(UserError, 'clip clip', '004.png', 'decode'):
        restore(tmp_path / 'clip', tmp_path / 'out')
    done = sorted(name for name in os.listdir(str(tmp_path / 'out')) if name.endswith('.png'))
    assert done == ['%03d.png' % index for index in range(len(done))] and len(done) <= 3
    with pytest.raises(UserError, match=r'004\.png does not decode'):
        restore(tmp_path / 'clip', tmp_path / 'b.mp4')
    assert not (tmp_path / 'b.mp4').exists()


def test_a_frame_that_cannot_be_written_stops_with_its_name(restore, tmp_path):
    write_clip(tmp_path / 'clip', 3)
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'cannot write .*file/out'):
        restore(tmp_path / 'clip', tmp_path / 'file' / 'out')
    with pytest.raises(UserError, match=r'cannot write .*file'):
        restore(tmp_path / 'clip', tmp_path / 'file' / 'a.mp4')


def test_inputs_that_cannot_be_used(restore, tmp_path):
    write_clip(tmp_path / 'mixed', 2)
    write_png(str(tmp_path / 'mixed' / '002.png'), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'videos').mkdir()
    (tmp_path / 'videos' / 'x.mp4').write_bytes(b'')
    for source, text in (('mixed', '000.png is 14x18 but .*002.png is 8x8'), ('empty', 'no clips'),
                         ('absent', 'no such file or folder'), ('mixed/000.png', 'is a single image'),
                         ('videos', r'x\.mp4 is not a video that can be decoded')):
        with pytest.raises(UserError, match=text):
            restore(tmp_path / source, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_outputs_that_cannot_be_used(restore, tmp_path):
    write_clip(tmp_path / 'in' / '000', 2)
    write_clip(tmp_path / 'in' / '001', 2)
    with raises_facts(UserError, 'one video', '--input', '2 clips'):
        restore(tmp_path / 'in', tmp_path / 'a.mp4')
    with pytest.raises(UserError, match='would write over the input'):
        restore(tmp_path / 'in' / '000', tmp_path / 'in' / '000')
    with pytest.raises(UserError, match='would write over the input'):
        restore(tmp_path / 'in', tmp_path / 'in')
    with pytest.raises(UserError, match=r'videos are written as'):
        restore(tmp_path / 'in' / '000', tmp_path / 'a.avi')
    shutil.copy(str(tmp_path / 'in' / '000' / '000.png'), str(tmp_path / 'in' / '000' / '001.bmp'))
    with pytest.raises(UserError, match=r'two frames of one number|would both become'):
        restore(tmp_path / 'in' / '000', tmp_path / 'out')
    with pytest.raises(ConfigError, match='--input is not given'):
        InferConfig(input='', output='x')
    with pytest.raises(ConfigError, match='--output is not given'):
        InferConfig(input='x', output='')
    with raises_facts(ConfigError, 'crf', 60, 'libx264', 51):
        InferConfig(input='x', output='y.mp4', codec='libx264', crf=60)


def test_an_unknown_suffix_is_no_folder(restore, tmp_path):
    write_clip(tmp_path / 'clip', 2)
    with raises_facts(UserError, 'x.mpx', 'videos', 'folder', 'takes a /'):
        restore(tmp_path / 'clip', tmp_path / 'x.mpx')
    assert restore(tmp_path / 'clip', '%s/' % (tmp_path / 'x.mpx')) == 2
    assert restore(tmp_path / 'clip', tmp_path / 'x.mpx') == 0   # it is a folder now
    assert restore(tmp_path / 'clip', tmp_path / 'scale1.5') == 2


def test_parts_make_the_whole(restorer, restore, tmp_path):
    images = [write_clip(tmp_path / 'blur4' / name, 3, seed=seed) for seed, name in enumerate(('000', '001', '002'))]
    assert restore(tmp_path, tmp_path / 'out', part='2/2') == 3
    assert os.listdir(str(tmp_path / 'out')) == ['001']   # the share's only clip keeps its folder
    assert restore(tmp_path, tmp_path / 'out', part='1/2') == 6
    for number in range(3):
        assert_folder_holds(tmp_path / 'out' / ('%03d' % number), expected(restorer, images[number]))
    assert restore(tmp_path, tmp_path / 'out', part='5/7') == 0
    with pytest.raises(ConfigError, match="part is '3/2'; it must be i/n"):
        InferConfig(part='3/2')
    with pytest.raises(UserError, match='is one video'):
        restore(tmp_path / 'blur4' / '000', tmp_path / 'a.mp4', part='1/2')
    with raises_facts(UserError, '--output=http://host/a.mp4', 'folder of this host'):
        restore(tmp_path / 'blur4' / '000', 'http://host/a.mp4')


def test_a_preview_writes_pictures_and_an_estimate(restorer, checkpoint, tmp_path, capsys):
    images = write_clip(tmp_path / 'clip', 7)
    for output in ('out', 'a.mp4'):
        config = InferConfig(input=str(tmp_path / 'clip'), output=str(tmp_path / output), preview=2)
        preview(prepare(restorer, RestoreConfig(checkpoint=checkpoint), config), restorer)
        assert re.search(r'estimate for 7 frames like these: \d+\.\d\d s a frame, .* in all, about \S+ MB',
                         capsys.readouterr().out)
        assert not (tmp_path / output).exists()
    assert sorted(os.listdir(str(tmp_path / 'out_preview'))) == ['002.png', '004.png', 'index.html']
    picture = read_image(str(tmp_path / 'a_preview' / '004.png'))
    assert picture.shape == (16 + 56, 2 * 72, 3)
    np.testing.assert_array_equal(picture[16:, :72], enlarge(images[4], 4))
    np.testing.assert_array_equal(picture[16:, 72:], expected(restorer, images)[4])


def test_ten_bits_go_in_and_come_out(restorer, restore, tmp_path):
    """A ramp too flat for 8 bits: its steps survive in the restored video."""
    path = make(tmp_path / 'a.mkv', '-vf', 'geq=lum=480+X/4:cb=512:cr=512,format=yuv420p10le', '-c:v', 'ffv1',
                frames=3, size='64x24')
    info = video.inspect(path)
    deep = list(video.decode(info, bits=16))
    assert info.bits == 10 and deep[0].dtype == np.uint16
    assert len(np.unique(deep[0])) > len(np.unique(next(video.decode(info))))
    source, = clip_source.find(path, deep=True)
    np.testing.assert_array_equal(next(source.read(1)), deep[1])
    restored = list(restorer.restore_clip(iter(deep)))
    floats = restorer.engine.run(np.stack([deep[1], deep[0], deep[1]])[None])[0]
    assert np.abs(restored[0] - floats).max() < 1e-5
    eight = list(restorer.restore_clip(iter([np.round(frame / 257).astype(np.uint8) for frame in deep])))
    assert 1e-4 < np.abs(restored[0] - eight[0]).max() < .02
    restore(path, tmp_path / 'b.mkv', bits=10, crf=4)
    written = video.inspect(str(tmp_path / 'b.mkv'))
    assert written.pixel_format == 'yuv420p10le'
    got = next(video.decode(written, bits=16)).astype(float) / 65535
    assert np.abs(got - np.clip(restored[0], 0, 1)).mean() < .02


def test_interlaced_videos_are_refused_or_deinterlaced(restore, tmp_path):
    path = make(tmp_path / 'a.mkv', '-vf', 'tinterlace=interleave_top,setfield=tff', '-flags', '+ilme+ildct',
                '-c:v', 'mpeg2video', '-pix_fmt', 'yuv420p', frames=4)
    with raises_facts(UserError, 'a.mkv', 'interlaced', '--deinterlace'):
        restore(path, tmp_path / 'out')
    info = video.inspect(path)
    source, = clip_source.find(path, deinterlacing=Deinterlacing('yadif'))
    whole, fields = list(source.read(0)), list(video.decode(info))
    assert len(whole) == info.num_frames == 4
    combing = [np.abs(np.diff(frames[1].astype(float), axis=0)).mean() for frames in (whole, fields)]
    assert combing[0] < combing[1]
    np.testing.assert_array_equal(list(source.read(2)), whole[2:])


def test_program(checkpoint, tmp_path, run_program):
    write_clip(tmp_path / 'clip', 3)
    done = run_program('edvr.infer', '--checkpoint=' + os.path.dirname(checkpoint), '--input=%s' % (tmp_path / 'clip'),
                       '--output=%s' % (tmp_path / 'out'))
    assert done.returncode == 0, done.stderr
    assert 'restored 3 frames' in done.stdout
    assert 'frame/s' in done.stderr and 'the last files are still being written' in done.stderr
    assert len([name for name in os.listdir(str(tmp_path / 'out')) if name.endswith('.png')]) == 3


@pytest.mark.parametrize('flags, facts', [
    (['--input=.', '--output=a.avi'], ['a.avi', '.mp4']),
    (['--input=nowhere', '--output=out'], ['nowhere', 'no such file']),
])
def test_wrong_input_and_output_are_reported_before_the_network_is_loaded(tmp_path, run_program, flags, facts):
    """The checkpoint is of another architecture: it cannot be loaded."""
    folder = os.path.dirname(tiny_checkpoint(tmp_path / 'run'))
    checkpoints.save_model_config(folder, checkpoints.load_model_config(folder).replace(channels=16))
    done = run_program('edvr.infer', '--checkpoint=' + folder, *flags)
    check_error(done, *facts)


def test_program_fails_on_an_empty_checkpoint_folder(tmp_path, run_program):
    (tmp_path / 'train').mkdir()
    done = run_program('edvr.infer', '--checkpoint=%s' % (tmp_path / 'train'), '--input=%s' % tmp_path,
                       '--output=%s' % (tmp_path / 'out'))
    check_error(done, 'no checkpoint', tmp_path / 'train')
    assert not (tmp_path / 'out').exists()
