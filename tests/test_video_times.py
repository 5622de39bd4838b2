"""What is shown when: frames, sound, subtitles and chapters of a written video against its source, over a matrix of
containers, units of time, patterns of frames and streams.

Files are read here by ffmpeg's lists of packets and its conversions to text, not by the modules under test.
"""
import itertools
import re
import typing
from fractions import Fraction

import pytest
from facts import check_facts, raises_facts

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, packets, video
from edvr.output import containers, spans, verification, video_writer
from edvr.output.timing import Timing
from edvr.output.video_writer import VideoWriter

FRAME, COARSE, CENTI, MILLI, FINE = (Fraction(1, count) for count in (25, 15, 100, 1000, 90000))
STEPS = {FRAME: 1, COARSE: 1, CENTI: 4, MILLI: 40, FINE: 3600}   # units between the frames of a constant rate
# steps at which the frames begin, and of which the last one lasts
PATTERNS = {
    'constant': (range(12), 1), 'gap': ([*range(6), *range(9, 15)], 1), 'missing': ([0, 1, 2, 4, 5, 6, 7, 8], 1),
    'burst': ([0, 4, 8, 9, 10, 11, 15, 19], 4), 'slow end': (range(8), 25)}
# seconds at which picture, sound and subtitles of a file begin
STARTS = {'zero': (0, 0, 0), 'late picture': (.6, 0, 0), 'late sound': (0, .5, 0), 'all late': (1, 1, 1),
          'early subtitle': (1.2, 1.2, 0)}
STREAMS = ('picture', 'sound', 'all')


class Kind(typing.NamedTuple):
    """Describes a kind of source.

    Attributes:
      units: units that its times can have.
      picture, sound, subtitles: encoders; None for none of it.
      has_times: whether each frame has a time; else the rate is constant.
      has_starts: whether picture, sound and subtitles can begin at different times.
      keeps_start: whether its times are its own, not those of a clock.
      has_end: whether it states how long the last frame is shown.
    """
    units: typing.Tuple[Fraction, ...]
    picture: str
    sound: typing.Optional[str] = None
    subtitles: typing.Optional[str] = None
    has_times: bool = True
    has_starts: bool = True
    keeps_start: bool = False
    has_end: bool = False


SOURCES = {
    '.mp4': Kind((FRAME, COARSE, MILLI, FINE), 'libx264', 'aac', 'mov_text', keeps_start=True, has_end=True),
    '.mov': Kind((COARSE, FINE), 'libx264', 'pcm_s16le', 'mov_text', keeps_start=True, has_end=True),
    '.mkv': Kind((MILLI,), 'libx264', 'aac', 'subrip', keeps_start=True, has_end=True),
    '.webm': Kind((MILLI,), 'libvpx-vp9', 'libopus', 'webvtt', keeps_start=True),
    '.avi': Kind((FRAME, COARSE), 'mpeg4', 'pcm_s16le', has_times=False, has_starts=False),
    '.ts': Kind((FINE,), 'libx264', 'aac'), '.flv': Kind((MILLI,), 'libx264', 'aac'),
    '.mpg': Kind((FRAME,), 'mpeg2video', 'mp2', has_times=False), '.wmv': Kind((MILLI,), 'wmv2', 'wmav2'),
    '.ogv': Kind((FRAME, COARSE), 'libtheora', 'libvorbis', has_times=False, has_starts=False),
    '.mxf': Kind((FRAME,), 'mpeg2video', 'pcm_s16le', has_times=False, has_starts=False),
    '.gif': Kind((CENTI,), 'gif', has_starts=False, has_end=True),
    '.y4m': Kind((FRAME, COARSE), 'wrapped_avframe', has_times=False, has_starts=False)}
SUBTITLES = ((0.1, 0.4), (0.9, 1.3))   # after the start of the subtitles
CHAPTERS = (0, 0.2)


class Case(typing.NamedTuple):
    source: str
    unit: Fraction
    pattern: str
    starts: str
    streams: str
    target: str

    def __str__(self):
        return ' '.join(str(value) for value in self)

    @property
    def possible(self) -> bool:
        """Whether the source can be made."""
        kind = SOURCES[self.source]
        return (not (self.streams == 'sound' and kind.sound is None) and
                not (self.streams == 'all' and kind.subtitles is None) and
                not (self.starts == 'early subtitle' and self.streams != 'all') and
                not (self.streams == 'picture' and self.starts.startswith('late')) and
                not (self.starts != 'zero' and not kind.has_starts) and
                not (self.pattern != 'constant' and not kind.has_times) and
                not (self.pattern == 'slow end' and not kind.has_end))


EVERY = [case for case in (Case(source, unit, *rest) for source in SOURCES for unit in SOURCES[source].units
                           for rest in itertools.product(PATTERNS, STARTS, STREAMS, sorted(containers.CONTAINERS)))
         if case.possible]
SUITE = [Case('.mp4', FRAME, 'gap', 'late picture', 'sound', '.mp4'),
         Case('.mp4', COARSE, 'missing', 'early subtitle', 'all', '.mkv'),
         Case('.mp4', FINE, 'slow end', 'zero', 'picture', '.mov'),
         Case('.mkv', MILLI, 'burst', 'all late', 'all', '.mp4'),
         Case('.mp4', MILLI, 'slow end', 'late sound', 'all', '.webm'),
         Case('.mov', COARSE, 'constant', 'all late', 'sound', '.mkv'),
         Case('.ts', FINE, 'missing', 'late sound', 'sound', '.mkv'),
         Case('.avi', COARSE, 'constant', 'zero', 'sound', '.mp4')]


def run(*arguments):
    done = ffmpeg.output('-loglevel', 'error', '-y', *arguments)
    assert done.code == 0, done.log
    return done.data.decode('utf-8', 'replace')


def make(folder, case):
    """Makes the source of a case; returns its path."""
    kind = SOURCES[case.source]
    begins, last = PATTERNS[case.pattern]
    begins = [*begins, begins[-1] + last]   # the last one only ends the one before it
    picture_start, sound_start, subtitle_start = STARTS[case.starts]
    units = [step * STEPS[case.unit] for step in begins]
    inputs = ['-f', 'lavfi', '-i', 'color=gray:size=16x16:rate=25']
    maps = ['-map', '0:v']
    if case.streams != 'picture':
        inputs += ['-itsoffset', str(sound_start), '-f', 'lavfi', '-i', 'sine=duration=1:sample_rate=48000']
        maps += ['-map', '1:a', '-c:a', str(kind.sound)]
    if case.streams == 'all':
        (folder / 'a.srt').write_text('\n\n'.join('%d\n00:00:0%.3f --> 00:00:0%.3f\ntext %d' % (
            number, subtitle_start + start, subtitle_start + end, number)
            for number, (start, end) in enumerate(SUBTITLES)).replace('.', ','))
        (folder / 'chapters').write_text(';FFMETADATA1\n' + ''.join(
            '[CHAPTER]\nTIMEBASE=1/1000\nSTART=%d\nEND=%d\ntitle=part\n' % (
                1000 * (picture_start + start), 1000 * (picture_start + start + .2)) for start in CHAPTERS))
        inputs += ['-i', str(folder / 'a.srt'), '-i', str(folder / 'chapters')]
        maps += ['-map', '2:s', '-c:s', str(kind.subtitles), '-map_chapters', '3']
    path = folder / ('source' + case.source)
    if not kind.has_times:
        film = 'testsrc=size=64x48:rate=%s:duration=%f' % (1 / case.unit, units[-1] * case.unit)
        run('-itsoffset', str(picture_start), '-f', 'lavfi', '-i', film, *inputs[4:], *maps, '-c:v', kind.picture,
            '-bf', '0', '-pix_fmt', 'yuv420p', *ffmpeg.each_frame(), str(path))
        return str(path)
    film = path if case.source == '.gif' else folder / ('film.mp4' if kind.has_end else 'film.nut')
    options = ['-pix_fmt', 'yuv420p', '-bf', '0'] if film != path else ['-final_delay', str(units[-1] - units[-2])]
    scale = ['-video_track_timescale', str(case.unit.denominator)] if film.suffix == '.mp4' else []
    times = '+'.join('eq(N,%d)*%d' % item for item in enumerate(units))
    run(*inputs[:4], '-frames:v', str(len(units) - (film == path)), '-vf', "settb=%s,setpts='%s'" % (case.unit, times),
        *ffmpeg.each_frame(), '-enc_time_base', str(case.unit).replace('/', ':'), '-c:v', kind.picture, *options,
        *scale, str(film))
    if film != path:
        listing = folder / 'film.txt'
        listing.write_text('ffconcat version 1.0\nfile %s\noutpoint %.6f\n' % (
            film, float((units[-1] + units[-2]) * case.unit / 2)))
        run('-copyts', '-itsoffset', str(picture_start), '-f', 'concat', '-safe', '0', '-i', str(listing), *inputs[4:],
            *maps, '-c:v', 'copy', *(scale if case.source != '.mkv' else []), str(path))
    return str(path)


class Timeline(typing.NamedTuple):
    """What a file shows when, in seconds after its first frame; `start` is that frame's own time."""
    start: float
    frames: typing.List[float]
    last: float
    sound: typing.List[float]
    subtitles: typing.List[typing.Tuple[float, float]]
    chapters: typing.List[float]


def packets_of(path, stream, decoded=False):
    """[(time, end)] in seconds of the packets of a stream that are not hidden; of its frames, if not all have times."""
    few = path.endswith('.mpg') and stream.startswith('v')
    options = [*ffmpeg.each_frame(), *ffmpeg.source_times()] if few or decoded else ['-c', 'copy']
    said = run('-copyts', '-i', path, '-map', '0:' + stream, *options, '-f', 'framecrc', '-')
    unit = Fraction(re.search(r'#tb 0: (\S+)', said).group(1))
    rows = [line.split(',') for line in said.splitlines() if not line.startswith('#') and 'F=0x5' not in line]
    return sorted((float(int(row[2]) * unit), float((int(row[2]) + int(row[3])) * unit)) for row in rows)


def timeline(path, streams):
    """Reads the Timeline of a file."""
    film = packets_of(path, 'v:0')
    zero = film[0][0]
    frames = [start - zero for start, _ in film]
    sound, subtitles, chapters = [], [], []
    if streams != 'picture':
        track = packets_of(path, 'a:0')
        sound = [track[0][0] - zero, track[-1][1] - zero]
    if streams == 'all' and 'Subtitle:' in ffmpeg.output('-i', path).log:
        said = run('-copyts', '-i', path, '-map', '0:s:0', '-f', 'srt', '-')
        subtitles = [tuple(3600 * int(h) + 60 * int(m) + float(s.replace(',', '.')) - zero for h, m, s in (
            moment.split(':') for moment in pair)) for pair in re.findall(r'(\S+) --> (\S+)', said)]
    if streams == 'all':
        said = run('-copyts', '-i', path, '-f', 'ffmetadata', '-')
        chapters = [float(int(start) * Fraction(unit)) - zero
                    for unit, start in re.findall(r'TIMEBASE=(\S+)\nSTART=(-?\d+)', said)]
    return Timeline(zero, frames, film[-1][1] - film[-1][0], sound, subtitles, chapters)


def write(source, target):
    """Writes the frames of a source again; returns the VideoWriter."""
    with VideoWriter(target, source.rate, 20, source=source, segment_frames=5, length=source.num_frames) as writer:
        for frame in video.decode(source, writer.first):
            writer.write(frame)
    return writer


@pytest.mark.parametrize('case', [pytest.param(case, id=str(case), marks=() if case in SUITE else pytest.mark.faults)
                                  for case in EVERY])
def test_everything_is_shown_when_the_source_shows_it(tmp_path, case):
    path = make(tmp_path, case)
    info = video.inspect(path)
    # ffmpeg 4.2 does not read the last duration of an MP4 that starts later
    unread = case.source in ('.mp4', '.mov') and STARTS[case.starts][0] > 0 and ffmpeg.misreads_durations()
    assert info.constant_rate == (case.pattern == 'constant' or (case.pattern == 'slow end' and unread))
    target = str(tmp_path / ('written' + case.target))
    write(info, target)
    kind = SOURCES[case.source]
    before, after = timeline(path, case.streams), timeline(target, case.streams)
    rounded = ('.mkv', '.webm', '.flv', '.wmv')
    assert after.frames == pytest.approx(before.frames, abs=.0011 if {case.target, case.source} & {*rounded} else .0001)
    # Matroska's is taken if it is much longer than a frame
    has_end = kind.has_end and (case.source != '.mkv' or case.pattern == 'slow end')
    if case.target in ('.mp4', '.mov') and has_end and not (after.start > 0 and ffmpeg.misreads_durations()):
        last = PATTERNS[case.pattern][1] * STEPS[case.unit] * case.unit
        assert after.last == pytest.approx(float(last), abs=.0001)
    copied = (case.source in ('.mp4', '.mkv', '.ts', '.flv') and case.target != '.webm')
    if case.source == '.wmv' and case.target != '.mkv' and before.sound:   # the decoder gives no sound for its begin
        heard = packets_of(path, 'a:0', decoded=True)
        before.sound[:] = heard[0][0] - before.start, heard[-1][1] - before.start
    assert after.sound == pytest.approx(before.sound, abs=.025 if copied else .06)
    assert after.subtitles == [pytest.approx(pair, abs=.011) for pair in before.subtitles]
    if case.target in ('.mp4', '.mov') and before.chapters:   # the first one begins with the file
        assert after.chapters.pop(0) + after.start == pytest.approx(0, abs=.002)
        before.chapters.pop(0)
    assert after.chapters == pytest.approx(before.chapters, abs=.002)
    if kind.keeps_start and case.starts != 'zero':
        assert after.start == pytest.approx(before.start, abs=.08)   # the first frames of sound lie before zero


WINDOWS = [(4, 7), (0, 6), (5, None)]   # first frame and the one after the last, None for all
SPANS = [(Case('.mp4', FINE, 'gap', 'zero', 'all', '.mp4'), (4, 7)),
         (Case('.mkv', MILLI, 'constant', 'all late', 'all', '.mkv'), (0, 6)),
         (Case('.mov', FINE, 'burst', 'zero', 'all', '.mov'), (5, None)),
         (Case('.ts', FINE, 'constant', 'zero', 'sound', '.webm'), (4, 7))]


@pytest.mark.parametrize('case, window', [
    pytest.param(*item, id='%s %s' % (item[0], item[1]), marks=() if item in SPANS else pytest.mark.faults)
    for item in itertools.product(EVERY, WINDOWS)
    if item[0].starts in ('zero', 'all late') and item[0].streams != 'picture'])
def test_a_span_has_what_the_source_shows_in_it(tmp_path, case, window):
    first, end = window
    path = make(tmp_path, case)
    info = video.inspect(path)
    length = info.num_frames
    span = info.span(first, end or length)
    target = str(tmp_path / ('written' + case.target))
    with VideoWriter(target, info.rate, 20, source=span, segment_frames=2) as writer:
        for frame in list(video.decode(info))[first:end]:
            writer.write(frame)
    before, after = timeline(path, case.streams), timeline(target, case.streams)
    zero = before.frames[first]
    stop = before.frames[end] - zero if end else 99
    assert after.frames == pytest.approx([time - zero for time in before.frames[first:end]], abs=.0011)
    start = 0 if first else -99   # with the first frame, what lies before it is kept
    sound = [max(before.sound[0] - zero, start), min(before.sound[1] - zero, stop)]
    assert after.sound == pytest.approx(sound, abs=.06)
    assert after.subtitles == [pytest.approx((max(one - zero, start), min(other - zero, stop)), abs=.011)
                               for one, other in before.subtitles if other - zero > start and one - zero < stop]
    chapters = [max(begin - zero, start) for begin, other in zip(before.chapters, [*before.chapters[1:], .4])
                if other - zero > start + .001 and begin - zero < stop]
    if case.target in ('.mp4', '.mov') and chapters:   # the first one begins with the file
        chapters[0] = after.chapters[0]
    assert after.chapters == pytest.approx(chapters, abs=.002)


@pytest.mark.parametrize('target, said', [('.mp4', True), ('.mkv', False)])
def test_subtitles_that_overlap_are_shortened_in_mp4(tmp_path, target, said):
    (tmp_path / 'a.srt').write_text('\n\n'.join('%d\n00:00:00,%s --> 00:00:00,%s\ntext' % item for item in (
        (1, '000', '900'), (2, '200', '300'), (3, '200', '400'), (4, '500', '600'))))
    run('-f', 'lavfi', '-i', 'color=gray:size=16x16:rate=25:duration=1', '-i', str(tmp_path / 'a.srt'), '-pix_fmt',
        'yuv420p', '-c:s', 'ass', str(tmp_path / 'a.mkv'))
    differences = write(video.inspect(str(tmp_path / 'a.mkv')), str(tmp_path / ('b' + target))).differences
    assert len(differences) == said and all('of 4 subtitles' in text and 'overlap' in text for text in differences)


@pytest.mark.parametrize('target', ['.mp4', '.mkv'])
def test_sound_that_an_edit_hides_is_not_heard(tmp_path, target):
    """A file that was cut without encoding, whose sound and picture begin before the cut."""
    run('-f', 'lavfi', '-i', 'color=gray:size=16x16:rate=25:duration=2', '-f', 'lavfi', '-i',
        'sine=duration=2:sample_rate=48000', '-pix_fmt', 'yuv420p', '-c:a', 'aac', str(tmp_path / 'whole.mp4'))
    run('-ss', '0.5', '-i', str(tmp_path / 'whole.mp4'), '-c', 'copy', str(tmp_path / 'cut.mp4'))
    info = video.inspect(str(tmp_path / 'cut.mp4'))
    written = write(info, str(tmp_path / ('b' + target)))
    heard = timeline(written.path, 'sound').sound
    assert heard == pytest.approx([0, info.num_frames / 25], abs=.12)


@pytest.mark.parametrize('target', ['.mp4', pytest.param('.mkv', marks=pytest.mark.faults),
                                    pytest.param('.webm', marks=pytest.mark.faults)])
def test_a_leap_of_the_clock_is_closed(tmp_path, target):
    """Two recordings in one file, as between broadcasts."""
    data = b''
    for start in (0, 100):
        path = tmp_path / 'part.ts'
        run('-f', 'lavfi', '-i', 'color=gray:size=16x16:rate=25:duration=1', '-f', 'lavfi', '-i',
            'sine=duration=1:sample_rate=48000', '-c:v', 'libx264', '-bf', '0', '-c:a', 'aac', '-pix_fmt', 'yuv420p',
            '-output_ts_offset', str(start), str(path))
        data += path.read_bytes()
    path.write_bytes(data)
    info = video.inspect(str(path))
    assert (info.num_frames, info.rate, info.constant_rate, info.own_times) == (50, 25, True, False)
    writer = write(info, str(tmp_path / ('written' + target)))
    check_facts(' '.join(writer.differences), '1.400 s', 'distances are kept')
    assert timeline(writer.path, 'sound').sound == pytest.approx([-.021, 2.003], abs=.03)


def test_another_rate_leaves_out_what_no_longer_fits(source, tmp_path):
    with VideoWriter(str(tmp_path / 'a.mkv'), 2 * source.rate, 20, source=source, audio=False) as writer:
        for frame in video.decode(source):
            writer.write(frame)
    check_facts(' '.join(writer.differences), '--fps', 'subtitle', 'stream 2', '2 chapters')
    written = video.inspect(writer.path)
    assert (written.streams, written.chapters, written.rate) == ((('video', 'h264'),), 0, 50)


def test_subtitles_that_are_pictures_are_named_in_a_span(source):
    streams = [containers.Stream(3, 'subtitle', 'dvd_subtitle', 'copy'),
               containers.Stream(4, 'subtitle', 'subrip', 'copy', 'subrip')]
    plan = containers.Plan(streams, [], [], [])
    text, = spans.differences(source.span(2, 5), plan)
    check_facts(text, 'dvd_subtitle', 'stream 3', '--start')
    assert spans.differences(source.span(0, 5), plan) == spans.differences(source, plan) == []


def test_a_stream_that_vanishes_is_named(source, monkeypatch):
    """As if the ffmpeg that reads the written file found no packets in it."""
    stream = containers.Stream(1, 'audio', 'aac', 'copy')
    original = packets.read(source.path, [0, 1], mp4=True)
    empty = original._replace(tracks=[original.tracks[0], original.tracks[1].within(Fraction(99), None)])
    monkeypatch.setattr(packets, 'read', lambda *arguments, **options: empty)
    with raises_facts(UserError, 'aac', 'stream 1', 'missing'):
        verification.verify(source.path, source.num_frames, Timing.of_source(source, source.rate), source,
                            containers.Plan([stream], [], [], []), original, mp4=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with a source that has every kind of stream, its files, and the segments of a video made of it."""
    return tmp_path_factory.mktemp('faults')


@pytest.fixture(scope='module')
def source(folder):
    return video.inspect(make(folder, Case('.mp4', MILLI, 'slow end', 'late sound', 'all', '.mkv')))


def join_otherwise(monkeypatch, change):
    """Lets the writer call ffmpeg with other arguments when it joins: a function of a list of str changes them."""
    right = ffmpeg.output

    def output(*arguments):
        arguments = list(arguments)
        if 'concat' in arguments:
            change(arguments)
        return right(*arguments)
    monkeypatch.setattr(ffmpeg, 'output', output)


def listed(old, new):
    """A fault in the list of segments: a pattern is replaced."""
    def change(arguments, folder):
        path = next(word for word in arguments if word.endswith('list.txt'))[len('file:'):]
        with open(path) as file:
            text = file.read()
        with open(path, 'w') as file:
            file.write(re.sub(old, new, text, count=1))
        assert re.search(old, text)
    return change


def shifted(arguments, folder):
    place = [index for index, word in enumerate(arguments) if word == '-itsoffset'][1]
    arguments[place + 1] = str(float(arguments[place + 1]) + .1)


def shortened(arguments, folder):
    place = [index for index, word in enumerate(arguments) if word == '-i'][1]
    arguments[place:place] = ['-t', '1']


def without(stream):
    def change(arguments, folder):
        place = arguments.index('1:%d' % stream)
        arguments[place - 1:place + 3] = []   # -map 1:N -c:X ENCODER
    return change


def instead(stream, name, text):
    """A fault by a file whose stream is written instead of one of the source."""
    def change(arguments, folder):
        (folder / name).write_text(text)
        place = arguments.index('-map')
        arguments[place:place] = ['-i', str(folder / name)]
        if stream:
            arguments[arguments.index('1:%d' % stream)] = '2:0'
        else:
            arguments[arguments.index('-map_chapters') + 1] = '2'
    return change


SRT = '1\n00:00:00,100 --> 00:00:%s\ntext\n\n2\n00:00:%s --> 00:00:01,300\ntext\n'
META = ';FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=%d\nEND=400\n'
FAULTS = {
    'frame later': (listed('duration 0.2', 'duration 0.21'), 'frame 5'),
    'frame missing': (listed('outpoint 0.\\d', 'outpoint 0.0'), 'frames instead of 8'),
    'frame too many': (listed('outpoint .*', ''), 'frames instead of 8'),
    'sound later': (shifted, 'audio.*starts'), 'sound shorter': (shortened, 'audio.*ends'),
    'sound missing': (without(1), '.'), 'subtitles missing': (without(2), '.'),
    'subtitle later': (instead(2, 'b.srt', SRT % ('00,400', '00,950')), 'subtitle'),
    'subtitle longer': (instead(2, 'c.srt', SRT % ('00,480', '00,900')), 'subtitle.*ends'),
    'one subtitle missing': (instead(2, 'd.srt', SRT.split('\n\n')[0] % '00,400'), '1 of 2 subtitles'),
    'chapter later': (instead(None, 'm1', META % 250), 'chapter 2'),
    'chapter missing': (instead(None, 'm2', META.split('[CHAPTER]\nTIMEBASE=1/1000\nSTART=%')[0]), '1 chapters')}


@pytest.mark.parametrize('name', FAULTS)
def test_a_fault_of_the_writer_is_found(folder, source, monkeypatch, name):
    change, found = FAULTS[name]
    join_otherwise(monkeypatch, lambda arguments: change(arguments, folder))
    with pytest.raises(UserError, match=found):
        write(source, str(folder / 'written.mkv'))
    assert not (folder / 'written.mkv').exists()


def test_another_duration_of_the_last_frame_is_found(source, tmp_path, monkeypatch):
    class Wrong(Timing):
        @classmethod
        def of_source(cls, info, rate):
            return cls(rate, info.start, info.times, info.time_base, Fraction(1, 25))
    monkeypatch.setattr(video_writer, 'Timing', Wrong)
    with raises_facts(UserError, 'last frame', '0.040 s', '1.000 s'):
        write(source, str(tmp_path / 'written.mp4'))
