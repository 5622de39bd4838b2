"""Interlaced videos become whole frames, of each pair of fields or of each field; telecined film its own frames."""
import functools
import io
import subprocess
from fractions import Fraction

import numpy as np
import pytest
from facts import check_facts, raises_facts
from test_video import make, make_changing

from data_tools.base.config import ConfigError
from data_tools.base.errors import UserError
from data_tools.media import clips, ffmpeg, frame_stream, shots, video
from data_tools.media.deinterlacing import FIELD, Deinterlacing
from data_tools.media.video_scan import Scanner
from data_tools.packing import pack, verification
from data_tools.packing.config import PackConfig
from data_tools.record.manifest import Manifest
from edvr.config.infer import InferConfig
from edvr.output.timing import Timing
from edvr.output.video_writer import VideoWriter

FILM, VIDEO = Fraction(24000, 1001), Fraction(30000, 1001)
LOSSLESS = ['-c:v', 'libx264', '-qp', '0', '-pix_fmt', 'yuv420p', '-flags', '+ilme+ildct']


def make_film(path, frames=24):
    return make(path, '-c:v', 'ffv1', '-pix_fmt', 'yuv420p', rate=str(FILM), frames=frames, size='160x96')


def telecine(film, path, first='top'):
    subprocess.run(ffmpeg.command('-loglevel', 'error', '-y', '-i', film, '-vf', 'telecine=first_field=%s:pattern=23,'
                                  'setfield=%s' % (first, 'tff' if first == 'top' else 'bff'), *LOSSLESS,
                                  str(path)), check=True)
    return str(path)


def test_no_other_text_becomes_a_filter():
    text = 'metadata=mode=print:file=x'
    for method, rate in ((text, 'frame'), (text + ',yadif', FIELD), ('yadif', text), ('ivtc', text), ('', text)):
        with raises_facts(UserError, 'deinterlacing', text):
            Deinterlacing(method, rate).filters()
    with pytest.raises(ValueError):
        video.rgb_filters('bt709:x=' + text, True, 'rgb24')


MOVING = "geq=lum='128+100*sin((X+9*N)/12)':cb=128:cr=128"


def make_fields(path, frames=4):
    """Fields of MOVING at 50 a second, interlaced."""
    return make(path, '-vf', MOVING + ',tinterlace=interleave_top,setfield=tff', *LOSSLESS, rate='50', frames=frames,
                size='64x48')


@pytest.mark.parametrize('suffix, first', [('.mkv', 'top'), ('.mp4', 'bottom'), ('.ts', 'top')])
def test_the_frames_of_telecined_film_come_back_with_their_times(tmp_path, suffix, first):
    film = make_film(tmp_path / 'film.mkv')
    path = telecine(film, tmp_path / ('a' + suffix), first)
    assert video.inspect(path).num_frames == 30 and video.inspect(path).rate == VIDEO
    info = video.inspect(path, deinterlacing=Deinterlacing('ivtc'))
    assert (info.num_frames, info.rate, info.constant_rate) == (24, FILM, True)
    want = list(video.decode(video.inspect(film)))
    got = list(video.decode(info))
    off = np.abs(np.array(got, int) - want)
    assert (off > 0).mean() < .001 and off.max() <= 2   # lines of nearly equal fields may be swapped
    np.testing.assert_array_equal(list(video.decode(info, start=17)), got[17:])
    times = Timing.of_source(info, info.rate)
    assert [times.seconds(index) for index in (0, 23)] == [0, 23 / FILM]


def test_telecined_film_needs_a_constant_rate(tmp_path):
    path = make_fields(tmp_path / 'a.mkv')
    info = video.inspect(path)
    with raises_facts(UserError, 'a.mkv', 'ivtc', '--deinterlace=bwdif'):
        Deinterlacing('ivtc').applied(info._replace(constant_rate=False, times=(0, 1, 5, 6)), 4)


@pytest.mark.parametrize('method', ['yadif', 'bwdif'])
def test_a_frame_of_each_field_at_twice_the_rate(tmp_path, method):
    path = make_fields(tmp_path / 'a.mkv')
    one, two = (video.inspect(path, deinterlacing=Deinterlacing(method, rate)) for rate in ('frame', FIELD))
    assert (one.num_frames, one.rate, two.num_frames, two.rate) == (4, 25, 8, 50)
    frames, fields = list(video.decode(one)), list(video.decode(two))
    assert len(frames) == 4 and len(fields) == 8
    np.testing.assert_array_equal(fields[::2][1:-1], frames[1:-1])
    # the second field is that of the moment between
    truth = list(video.decode(video.inspect(make(tmp_path / 'b.mkv', '-vf', MOVING, '-c:v', 'ffv1', '-pix_fmt',
                                                 'yuv420p', rate='50', frames=8, size='64x48'))))
    off = [np.abs(fields[3].astype(int) - frame).mean() for frame in truth]
    assert int(np.argmin(off)) == 3


@pytest.mark.parametrize('span', [(0, 8), (0, 3), (3, 7)])
def test_fields_are_written_with_their_times(tmp_path, span):
    info = video.inspect(make_fields(tmp_path / 'a.mkv'), deinterlacing=Deinterlacing('yadif', FIELD))
    part = info if span == (0, 8) else info.span(*span)
    with VideoWriter(str(tmp_path / 'b.mp4'), part.rate, source=part) as writer:
        for frame in list(video.decode(info))[span[0]:span[1]]:
            writer.write(frame)
    written = video.inspect(str(tmp_path / 'b.mp4'))
    assert (written.num_frames, written.rate, written.interlaced) == (span[1] - span[0], 50, None)


def test_times_of_fields_of_a_variable_rate():
    info = video.VideoInfo('a', 2, 2, 3, Fraction(10), False, 0., Fraction(1, 100), (0, 10, 40), None, True, 'rgb24',
                           Fraction(1), 0, (), 0, 0, False)
    found = Deinterlacing('yadif', FIELD).applied(info, 6)
    assert [float(time * found.time_base) for time in found.times] == [0, .05, .1, .25, .4, .45]


def test_progressive_frames_of_a_mixed_video_stay_as_they_are(tmp_path):
    plain = make(tmp_path / 'a.ts', '-c:v', 'mpeg2video', '-q:v', '2', size='64x48', frames=12)
    make(tmp_path / 'b.ts', '-vf', 'tinterlace=interleave_top,setfield=tff', '-c:v', 'mpeg2video', '-q:v', '2',
         '-flags', '+ildct+ilme', size='64x48', frames=12)
    mixed = tmp_path / 'c.ts'
    mixed.write_bytes((tmp_path / 'a.ts').read_bytes() + (tmp_path / 'b.ts').read_bytes())
    info = video.inspect(str(mixed), allow_damaged=True, deinterlacing=Deinterlacing('yadif'))
    np.testing.assert_array_equal(list(video.decode(info))[:8], list(video.decode(video.inspect(plain)))[:8])


@pytest.mark.parametrize('method', ['yadif', 'ivtc'])
def test_interlaced_frames_that_change_their_size(tmp_path, method):
    interlaced = ['-vf', 'tinterlace=interleave_top,setfield=tff'] + LOSSLESS
    path = make_changing(tmp_path / 'a.ts', [interlaced + ['size=64x48'], interlaced + ['size=96x64']])
    with raises_facts(UserError, path, 'interlaced', 'size', 'split it'):
        video.inspect(path, deinterlacing=Deinterlacing(method))
    with raises_facts(UserError, path, 'is interlaced', '--deinterlace'):
        Scanner().scan([(path, False)], shots.NO_SPLIT)


def test_cuts_are_searched_in_whole_frames(tmp_path):
    info = video.inspect(telecine(make_film(tmp_path / 'film.mkv'), tmp_path / 'a.mkv'),
                         deinterlacing=Deinterlacing('ivtc'))
    clip, = clips.find_clips(info.path, need_gt=False, scanner=Scanner(deinterlacing=Deinterlacing('ivtc')))
    assert len(shots.scores(clip.lq)) == 24


def test_fields_on_a_pipe(tmp_path):
    film = make_film(tmp_path / 'film.mkv')
    path = telecine(film, tmp_path / 'a.mkv')
    data = subprocess.run(ffmpeg.command('-loglevel', 'error', '-i', path, '-vf', 'setfield=tff', '-f', 'yuv4mpegpipe',
                                         'pipe:1'), check=True, stdout=subprocess.PIPE).stdout
    # ffmpeg 4.2 does not state the fields
    data = b' '.join(b'It' if word[:1] == b'I' else word for word in data.split(b'\n')[0].split()) + b'\n' + data.split(
        b'\n', 1)[1]
    whole = list(frame_stream.open_y4m(io.BytesIO(data), 'x').frames(deinterlace=Deinterlacing('ivtc').filters(False)))
    want = list(video.decode(video.inspect(film)))
    assert len(whole) in (24, 25)   # old ffmpegs repeat the last one
    np.testing.assert_array_equal(whole[:24], want)


def test_deinterlacing_without_need_is_named(tmp_path, capsys):
    make(tmp_path / 'a.mkv', '-pix_fmt', 'yuv420p', frames=2)
    make_fields(tmp_path / 'b.mkv')
    find = functools.partial(clips.find_clips, str(tmp_path), need_gt=False)
    find(scanner=Scanner(deinterlacing=Deinterlacing('yadif')))
    said = capsys.readouterr().out
    check_facts(said, '--deinterlace changes nothing', 'a.mkv', 'progressive')
    assert 'b.mkv' not in said
    find(scanner=Scanner(combed=True))
    assert 'deinterlace' not in capsys.readouterr().out


def test_packing_refuses_interlaced_videos_or_packs_whole_frames(tmp_path):
    (tmp_path / 'in').mkdir()
    film = make_film(tmp_path / 'film.mkv', 12)
    telecine(film, tmp_path / 'in' / 'a.mkv')
    config = PackConfig(data_dir=str(tmp_path / 'in'), output_dir=str(tmp_path / 'out'), scale=1, make_lq=True,
                        degradation='none', num_frames=3, num_shards=1, workers=1, split_shots=False)
    with raises_facts(UserError, 'a.mkv', 'interlaced', 'frame 0', '--deinterlace'):
        pack.pack_set(config)
    pack.pack_set(config.replace(deinterlace='ivtc'))
    manifest = Manifest.read(str(tmp_path / 'out'))
    assert manifest.records == 12 and manifest.job['deinterlace'] == ['ivtc', 'frame']
    assert verification.check_set(str(tmp_path / 'out'), source=str(tmp_path / 'in')) == 0


@pytest.mark.parametrize('typed, want', [
    ('--deinterlace', ['yadif', 'frame']), ('--deinterlace=true', ['yadif', 'frame']),
    ('--nodeinterlace', ['', 'frame']), ('--deinterlace=ivtc', ['ivtc', 'frame']),
    ('--deinterlace=bwdif --deinterlace_rate=field', ['bwdif', 'field'])])
def test_the_flag_with_and_without_a_value(run_program, typed, want):
    done = run_program('edvr.infer', '--print_config', '--checkpoint=x', '--input=a', '--output=b', *typed.split())
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert '--deinterlace=' + want[0] in lines and '--deinterlace_rate=' + want[1] in lines


def test_wrong_values_are_named(run_program):
    done = run_program('edvr.infer', '--deinterlace=weave')
    assert done.returncode and 'deinterlace' in done.stderr and 'bwdif' in done.stderr
    with raises_facts(ConfigError, 'deinterlace_rate', '--deinterlace=yadif'):
        InferConfig(input='a', output='b', deinterlace='ivtc', deinterlace_rate=FIELD)
