"""Written videos: resumed segments give the same bytes, frames, times and sound are those of the source, streams are
kept or reported."""
import os
import re
import subprocess
from fractions import Fraction

import numpy as np
import pytest
from facts import raises_facts
from test_video import make

from data_tools.base import lock
from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, packets, video
from edvr.output import containers, joining, output_lock, segments, videos
from edvr.output.clip_source import Source
from edvr.output.video_writer import VideoWriter

FLASH = 6   # the frame that turns white when the tone begins
RATE = Fraction(25)


def flash_and_tone(path, codec, variable=False, *arguments):
    """A video of 12 frames that turns white, and sounds, at the same moment; 4 of 16 frames left out if `variable`."""
    chosen = ",select='not(eq(mod(n,4),1))'" if variable else ''
    length = 16 if variable else 12
    moment = 8 / 25 if variable else FLASH / 25   # frame 8 of 16 is frame 6 of those chosen
    # ffmpeg 4.2 shifts only the first frames of Matroska by the delay of sound that begins at zero
    later = ['-output_ts_offset', '0.1'] if str(path).endswith(('.mkv', '.webm')) else []
    subprocess.run(ffmpeg.command(
        '-loglevel', 'error', '-y', '-f', 'lavfi', '-i', 'color=black:size=64x48:rate=25:duration=%g' % (length / 25),
        '-f', 'lavfi', '-i', "aevalsrc='0.8*gte(t,%g)*sin(2000*t)':duration=%g:sample_rate=48000"
        % (moment, length / 25), *arguments, '-vf',
        "drawbox=c=white:t=fill:enable='gte(t,%g)'%s" % (moment - .01, chosen), *ffmpeg.each_frame(),
        '-pix_fmt', 'yuv420p', '-c:a', codec, *later, str(path)), check=True)
    return video.inspect(str(path))


def delay_of_tone(path):
    """Seconds from the white frame to the tone, as a player shows the file."""
    found = subprocess.run(ffmpeg.command('-copyts', '-i', str(path), '-an', '-vf', 'showinfo', *ffmpeg.each_frame(),
                                          '-f', 'null', '-'), stderr=subprocess.PIPE)
    log = found.stderr.decode('utf-8', 'replace')
    white = next(float(time) for time, mean in re.findall(r'pts_time:(\S+) .*?mean:\[(\d+)', log) if int(mean) > 150)
    # where the first samples that sound are, by a filter that finds silence
    silence = subprocess.run(ffmpeg.command('-copyts', '-i', str(path), '-af', 'silencedetect=n=-30dB:d=0.02', '-f',
                                            'null', '-'), stderr=subprocess.PIPE).stderr.decode('utf-8', 'replace')
    return float(re.search(r'silence_end: (\S+)', silence).group(1)) - white


def rewrite(info, path, **options):
    with VideoWriter(str(path), info.rate, 20, source=info, **options) as writer:
        for frame in video.decode(info, writer.first):
            writer.write(frame)
    return video.inspect(str(path))


SOME = [('.mkv', 'aac', '.mp4', False), ('.mp4', 'aac', '.mkv', True), ('.mov', 'pcm_s16le', '.webm', True),
        ('.mkv', 'libmp3lame', '.mp4', False)]
ALL = [(suffix, codec, target, variable)
       for suffix, codecs in (('.mp4', ('aac', 'libmp3lame')), ('.mkv', ('aac', 'libmp3lame', 'libopus', 'flac')),
                              ('.mov', ('aac', 'pcm_s16le')), ('.webm', ('libopus', 'libvorbis')))
       for codec in codecs for target in sorted(containers.CONTAINERS) for variable in (False, True)]


@pytest.mark.parametrize('suffix, codec, target, variable', SOME + [
    pytest.param(*item, marks=pytest.mark.faults) for item in ALL if item not in SOME])
def test_frames_times_and_sound_are_those_of_the_source(tmp_path, suffix, codec, target, variable):
    source = flash_and_tone(tmp_path / ('a' + suffix), codec, variable)
    assert (source.num_frames, source.constant_rate) == (12, not variable)
    written = rewrite(source, tmp_path / ('b' + target), segment_frames=5)
    assert (written.num_frames, written.constant_rate) == (12, not variable)
    if variable:
        times = [Fraction(time) * source.time_base for time in source.times]
        np.testing.assert_allclose([float(time * written.time_base) for time in written.times],
                                   [float(time) for time in times], atol=.0011)
    else:
        assert written.rate == source.rate == RATE
    moved = delay_of_tone(written.path) - delay_of_tone(source.path)
    assert abs(moved) < .03


def test_an_interrupted_video_continues_and_has_the_same_bytes(tmp_path):
    source = flash_and_tone(tmp_path / 'a.mkv', 'aac')
    frames = list(video.decode(source))
    rewrite(source, tmp_path / 'whole.mp4', segment_frames=4)
    path = tmp_path / 'b.mp4'
    for end, first in ((3, 0), (9, 0), (10, 8)):
        with pytest.raises(KeyboardInterrupt), \
                VideoWriter(str(path), RATE, 20, source=source, segment_frames=4) as writer:
            assert writer.first == first
            for frame in frames[first:end]:
                writer.write(frame)
            raise KeyboardInterrupt
        assert not path.exists() and (tmp_path / '.b.mp4.segments').exists() == (end > 3)
    with raises_facts(UserError, 'restored differently', 'crf', 20, 21), \
            VideoWriter(str(path), RATE, 21, source=source, segment_frames=4):
        pass
    with VideoWriter(str(path), RATE, 20, source=source, segment_frames=4) as writer:
        for frame in frames[writer.first:]:
            writer.write(frame)
    assert path.read_bytes() == (tmp_path / 'whole.mp4').read_bytes()
    assert sorted(os.listdir(str(tmp_path))) == ['a.mkv', 'b.mp4', 'whole.mp4']


def test_segments_that_are_missing(tmp_path):
    folder = segments.SegmentFolder(str(tmp_path / 'a.mp4'), {}, frames=4)
    assert folder.missing(10) == [(0, 10)] and folder.first == 0
    for number in (0, 2):   # of two processes
        open(folder.file(number), 'w').close()
    assert folder.missing(18) == [(4, 8), (12, 18)]
    folder.close()
    assert segments.SegmentFolder(str(tmp_path / 'a.mp4'), {}, frames=4).first == 4


def test_a_run_killed_while_joining_joins_again(tmp_path, monkeypatch):
    source = flash_and_tone(tmp_path / 'a.mkv', 'aac')
    rewrite(source, tmp_path / 'whole.mp4', segment_frames=5)

    def killed(*unused):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(joining, 'join', killed)
        rewrite(source, tmp_path / 'b.mp4', segment_frames=5)
    with VideoWriter(str(tmp_path / 'b.mp4'), source.rate, 20, source=source, segment_frames=5, length=12) as writer:
        assert writer.first == 12
    assert (tmp_path / 'b.mp4').read_bytes() == (tmp_path / 'whole.mp4').read_bytes()


def test_overwrite_removes_segments_of_other_settings_only(tmp_path):
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    for crf, first in ((20, 0), (20, 2), (21, 0)):
        with pytest.raises(KeyboardInterrupt), \
                VideoWriter(str(tmp_path / 'b.mkv'), 25, crf, overwrite=True, segment_frames=2) as writer:
            assert writer.first == first
            for frame in frames[first:]:
                writer.write(frame)
            raise KeyboardInterrupt


def test_streams_chapters_and_metadata_are_kept_or_reported(tmp_path):
    (tmp_path / 'a.srt').write_text('1\n00:00:00,100 --> 00:00:00,300\nhello\n')
    (tmp_path / 'meta').write_text(';FFMETADATA1\ntitle=A title\nreel=7\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\n'
                                   'title=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=480\ntitle=Two\n')
    source = flash_and_tone(
        tmp_path / 'a.mkv', 'aac', False, '-i', str(tmp_path / 'a.srt'), '-i', str(tmp_path / 'meta'), '-attach',
        str(tmp_path / 'meta'), '-metadata:s:t', 'mimetype=text/plain', '-map', '0:v', '-map', '1:a', '-map', '1:a',
        '-map', '2:s', '-map_metadata', '3')
    assert [kind for kind, _ in source.streams] == ['video', 'audio', 'audio', 'subtitle', 'attachment']
    assert source.chapters == 2
    for target, subtitles, lost in (('.mp4', 'mov_text', 1), ('.mkv', 'ass', 0), ('.webm', 'webvtt', 1)):
        plan = containers.plan(source, containers.CONTAINERS[target])
        assert len(plan.lost) == lost and all('attachment' in text for text in plan.lost)
        written = rewrite(source, tmp_path / ('b' + target))
        kinds = [kind for kind, codec in written.streams if (kind, codec) != ('data', 'bin_data')]
        assert kinds == ['video', 'audio', 'audio', 'subtitle'] + ['attachment'] * (1 - lost)
        assert ('subtitle', subtitles) in written.streams and written.chapters == 2
        metadata = subprocess.run(ffmpeg.command('-i', written.path, '-f', 'ffmetadata', '-'), stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL).stdout.decode()
        assert 'title=A title' in metadata and 'title=Two' in metadata
        assert joining.lost_metadata(source, written.path) == (['reel'] if target == '.mp4' else [])


def test_pcm_is_copied_into_mov(tmp_path):
    source = flash_and_tone(tmp_path / 'a.mov', 'pcm_s16le')
    assert rewrite(source, tmp_path / 'b.mov').audio == ('pcm_s16le',)
    assert containers.plan(source, containers.CONTAINERS['.mov']).encoded == []
    assert containers.plan(source, containers.CONTAINERS['.mp4']).encoded == ['audio pcm_s16le (stream 1)']
    assert containers.plan(source, containers.CONTAINERS['.mp4'], audio=False).streams == []


def test_a_second_restoration_on_the_same_output_is_refused(tmp_path):
    with output_lock.of_video(str(tmp_path / 'a.mp4')):
        name = lock.holder(str(tmp_path / '.a.mp4.lock'))
        with raises_facts(UserError, 'another run (%s)' % name, 'a.mp4', '--output'), \
                output_lock.of_video(str(tmp_path / 'a.mp4')):
            pass
    with output_lock.of_folder(str(tmp_path / 'out'), (1, 2)):
        with output_lock.of_folder(str(tmp_path / 'out'), (2, 2)):
            pass
        for part in (None, (1, 2), (2, 3)):
            with pytest.raises(UserError, match=r'another run \(process \d+ on .* is writing .*out'), \
                    output_lock.of_folder(str(tmp_path / 'out'), part):
                pass
    assert os.listdir(str(tmp_path / 'out')) == []


def test_another_rate_is_refused_if_sound_would_no_longer_fit(tmp_path):
    info = flash_and_tone(tmp_path / 'a.mkv', 'aac')
    source = Source('a', 12, (), None, info, info.path)
    assert videos.chosen_rate(source, 0, True) == videos.chosen_rate(source, 25.001, True) == RATE
    assert videos.chosen_rate(source, 50, False) == videos.chosen_rate(source._replace(video=None), 50, True) == 50
    with raises_facts(UserError, '--fps=50', 'a.mkv', 25, '--noaudio'):
        videos.chosen_rate(source, 50, True)


def test_times_of_packets(tmp_path):
    path = make(tmp_path / 'a.mp4', '-pix_fmt', 'yuv420p', frames=5)
    found = packets.read(path, [0])
    assert [time for time, *_ in found.tracks[0].shown()] == [Fraction(index, 25) for index in range(5)]
    assert (found.tracks[0].end, found.start, found.duration, found.chapters) == (Fraction(1, 5), 0, Fraction(1, 5), [])
    assert 'mp4' in found.container.split(',')
    with raises_facts(UserError, 'cannot read', path):   # no such stream
        packets.read(path, [1])
    with raises_facts(UserError, 'cannot read', str(tmp_path / 'absent.mp4')):
        packets.read(str(tmp_path / 'absent.mp4'), [0])
