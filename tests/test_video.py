"""Video files: their properties, colours, rates, and all kinds of defects."""
import json
import os
import subprocess
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
import pytest
from facts import raises_facts

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, frame_times, shots, video
from data_tools.media.frames import VideoFrames
from data_tools.media.video_scan import Scanner
from edvr.output.video_writer import VideoWriter

PATCHES = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [128, 128, 128], [200, 100, 50],
                    [30, 60, 90]], np.uint8)


def make(path, *arguments, size='32x24', frames=12, rate='25', source='testsrc2'):
    """Makes a video with ffmpeg itself."""
    pattern = '%s=size=%s:rate=%s' % (source, size, rate)
    subprocess.run(ffmpeg.command('-loglevel', 'error', '-y', '-f', 'lavfi', '-i', pattern, *arguments,
                                  '-frames:v', str(frames), str(path)), check=True)
    return str(path)


def make_changing(path, parts):
    """Makes an MPEG-TS of parts of 20 frames at 25 a second, each of [*arguments, 'size=WxH']."""
    data = b''
    for number, (*arguments, size) in enumerate(parts):
        make(path, *arguments, '-output_ts_offset', str(.8 * number), size=size.split('=')[1], frames=20)
        data += path.read_bytes()
    path.write_bytes(data)
    return str(path)


def patches(height, width):
    """uint8 [height, width, 3]: eight flat colours side by side."""
    return np.repeat(np.repeat(PATCHES[None], height, 0), width // 8, 1)


def middles(frame):
    """[8, 3]: the colour in the middle of each of eight patches."""
    height, width, _ = frame.shape
    cells = frame.reshape(height, 8, width // 8, 3).astype(np.float64)
    return cells[height // 4:-height // 4, :, width // 32:-(width // 32)].mean((0, 2))


@pytest.mark.parametrize('suffix, rate', [('.mp4', '30000/1001'), ('.mkv', '24000/1001'), ('.webm', '60')])
def test_rate_size_and_frames_are_exact(tmp_path, suffix, rate):
    path = make(tmp_path / ('a' + suffix), '-pix_fmt', 'yuv420p', rate=rate, frames=40)
    seen = []
    info = video.inspect(path, seen.append)
    assert (info.height, info.width, info.num_frames) == (24, 32, 40)
    assert (info.rate, info.constant_rate, info.pixel_aspect, info.audio) == (Fraction(rate), True, 1, ())
    assert seen == list(range(1, 41))
    frames = list(video.decode(info))
    assert len(frames) == 40 and frames[0].shape == (24, 32, 3) and frames[0].dtype == np.uint8
    later = list(video.decode(info, start=37))
    np.testing.assert_array_equal(later, frames[37:])


CHANGES = {'larger': ('yuv420p size=64x48', 'yuv420p size=96x64'),
           'smaller': ('yuv420p size=96x64', 'yuv420p size=64x48'),
           'of the format': ('yuv420p size=64x48', 'yuv422p size=64x48')}


@pytest.mark.parametrize('kind', sorted(CHANGES))
def test_frames_after_a_change_of_size_or_format(tmp_path, kind):
    parts = []
    for number, part in enumerate(CHANGES[kind]):
        pixels, size = part.split()
        levels = 'geq=lum=%d+4*N:cb=128:cr=128' % (30 + 90 * number)
        parts.append(['-vf', levels, '-c:v', 'libx264', '-qp', '0', '-pix_fmt', pixels, size])
    path = make_changing(tmp_path / 'a.ts', parts)
    want = np.concatenate([30 + 4 * np.arange(20), 120 + 4 * np.arange(20)])   # each frame shows its number

    def levels_of(frames):
        return np.rint([frame.mean() * 219 / 255 + 16 for frame in frames])

    info = video.inspect(path)
    assert (info.num_frames, info.changes) == (40, True)
    for start in (0, 5, 19, 20, 25, 39):
        np.testing.assert_array_equal(levels_of(video.decode(info, start)), want[start:])
    size = info.height, info.width
    np.testing.assert_array_equal(levels_of(VideoFrames(info, 5, 30, size).read()), want[5:30])
    np.testing.assert_array_equal(levels_of(VideoFrames(info, 5, 30, size).read(17)), want[22:30])
    np.testing.assert_array_equal(list(video.decode(info, 25, bits=16)), list(video.decode(info, bits=16))[25:])
    assert shots.detect(VideoFrames(info, 0, 40, size), threshold=.03) == ((0, 20), (20, 40))
    assert shots.detect(VideoFrames(info, 10, 32, size), threshold=.03) == ((0, 10), (10, 22))


def test_a_cached_scan_of_an_earlier_version_is_repeated(tmp_path):
    cache = tmp_path / 'scan.json'
    path = make(tmp_path / 'a.mkv', '-pix_fmt', 'yuv420p')
    Scanner(str(cache)).scan([(path, False)], shots.NO_SPLIT)
    (mark, known), = json.loads(cache.read_text()).items()
    assert known['info'].pop('changes') is False
    known['info']['num_frames'] = 3
    cache.write_text(json.dumps({mark: known}))
    scanner = Scanner(str(cache))
    scanner.scan([(path, False)], shots.NO_SPLIT)
    assert scanner.info(path) == video.inspect(path)


@pytest.mark.parametrize('tags, size, matrix', [
    ([], '64x32', 'bt601'),
    (['-colorspace', 'bt709', '-color_primaries', 'bt709', '-color_trc', 'bt709'], '64x32', 'bt709'),
    ([], '1280x32', 'bt709'), (['-colorspace', 'smpte170m', '-color_range', 'pc'], '1280x32', 'bt601')])
def test_colours_follow_the_tags_or_the_size(tmp_path, tags, size, matrix):
    width, height = (int(side) for side in size.split('x'))
    raw = tmp_path / 'raw.rgb'
    raw.write_bytes(patches(height, width).tobytes() * 2)
    path, full = str(tmp_path / 'a.mkv'), 'pc' if 'pc' in tags else 'tv'
    subprocess.run(ffmpeg.command(
        '-loglevel', 'error', '-y', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', size, '-i', str(raw), '-vf',
        'scale=out_color_matrix=%s:out_range=%s:flags=accurate_rnd,format=yuv444p' % (matrix, full), '-c:v', 'libx264',
        '-crf', '1', *tags, path), check=True)
    info = video.inspect(path)
    assert (info.matrix, info.full_range) == (matrix, full == 'pc')
    assert np.abs(middles(next(video.decode(info))) - PATCHES).max() <= 2.5


def test_a_rotated_video_is_read_upright(tmp_path):
    upright = make(tmp_path / 'a.mp4', '-pix_fmt', 'yuv420p', '-c:v', 'libx264')
    rotated = str(tmp_path / 'b.mp4')
    old = ffmpeg.each_frame()[0] == '-vsync'   # the way to write the tag changed as well
    subprocess.run(ffmpeg.command('-loglevel', 'error', *([] if old else ['-display_rotation', '90']), '-i', upright,
                                  '-c', 'copy', *(['-metadata:s:v', 'rotate=270'] if old else []), rotated), check=True)
    info = video.inspect(rotated)
    assert (info.height, info.width) == (32, 24)
    want = next(video.decode(video.inspect(upright)))
    got = next(video.decode(info))
    assert min(np.abs(np.rot90(want, turns).astype(int) - got).mean() for turns in (1, 3)) < 4


def test_a_variable_rate_becomes_its_average(tmp_path):
    path = make(tmp_path / 'a.mkv', '-vf', "select='not(eq(mod(n,3),1))'", *ffmpeg.each_frame(), '-pix_fmt', 'yuv420p')
    info = video.inspect(path)
    assert not info.constant_rate
    assert abs(info.rate - Fraction(50, 3)) < 0.5   # two of three frames of 25 a second
    assert info.num_frames == len(list(video.decode(info))) == 12


def test_frame_rate():
    base = Fraction(1, 1000)
    assert frame_times.frame_rate([0, 33, 67, 100, 133], base) == (30, True)   # milliseconds round
    assert frame_times.frame_rate([0, 33, 67, 100, 133], base, Fraction(30000, 1001)) == (Fraction(30000, 1001), True)
    assert frame_times.frame_rate([round(i * 1001 / 24) for i in range(500)], base) == (Fraction(24000, 1001), True)
    assert frame_times.frame_rate([i * 80 for i in range(9)], base) == (Fraction(25, 2), True)
    assert frame_times.frame_rate([0, 40, 120, 160, 240], base) == (Fraction(50, 3), False)
    for times in ([0, 1, 2, 4, 5], [0, 1, 3, 4, 5, 6], [0, 1, 2, 3, 5]):   # a unit as long as a frame, and a gap
        assert not frame_times.frame_rate(times, Fraction(1, 15))[1]
    assert frame_times.frame_rate(list(range(9)), Fraction(1, 15)) == (15, True)
    assert frame_times.frame_rate([7], base) == frame_times.frame_rate([None, None], base) == (25, True)
    assert frame_times.frame_rate([7], base, last=Fraction(2)) == (Fraction(1, 2), True)
    even = [0, 40, 80, 120]
    assert frame_times.frame_rate(even, base, last=Fraction(1, 25)) == (25, True)
    assert frame_times.frame_rate(even, base, last=Fraction(1, 2)) == (25, False)


def test_times_that_can_be_written():
    assert frame_times.writable([5, 45, 125], Fraction(1, 1000)) == ([5, 45, 125], Fraction(1, 1000))
    times, unit = frame_times.writable([0, 1, 3], Fraction(1, 15))   # a start is not rounded to 1/15 s
    assert [time * unit for time in times] == [0, Fraction(1, 15), Fraction(3, 15)] and unit <= Fraction(1, 1000)
    times, unit = frame_times.writable([0, 40, 40, 30, 80], Fraction(1, 1000))
    assert [float(time * unit) for time in times] == pytest.approx([0, .04, .04, .04, .08], abs=1e-4)
    assert times == sorted(set(times)) and times[-1] * unit == Fraction(80, 1000)   # the last one has not moved


def test_depth_and_hdr(tmp_path):
    x265 = ('-pix_fmt', 'yuv420p10le', '-c:v', 'libx265', '-x265-params')
    path = make(tmp_path / 'a.mkv', *x265, 'log-level=none', frames=2)
    assert video.inspect(path).bits == 10
    hdr = make(tmp_path / 'b.mkv', *x265, 'log-level=none:transfer=smpte2084', '-color_trc', 'smpte2084', frames=2)
    with raises_facts(UserError, 'b.mkv', 'HDR', 'smpte2084', '--tonemap'):
        video.inspect(hdr)
    assert video.inspect(path, tonemap='hable').tonemap == ''   # SDR stays as it is
    if not ffmpeg.has_filters('zscale', 'tonemap'):
        return
    frames = [np.stack(list(video.decode(video.inspect(hdr, tonemap=curve)))) for curve in video.TONEMAPS]
    assert frames[0].shape == (2, 24, 32, 3)
    for one, other in zip(frames, frames[1:]):   # each curve is another
        assert np.abs(one.astype(int) - other).max() > 8
    deep = next(video.decode(video.inspect(hdr, tonemap='hable'), bits=16))
    assert np.abs(deep / 257. - frames[0][0]).max() <= 4   # ffmpeg dithers 8 bits


@pytest.mark.parametrize('suffix, flags', [('.mkv', []), ('.webm', []), ('.mp4', ['-movflags', '+faststart'])])
def test_a_cut_video_is_refused_with_the_number_of_frames(tmp_path, suffix, flags):
    path = make(tmp_path / ('a' + suffix), '-pix_fmt', 'yuv420p', '-g', '10', *flags, size='64x48', frames=60)
    with open(path, 'r+b') as file:
        file.truncate(os.path.getsize(path) * 6 // 10)
    with raises_facts(UserError, 'damaged or cut', 'frames decode') as caught:
        video.inspect(path)
    count = int(str(caught.value).split(' frames decode')[0].split()[-1])
    assert 10 < count < 60
    info = video.inspect(path, allow_damaged=True)
    assert info.num_frames == count == len(list(video.decode(info)))


def test_what_is_no_video_is_refused(tmp_path):
    path = make(tmp_path / 'a.mp4', '-pix_fmt', 'yuv420p')
    with open(path, 'r+b') as file:   # the index is at the end
        file.truncate(os.path.getsize(path) * 9 // 10)
    (tmp_path / 'a.txt').write_text('not a video\n' * 50)
    (tmp_path / 'empty.mp4').write_bytes(b'')
    for name in ('sound.m4a', 'sound.wav'):
        make(tmp_path / name, '-f', 'lavfi', '-i', 'sine=duration=0.1', '-map', '1:a')
    make(tmp_path / 'still.png', frames=1)
    for name, reason in (('a.mp4', ''), ('a.txt', 'its content is text'), ('empty.mp4', ''), ('sound.m4a', ''),
                         ('sound.wav', 'its format is none of those'), ('still.png', 'its content is a PNG image')):
        with pytest.raises(UserError, match='%s is not a video.*%s' % (name, reason)):
            video.inspect(str(tmp_path / name))
    with raises_facts(UserError, 'index', 'missing or broken', 'cut'):
        video.inspect(path)
    with pytest.raises(UserError, match='it has no pictures'):
        video.inspect(str(tmp_path / 'sound.m4a'))
    with pytest.raises(UserError, match='no such file'):
        video.inspect(str(tmp_path / 'absent.mp4'))


@pytest.mark.parametrize('suffix', [suffixes[0] for suffixes in ffmpeg.DEMUXERS.values()])
@pytest.mark.parametrize('content, named', [
    ('<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S" '
     'minBufferTime="PT1S" profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period>'
     '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="9" width="32" height="24">'
     '<BaseURL>%s</BaseURL></Representation></AdaptationSet></Period></MPD>', 'DASH'),
    ('#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n%s\n#EXT-X-ENDLIST\n', 'HLS'),
    ('ffconcat version 1.0\nfile %s\n', 'ffconcat'),
    ('\ufeffffconcat version 1.0\nfile %s\n', 'ffconcat'),
    ('v=0\no=- 0 0 IN IP4 127.0.0.1\ns=%s\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n', 'text'),
], ids=['dash', 'hls', 'ffconcat', 'ffconcat with a byte order mark', 'sdp'])
def test_a_file_that_names_another_file_is_refused(tmp_path, suffix, content, named):
    other = make(tmp_path / 'other.mp4', '-pix_fmt', 'yuv420p', '-movflags', 'frag_keyframe+empty_moov')
    path = tmp_path / ('hostile' + suffix)
    path.write_text(content % ('other.mp4' if named == 'ffconcat' else 'file://' + other), encoding='utf-8')
    with raises_facts(UserError, 'hostile%s' % suffix, 'not a video', named):
        video.inspect(str(path))
    assert video.stated_frames(str(path)) == 0


@pytest.mark.parametrize('suffix', ['.ts', '.m2ts'])
def test_transport_streams_are_read_by_old_decoders_too(tmp_path, suffix):
    path = make(tmp_path / ('a' + suffix), '-c:v', 'mpeg2video', '-f', 'mpegts', frames=25)
    info = video.inspect(path)
    assert (info.num_frames, info.width, len(list(video.decode(info)))) == (25, 32, 25)


def test_frames_that_vanish_are_an_error(tmp_path):
    path = make(tmp_path / 'a.mkv', '-pix_fmt', 'yuv420p')
    info = video.inspect(path)._replace(num_frames=15)
    with raises_facts(UserError, 'decoding stopped', 12, '15 frames'):
        list(video.decode(info))


@pytest.mark.parametrize('name, codec', [
    ('a.mp4', 'auto'), ('a.mkv', 'libx265'), ('a.mov', 'auto'), ('a.webm', 'auto')])
def test_written_videos_are_tagged_and_keep_colours_and_rate(tmp_path, name, codec):
    path = str(tmp_path / name)
    with VideoWriter(path, Fraction(30000, 1001), 4, codec) as writer:
        for _ in range(6):
            writer.write(patches(32, 128))
        assert not os.path.exists(path)
    info = video.inspect(path)
    assert (info.num_frames, info.rate, info.matrix, info.full_range) == (6, Fraction(30000, 1001), 'bt709', False)
    assert info.pixel_format == 'yuv420p'
    for frame in video.decode(info):
        assert np.abs(middles(frame) - PATCHES).max() <= 3
    assert os.listdir(str(tmp_path)) == [name]


def test_audio_and_pixel_aspect_come_along(tmp_path):
    source = video.inspect(make(tmp_path / 'a.mkv', '-f', 'lavfi', '-i', 'sine=duration=0.48', '-vf', 'setsar=4/3',
                                '-c:a', 'aac', '-pix_fmt', 'yuv420p', size='48x24'))
    assert source.audio == ('aac',) and source.pixel_aspect == Fraction(4, 3)
    for name, encoded, codec in (('b.mp4', [], 'aac'), ('b.webm', ['audio aac (stream 1)'], 'opus')):
        with VideoWriter(str(tmp_path / name), source.rate, 30, source=source) as writer:
            assert writer.plan.encoded == encoded
            for frame in video.decode(source):
                writer.write(frame)
        info = video.inspect(str(tmp_path / name))
        assert (info.audio, info.pixel_aspect, info.num_frames) == ((codec,), Fraction(4, 3), 12)
    with VideoWriter(str(tmp_path / 'mute.mp4'), source.rate, 30, source=source, audio=False) as writer:
        writer.write(next(video.decode(source)))
    assert video.inspect(str(tmp_path / 'mute.mp4')).audio == ()


def test_odd_sizes_grow_by_a_repeated_line(tmp_path):
    path = str(tmp_path / 'a.mp4')
    with VideoWriter(path, 25, 1) as writer:
        for _ in range(2):
            writer.write(np.full((23, 31, 3), 200, np.uint8))
    info = video.inspect(path)
    assert (info.height, info.width) == (24, 32)
    assert np.abs(next(video.decode(info)).astype(int) - 200).max() <= 2


def test_the_ffmpeg_in_use_exists():
    assert os.access(imageio_ffmpeg.get_ffmpeg_exe(), os.X_OK)
