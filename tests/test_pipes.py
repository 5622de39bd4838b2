"""edvr.infer between pipes: the frames of files, progress beside them, errors by name."""
import io
import json
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from conftest import ROOT
from facts import check_facts, raises_facts
from helpers import smooth_frames
from packed import write_video

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, frame_stream, video
from data_tools.media.images import read_image, write_png
from edvr.config import ConfigError
from edvr.config.infer import InferConfig
from edvr.config.restoration import RestoreConfig
from edvr.output import streaming
from edvr.output.infer_job import InferJob, prepare, run
from edvr.output.pipe_writer import PipeWriter
from edvr.output.png_folder import PngFolder
from edvr.output.segments import SegmentFolder
from edvr.restore.pixels import to_uint8
from edvr.sharing.workers import ThisProcess


@pytest.fixture(scope='module', name='frames')
def frames_and_restored(restorer):
    frames = np.stack(smooth_frames(4, 16, 24))
    return frames, np.stack([to_uint8(sr) for sr in restorer.restore_clip(iter(frames))])


def infer(checkpoint, data, *flags, stdout=subprocess.PIPE):
    """Runs the program with bytes on its standard input."""
    return subprocess.run([sys.executable, '-m', 'edvr.infer', '--checkpoint=' + os.path.dirname(checkpoint), *flags],
                          input=data, stdout=stdout, stderr=subprocess.PIPE, timeout=120, cwd=ROOT)


def test_raw_frames_pass_through_unchanged_in_order(checkpoint, frames):
    """Standard output has the frames and nothing else; progress is JSON on standard error."""
    lq, restored = frames
    done = infer(checkpoint, lq.tobytes(), '--input=-', '--output=-', '--raw_size=24x16', '--pipe_format=raw',
                 '--progress=json')
    said = done.stderr.decode()
    assert done.returncode == 0, said
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.uint8).reshape(restored.shape), restored)
    states = [json.loads(line) for line in said.splitlines() if line.startswith('{')]
    assert states[-1]['done'] == 4 and states[-1]['stage'] == 'restoring'
    check_facts(said, 'restored 4 frames')


def test_a_stream_may_be_left_early(checkpoint, frames):
    """By --end, and when the program that reads the frames ends; the stream fills all buffers of pipes."""
    data = frames[0].tobytes() + bytes(20000 * 16 * 24 * 3)
    flags = ['--input=-', '--output=-', '--raw_size=24x16', '--pipe_format=raw']
    done = infer(checkpoint, data, *flags, '--end=2')
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.uint8).reshape(2, 64, 96, 3), frames[1][:2])
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = infer(checkpoint, data, *flags, stdout=writing)
    finally:
        os.close(writing)
    assert done.returncode == 1
    check_facts(done.stderr.decode(), '--output=-', 'ended')


def test_y4m_of_a_video_file_goes_to_a_pipe(checkpoint, frames, tmp_path):
    lq, restored = frames
    write_video(tmp_path / 'a.mkv', lq)
    done = infer(checkpoint, None, '--input=%s' % (tmp_path / 'a.mkv'), '--output=-')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b'YUV4MPEG2 W96 H64 F25:1 Ip')
    (tmp_path / 'b.y4m').write_bytes(done.stdout)
    written = np.stack(list(video.decode(video.inspect(str(tmp_path / 'b.y4m')))))
    assert written.shape == restored.shape and np.abs(written.astype(int) - restored).mean() < 6   # 4:2:0


@pytest.mark.parametrize('name', ['b.mkv', 'frames'])
def test_y4m_on_a_pipe_becomes_a_file(restorer, frames, tmp_path, name):
    lq, restored = frames
    y4m = subprocess.run(ffmpeg.command(
        '-loglevel', 'error', '-r', '30', '-i', write_video(tmp_path / 'a.mkv', lq), '-pix_fmt', 'yuv444p',
        '-f', 'yuv4mpegpipe', 'pipe:1'), check=True, stdout=subprocess.PIPE).stdout
    config = InferConfig(input='-', output=str(tmp_path / name), crf=4)
    assert streaming.restore(restorer, config, frame_stream.open_y4m(io.BytesIO(y4m), 'x'), '.' in name) == 4
    if name == 'frames':
        written = [read_image(str(tmp_path / name / ('%08d.png' % index))) for index in range(4)]
    else:
        info = video.inspect(str(tmp_path / name))
        assert (info.num_frames, info.rate) == (4, 30)
        written = list(video.decode(info))
    assert np.abs(np.stack(written).astype(int) - restored).mean() < 8
    assert not [entry for entry in os.listdir(str(tmp_path)) if 'segments' in entry]
    with raises_facts(UserError, tmp_path / name, '--overwrite'):
        streaming.check_output(config, '.' in name)


@pytest.mark.parametrize('rate, fps, options, span', [
    (Fraction(25), 50., dict(start='10s', end='12s'), (250, 300)), (Fraction(25), 0., dict(end='1s'), (0, 25)),
    (None, 50., dict(start='10s'), (500, None)), (None, 0., dict(start='10s', end='300'), (250, 300))])
def test_times_on_a_pipe_are_those_of_its_frames(rate, fps, options, span):
    """As of a file: --fps decides where nothing states a rate."""
    stream = frame_stream.open_raw(io.BytesIO(), '--input=-', (16, 24), 'rgb24')._replace(rate=rate)
    assert streaming.span_of(InferConfig(input='-', fps=fps, **options), stream) == span


def test_times_of_images_are_at_the_wanted_rate(restorer, frames, checkpoint, tmp_path):
    (tmp_path / 'in').mkdir()
    for index, frame in enumerate(frames[0]):
        write_png(str(tmp_path / 'in' / ('%08d.png' % index)), frame)
    config = InferConfig(input=str(tmp_path / 'in'), output=str(tmp_path / 'a.mp4'), fps=2., start='1s', end='1.5s')
    source, = prepare(restorer, RestoreConfig(checkpoint=checkpoint), config).sources
    assert (source.first, source.length) == (2, 1)


@pytest.mark.parametrize('options', [dict(start='4'), dict(start='3', end='2'), dict(start='1', end='1')])
def test_a_span_without_frames_is_named(restorer, frames, tmp_path, options):
    stream = frame_stream.open_raw(io.BytesIO(frames[0].tobytes()), '--input=-', (16, 24), 'rgb24')
    with raises_facts(UserError, '--input=-', 'no frames', '--start=' + options['start']):
        streaming.restore(restorer, InferConfig(input='-', output=str(tmp_path / 'out'), **options), stream, False)


def test_an_odd_height_on_a_pipe_is_that_of_the_video_or_refused(restorer, frames, checkpoint, tmp_path):
    for output in (str(tmp_path / 'a.mp4'), '-'):
        with raises_facts(UserError, '--height=31', 'odd', output):
            prepare(restorer, RestoreConfig(checkpoint=checkpoint), InferConfig(input='-', output=output, height=31))
    config = InferConfig(input='-', output=str(tmp_path / 'a.mkv'), height=31, codec='ffv1')
    stream = frame_stream.open_raw(io.BytesIO(frames[0].tobytes()), '--input=-', (16, 24), 'rgb24')
    assert run(InferJob(config, restorer, [], {}, True, stream), ThisProcess(restorer)) == 4
    info = video.inspect(config.output)
    assert (info.height, info.width) == (31, 47)


def test_frames_of_a_pipe_are_not_counted_as_those_of_an_interrupted_run(restorer, frames, tmp_path):
    """Frames of a pipe have no record: the command of the earlier run does not continue after them."""
    config = InferConfig(input='-', output=str(tmp_path))
    settings, black = dict(network='a', frames=4), np.zeros([64, 96, 3], np.float32)
    for names in (['f0', 'f1'], ['00000000', '00000001']):
        PngFolder(config.output, names, settings, overwrite=True).write(0, black)
        with raises_facts(UserError, tmp_path, '--output', '--overwrite'):
            streaming.check_output(config, False)
    stream = frame_stream.open_raw(io.BytesIO(frames[0].tobytes()), '--input=-', (16, 24), 'rgb24')
    config = config.replace(overwrite=True)
    streaming.check_output(config, False)
    assert streaming.restore(restorer, config, stream, False) == 4
    for names in (['f0', 'f1'], ['00000000', '00000001']):
        with raises_facts(UserError, names[0] + '.png', 'not from a restoration'):
            PngFolder(config.output, names, settings)


def test_segments_of_an_interrupted_run_are_not_removed_by_a_pipe(tmp_path):
    config = InferConfig(input='-', output=str(tmp_path / 'a.mp4'))
    folder = SegmentFolder(config.output, {})
    streaming.check_output(config, True)   # no segment is complete
    (tmp_path / '.a.mp4.segments' / '000000.mp4').touch()
    with raises_facts(UserError, folder.path, 'interrupted', '--output', '--overwrite'):
        streaming.check_output(config, True)
    streaming.check_output(config.replace(overwrite=True), True)


def test_a_stream_that_ends_inside_a_frame_is_an_error_and_leaves_no_video(restorer, frames, tmp_path):
    stream = frame_stream.open_raw(io.BytesIO(frames[0].tobytes()[:-1]), '--input=-', (16, 24), 'rgb24')
    with raises_facts(UserError, '--input=-', 'frame 3', '1151', '1152 bytes'):
        streaming.restore(restorer, InferConfig(input='-', output=str(tmp_path / 'b.mp4')), stream, True)
    assert [name for name in os.listdir(str(tmp_path)) if not name.endswith('.lock')] == []


def test_an_empty_stream_is_an_error(restorer, tmp_path):
    stream = frame_stream.open_raw(io.BytesIO(b''), '--input=-', (16, 24), 'rgb24')
    with raises_facts(UserError, '--input=-', 'no frames'):
        streaming.restore(restorer, InferConfig(input='-', output=str(tmp_path / 'out')), stream, False)


def test_a_reader_that_ends_is_an_error():
    """Other than text that nobody reads, frames that nobody reads are lost work."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with raises_facts(UserError, '--output=-', 'ended'), PipeWriter(writing, Fraction(25)) as pipe:
            for _ in range(200):
                pipe.write(np.zeros([64, 96, 3], np.uint8))
    finally:
        os.close(writing)


@pytest.mark.parametrize('options, facts', [
    (dict(input='-', preview=2), ['preview', 2, '--input=-']),
    (dict(output='-', part='1/2'), ['part', '--output=-']),
    (dict(input='-', split_shots=True), ['split_shots', '--input=-']),
    (dict(input='-', raw_size='1080p'), ['raw_size', '1080p', 'WIDTHxHEIGHT']),
    (dict(input='-', raw_size='0x5'), ['raw_size', '0x5']),
    (dict(raw_size='4x4'), ['raw_size', '--input=-']),
    (dict(pipe_format='raw'), ['pipe_format', 'raw', '--output=-']),
    (dict(raw_format='nv12'), ['raw_format', 'nv12', 'yuv420p'])])
def test_options_that_do_not_fit_pipes(options, facts):
    with raises_facts(ConfigError, *facts):
        InferConfig(**options)
