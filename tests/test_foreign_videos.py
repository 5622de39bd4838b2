"""What ffmpeg may open for a video of a stranger: that file and no other, whichever program reads it for whatever."""
import contextlib
import os

import numpy as np
import pytest
from test_video import make
from test_video_times import run

from data_tools.media import ffmpeg, shots, video
from data_tools.media.frames import VideoFrames
from edvr.output import joining
from edvr.output.video_writer import VideoWriter

SUBTITLES = '1\n00:00:00,000 --> 00:00:00,100\n%s\n\n2\n00:00:00,300 --> 00:00:00,400\nlast\n'
LIST = '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n%s\n#EXT-X-ENDLIST\n'


def film(folder, codec, first='first'):
    """Makes a video of 12 frames with sound, two subtitles and two chapters; returns its path."""
    (folder / 'a.srt').write_text(SUBTITLES % first)
    (folder / 'chapters').write_text(';FFMETADATA1\n' + ''.join(
        '[CHAPTER]\nTIMEBASE=1/1000\nSTART=%d\nEND=%d\ntitle=part\n' % (start, start + 240) for start in (0, 240)))
    path = folder / 'film.mkv'
    run('-f', 'lavfi', '-i', 'testsrc2=size=32x24:rate=25:duration=0.48', '-f', 'lavfi', '-i',
        'sine=duration=0.48:sample_rate=48000', '-i', str(folder / 'a.srt'), '-i', str(folder / 'chapters'), '-map',
        '0:v', '-map', '1:a', '-map', '2:s', '-map_chapters', '3', '-pix_fmt', 'yuv420p', '-c:a', 'aac', '-c:s', codec,
        str(path))
    return path


def span_of(path, target):
    """Writes frames 5 to 9 of a video with what lies beside them."""
    span = video.inspect(str(path)).span(5, 10)
    with VideoWriter(str(target), span.rate, source=span) as writer:
        for _ in range(5):
            writer.write(np.zeros([24, 32, 3], np.uint8))
    return writer


@pytest.fixture
def commands(monkeypatch):
    """Returns the command lines of all ffmpegs that are started."""
    found, running = [], ffmpeg.running

    @contextlib.contextmanager
    def recorded(arguments, *others, **options):
        found.append(list(arguments))
        with running(arguments, *others, **options) as process:
            yield process
    monkeypatch.setattr(ffmpeg, 'running', recorded)
    return found


def inputs(command):
    """[(name of an input, the options before it)]."""
    places = [number for number, word in enumerate(command) if word == '-i']
    return [(command[place + 1], command[before:place]) for before, place in zip([0] + [p + 2 for p in places], places)]


def test_each_file_is_read_by_accepted_protocols_and_formats_only(tmp_path, commands):
    path = film(tmp_path, 'srt')
    del commands[:]
    info = video.inspect(str(path))
    assert video.stated_frames(str(path)) == len(list(video.decode(info))) == 12
    assert len(shots.scores(VideoFrames(info, 0, 12, (24, 32)))) == 12
    assert joining.lost_metadata(info, span_of(path, tmp_path / 'out.mkv').path) == []
    read = [(name, options) for command in commands for name, options in inputs(command) if name.startswith('file:')]
    lists = [options for _, options in read if 'concat' in options]
    assert len(lists) == 1 and len({name for name, _ in read}) >= 5   # the list of segments is this program's own
    for name, options in read:
        values = dict(zip(options, options[1:]))
        if 'concat' not in options:
            assert values['-protocol_whitelist'] == 'file,pipe', name
            assert set(values['-format_whitelist'].split(',')) <= {*ffmpeg.DEMUXERS, 'srt', 'ffmetadata'}, name


@pytest.mark.parametrize('codec', ['srt', 'ass'])
def test_the_text_of_subtitles_in_a_span_is_no_list_of_files(tmp_path, codec):
    """Begins the file of subtitles with a text that ended before the span, or with the header of the stream."""
    other = make(tmp_path / 'other.mp4', '-pix_fmt', 'yuv420p')
    names = 'x\n\n' + LIST % ('file://' + other)
    if codec == 'srt':
        path = film(tmp_path, codec, first='Q' * len(names))
        data = path.read_bytes()
        assert data.count(b'Q' * len(names)) == 1
        path.write_bytes(data.replace(b'Q' * len(names), names.encode()))
    else:
        path, names = film(tmp_path, codec), names[3:]
        data = path.read_bytes()
        at = data.index(b'[Script Info]')
        path.write_bytes(data[:at] + names.encode() + data[at + len(names):])
    written = span_of(path, tmp_path / 'out.mkv').path
    assert [kind for kind, _ in video.inspect(written).streams] == ['video', 'audio', 'subtitle']
    text = run('-i', written, '-map', '0:s', '-f', 'srt', '-')
    assert 'last' in text and os.path.basename(other) not in text
