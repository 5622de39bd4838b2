"""What is restored and how it is written: spans, sizes, codecs and further options of the encoder."""
import os
from fractions import Fraction

import numpy as np
import pytest
from facts import raises_facts
from helpers import smooth_frames
from packed import write_video
from test_infer import expected, restore_with_the_shared_network, write_clip  # noqa: F401
from test_video_output import flash_and_tone

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, packets, video
from data_tools.media.images import read_image
from edvr.config import ConfigError, codecs, place
from edvr.config.infer import InferConfig
from edvr.config.restoration import RestoreConfig
from edvr.output import containers
from edvr.output.encoding import Encoding
from edvr.output.infer_job import prepare, preview
from edvr.output.video_writer import VideoWriter
from edvr.restore import resize
from edvr.restore.pixels import to_uint8


@pytest.mark.parametrize('text, frame, seconds', [
    ('250', 250, None), ('0', 0, None), ('90s', None, 90), ('1.5s', None, Fraction(3, 2)), ('1:30', None, 90),
    ('1:02:03.25', None, Fraction(14893, 4))])
def test_places(text, frame, seconds):
    assert place.parse(text) == (frame, seconds)


@pytest.mark.parametrize('text', ['', '1.5', '-3', '1:60', '90 s', '1:2:3:4', 's', '1e3', '\u0663'])
def test_what_is_no_place(text):
    assert place.parse(text) is None


def test_a_span_of_images_has_the_frames_of_the_whole(restorer, restore, tmp_path):
    """Windows at its ends see the frames outside it."""
    images = write_clip(tmp_path / 'clip', 7)
    assert restore(tmp_path / 'clip', tmp_path / 'out', start='2', end='0.2s') == 3   # 25 frames a second
    want = expected(restorer, images)
    for index in (2, 3, 4):
        np.testing.assert_array_equal(read_image(str(tmp_path / 'out' / ('%03d.png' % index))), want[index])
    with raises_facts(UserError, 'restored differently', '--overwrite'):
        restore(tmp_path / 'clip', tmp_path / 'out', start='3', end='6')


def test_a_span_of_a_video_starts_at_its_time_and_keeps_intervals(restore, tmp_path):
    whole = flash_and_tone(tmp_path / 'a.mkv', 'aac', True)
    path = whole.path
    assert not whole.constant_rate
    times = [float(time * whole.time_base) for time in whole.times]
    assert restore(path, tmp_path / 'b.mkv', start='%gs' % (times[3] - .001), end='8') == 5
    info = video.inspect(str(tmp_path / 'b.mkv'))
    np.testing.assert_allclose([float(time * info.time_base) for time in info.times or range(5)],
                               np.subtract(times[3:8], times[3]), atol=.002)
    assert info.audio == whole.audio != ()
    sound, = packets.read(info.path, ['a:0']).tracks
    assert float(sound.start) - info.start == pytest.approx(0, abs=.03)
    assert float(sound.end) - info.start == pytest.approx(times[8] - times[3], abs=.05)


@pytest.mark.parametrize('options', [dict(start='5'), dict(start='9s'), dict(start='3', end='3'), dict(end='0')])
def test_a_span_without_frames_is_refused(restore, tmp_path, options):
    write_clip(tmp_path / 'clip', 5)
    with raises_facts(UserError, 'clip', 'no frames', '5', '--start'):
        restore(tmp_path / 'clip', tmp_path / 'out', **options)


def test_a_span_of_the_preview(restorer, checkpoint, tmp_path):
    write_clip(tmp_path / 'clip', 9)
    config = InferConfig(input=str(tmp_path / 'clip'), output=str(tmp_path / 'out'), preview=2, start='6', outscale=2)
    preview(prepare(restorer, RestoreConfig(checkpoint=checkpoint), config), restorer)
    names = sorted(name for name in os.listdir(str(tmp_path / 'out_preview')) if name.endswith('.png'))
    assert len(names) == 2 and names[0] >= '006.png'


def test_sizes():
    assert resize.wanted((100, 201)) is None
    assert resize.wanted((101, 201), outscale=1.5)[:2] == (152, 302)
    assert resize.wanted((101, 201), outscale=1.5, even=True)[:2] == (152, 302)
    assert resize.wanted((101, 203), outscale=1.5, even=True)[:2] == (152, 304)
    assert resize.wanted((540, 961), height=1080, even=True)[:2] == (1080, 1922)
    assert resize.wanted((2, 1000), outscale=.1, even=True)[:2] == (2, 100)


@pytest.mark.parametrize('resampler', sorted(resize.RESAMPLERS))
def test_resampling_keeps_flat_colours_and_does_not_alias(resampler):
    flat = np.full([40, 60, 3], [.2, .5, .9], np.float32)
    np.testing.assert_allclose(resize.Resize(20, 30, resampler).apply(flat), flat[:20, :30], atol=1e-5)
    stripes = np.zeros([40, 60, 3], np.float32)
    stripes[:, ::2] = 1   # finer than the result can show: its mean
    small = resize.Resize(20, 30, resampler).apply(stripes)
    np.testing.assert_allclose(small[:, 3:-3], .5, atol=.03)
    assert resize.Resize(40, 60, resampler).apply(flat) is flat


def test_frames_are_written_in_the_wanted_size(restorer, restore, tmp_path):
    images = write_clip(tmp_path / 'clip', 3)   # 14x18
    assert restore(tmp_path / 'clip', tmp_path / 'out', outscale=2.) == 3
    sr = list(restorer.restore_clip(iter(images)))
    np.testing.assert_array_equal(read_image(str(tmp_path / 'out' / '001.png')),
                                  to_uint8(resize.Resize(28, 36).apply(sr[1])))
    assert restore(tmp_path / 'clip', tmp_path / 'a.mp4', height=30) == 3
    info = video.inspect(str(tmp_path / 'a.mp4'))
    assert (info.height, info.width) == (30, 38)   # 38.57 as an even number
    with raises_facts(UserError, '--height=31', 'even'):
        restore(tmp_path / 'clip', tmp_path / 'b.mp4', height=31)
    with raises_facts(UserError, 'restored differently', 'resize'):
        restore(tmp_path / 'clip', tmp_path / 'out', outscale=2., resampler='bicubic')


@pytest.mark.parametrize('codec, name, bits', [('prores', 'a.mov', 8), ('ffv1', 'a.mkv', 8), ('ffv1', 'a.mkv', 10),
                                               ('av1', 'a.webm', 8)])
def test_codecs(tmp_path, codec, name, bits):
    images = np.stack(smooth_frames(4, 63, 65))
    with VideoWriter(str(tmp_path / name), 25, 18, codec, bits=bits, segment_frames=3,
                     options=('-cpu-used', '8') if codec == 'av1' and 'libsvtav1' not in ffmpeg.encoders() else ()
                     ) as writer:
        for image in images:
            writer.write(image)
    info = video.inspect(str(tmp_path / name))
    # only RGB keeps odd sides: pixels share chroma in the others
    assert (info.height, info.width, info.num_frames) == ((63, 65, 4) if codec == 'ffv1' else (64, 66, 4))
    assert info.streams == (('video', codec),)
    read = np.stack(list(video.decode(info)))[:, :63, :65]
    assert np.abs(read.astype(int) - images).mean() <= (0 if codec == 'ffv1' and bits == 8 else 6)


def test_codecs_that_cannot_be_used():
    mp4 = containers.CONTAINERS['.mp4']
    with raises_facts(UserError, 'a.mp4', '--codec=ffv1', 'matroska', 'libx264'):
        Encoding.for_container(mp4, 'a.mp4', 'ffv1')
    with raises_facts(UserError, 'a.mp4', '--codec=h264_nvenc'):   # no such encoder, or no such hardware
        Encoding.for_container(mp4, 'a.mp4', 'h264_nvenc')
    with raises_facts(UserError, 'a.mp4', '-preset', 'fastest'):
        Encoding.for_container(mp4, 'a.mp4', 'libx264', options=('-preset', 'fastest'))


def test_options_reach_the_encoder(tmp_path):
    sizes = []
    for options in ((), ('-g', '1')):
        path = tmp_path / ('%d.mkv' % len(sizes))
        with VideoWriter(str(path), 25, 18, options=codecs.options_of(' '.join(options))) as writer:
            for image in smooth_frames(6, 48, 64):
                writer.write(image)
        sizes.append(path.stat().st_size)
    assert sizes[1] > sizes[0]   # each frame a key frame


@pytest.mark.parametrize('text', ['-i /etc/passwd', '-x264-params stats=/tmp/x', '-preset', '-preset a/b', 'slow',
                                  '-pass 1', '-filter_complex movie=x', '-preset "', '-tune film -map 0',
                                  '-preset file:x,y'])
def test_options_that_could_open_files_are_refused(text):
    with raises_facts(ConfigError, 'ffmpeg_options'):
        InferConfig(ffmpeg_options=text)


def test_values_that_do_not_fit():
    for options, facts in ((dict(outscale=2., height=5), ['outscale', 'height']), (dict(start='x'), ['start', "'x'"]),
                           (dict(end='1:60'), ['end', "'1:60'"]), (dict(crf=60, codec='libx265'), ['crf', 60, 51])):
        with raises_facts(ConfigError, *facts):
            InferConfig(**options)
    assert InferConfig(crf=60, codec='av1').crf == 60


def test_a_video_of_ten_bits_written_in_eight_is_named(restore, tmp_path, capsys):
    path = write_video(tmp_path / 'a.mkv', np.stack(smooth_frames(3, 16, 24)), '-c:v', 'ffv1', '-pix_fmt',
                       'yuv420p10le')
    restore(path, tmp_path / 'out.mkv')
    assert '--bits=10' in capsys.readouterr().out
    restore(path, tmp_path / 'deep.mkv', bits=10)
    assert '--bits=10' not in capsys.readouterr().out
