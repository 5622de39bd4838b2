"""Frames on pipes: Y4M and raw frames read as files are, and refused by name if they are damaged."""
import contextlib
import io
import subprocess
import threading
import time
from fractions import Fraction

import numpy as np
import pytest
from facts import raises_facts
from test_video import make

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, frame_stream, video
from data_tools.media.read_ahead import read_ahead

HEADER = b'YUV4MPEG2 W4 H2 F25:1 Ip A1:1 C420jpeg\n'
FRAME = b'FRAME\n' + bytes(range(12))


def converted(path, *arguments):
    """What ffmpeg makes of a video, on its standard output."""
    return subprocess.run(ffmpeg.command('-loglevel', 'error', '-i', str(path), *arguments, 'pipe:1'), check=True,
                          stdout=subprocess.PIPE).stdout


@pytest.mark.parametrize('pixels, size, bits', [('yuv420p', '33x25', 8), ('yuv444p', '1280x16', 8),
                                                ('yuv420p10le', '32x24', 16), ('yuv422p', '32x24', 8)])
def test_y4m_reads_as_the_same_video_in_a_file(tmp_path, pixels, size, bits):
    path = make(tmp_path / 'a.mkv', '-vf', 'setsar=4/3', '-pix_fmt', pixels, '-c:v', 'ffv1', size=size, frames=3,
                rate='30000/1001')
    info = video.inspect(path)
    stream = frame_stream.open_y4m(io.BytesIO(converted(path, '-strict', '-1', '-f', 'yuv4mpegpipe')), 'x')
    assert (stream.height, stream.width, stream.rate) == (info.height, info.width, Fraction(30000, 1001))
    assert (stream.pixel_aspect, stream.fields, stream.pixel_format.name) == (Fraction(4, 3), '', pixels)
    np.testing.assert_array_equal(list(stream.frames(bits)), list(video.decode(info, bits=bits)))


@pytest.mark.parametrize('pixels', ['rgb24', 'yuv420p', 'gray'])
def test_raw_frames_read_as_the_same_video_in_a_file(tmp_path, pixels):
    path = make(tmp_path / 'a.mkv', '-pix_fmt', 'gray' if pixels == 'gray' else 'yuv420p', '-c:v', 'ffv1', frames=3)
    data = converted(path, '-f', 'rawvideo', *(() if pixels == 'rgb24' else ('-pix_fmt', pixels)))
    if pixels == 'rgb24':
        data = np.stack(list(video.decode(video.inspect(path)))).tobytes()
    stream = frame_stream.open_raw(io.BytesIO(data), 'x', (24, 32), pixels)
    assert stream.rate is None
    read = np.stack(list(stream.frames()))
    difference = np.abs(read.astype(int) - list(video.decode(video.inspect(path))))
    assert read.shape == (3, 24, 32, 3) and difference.max() <= (20 if pixels == 'gray' else 0)   # of full range


def test_fields_are_named_by_the_header():
    for letter, fields in ((b'p', ''), (b't', 'tff'), (b'b', 'bff'), (b'm', 'auto'), (b'?', '')):
        assert frame_stream.open_y4m(io.BytesIO(HEADER.replace(b'Ip', b'I' + letter)), 'x').fields == fields


def test_interlaced_frames_become_whole_ones(tmp_path):
    """Two fields of different moments: combed as they are, not after deinterlacing."""
    path = make(tmp_path / 'a.mkv', '-vf', 'tinterlace=interleave_top,setfield=tff', '-c:v', 'ffv1', size='64x48',
                frames=3)
    data = converted(path, '-f', 'yuv4mpegpipe').replace(b' Ip ', b' It ', 1)   # old versions of ffmpeg write no fields
    combed, whole = (np.stack(list(frame_stream.open_y4m(io.BytesIO(data), 'x').frames(deinterlace=filters)))
                     for filters in ('', 'yadif'))
    assert combed.shape == whole.shape
    rows = [np.abs(np.diff(frames.astype(float), axis=1)).mean() for frames in (combed, whole)]
    assert rows[1] < rows[0]


@pytest.mark.parametrize('data, facts', [
    (b'', ['x', 'empty']),
    (b'RIFF....AVI ', ['x', 'RIFF', 'Y4M', '--raw_size']),
    (HEADER.replace(b'W4', b'W0'), ['x', '2x0']),
    (HEADER.replace(b'W4', b'W99999999'), ['x', '2x99999999']),
    (HEADER.replace(b'W4', b'Wx'), ['x', 'header', 'damaged']),
    (HEADER.replace(b' H2', b''), ['x', 'header', 'damaged']),
    (HEADER.replace(b'F25:1', b'F25:-1'), ['x', 'header', 'damaged']),
    (HEADER.replace(b'C420jpeg', b'C444alpha'), ['x', '444alpha', '420jpeg']),
    (HEADER + FRAME + FRAME[:-1], ['x', 'frame 1', '11', '12 bytes']),
    (HEADER + FRAME + b'FRAMES', ['x', 'frame 1', 'FRAMES']),
    (HEADER + FRAME + b'junk\n', ['x', 'frame 1', 'junk']),
])
def test_damaged_streams_are_refused_by_name(data, facts):
    with raises_facts(UserError, *facts):
        list(frame_stream.open_y4m(io.BytesIO(data), 'x').frames())


def test_raw_frames_that_end_inside_one_are_refused():
    with raises_facts(UserError, 'frame 1', '5', '12 bytes'):
        list(frame_stream.open_raw(io.BytesIO(bytes(17)), 'x', (2, 2), 'rgb24').frames())


class Endless(io.RawIOBase):
    """Black frames without end."""

    def readable(self):
        return True

    def readinto(self, target):
        target[:] = bytes(len(target))
        return len(target)


@pytest.mark.parametrize('ahead', [False, True])
def test_a_reader_may_stop_early(ahead):
    """Of a stream that fills all buffers of pipes: ffmpeg and the thread that feeds it end."""
    frames = frame_stream.open_raw(io.BufferedReader(Endless()), 'x', (270, 480), 'rgb24').frames()
    threads = threading.active_count()

    def stop():
        with contextlib.closing(read_ahead(frames) if ahead else frames) as read:
            assert next(read).shape == (270, 480, 3)
            time.sleep(.5)   # all buffers are full
        while threading.active_count() > threads + 1:   # this one
            time.sleep(.05)
    stopping = threading.Thread(target=stop, daemon=True)
    stopping.start()
    stopping.join(30)
    assert not stopping.is_alive()
