"""What is shown when: frames, sound, subtitles and chapters of a written video against its source, over a matrix of
containers, units of time, patterns of frames and streams.

Files are read here by ffmpeg's lists of packets and its conversions to text, not by the modules under test.
"""
import itertools
import re
import typing
from fractions import Fraction

import pytest

from data_tools.media import ffmpeg, video
from edvr.output import containers
from edvr.output.video_writer import VideoWriter

FRAME, COARSE, MILLI, FINE = Fraction(1, 25), Fraction(1, 15), Fraction(1, 1000), Fraction(1, 90000)
STEPS = {FRAME: 1, COARSE: 1, MILLI: 40, FINE: 3600}   # units between the frames of a constant rate
# steps at which the frames begin, and of which the last one lasts
PATTERNS = {
    'constant': (range(12), 1), 'gap': ([*range(6), *range(9, 15)], 1), 'missing': ([0, 1, 2, 4, 5, 6, 7, 8], 1),
    'burst': ([0, 4, 8, 9, 10, 11, 15, 19], 4), 'slow end': (range(8), 25)}
# seconds at which picture, sound and subtitles of a file begin
STARTS = {'zero': (0, 0, 0), 'late picture': (.6, 0, 0), 'late sound': (0, .5, 0), 'all late': (1, 1, 1),
          'early subtitle': (1.2, 1.2, 0)}
STREAMS = ('picture', 'sound', 'all')
# {suffix of a source: (units that it can have, encoders of its picture, sound and subtitles)}
SOURCES: typing.Dict[str, typing.Any] = {
    '.mp4': (tuple(STEPS), 'libx264', 'aac', 'mov_text'), '.mov': ((COARSE, FINE), 'libx264', 'pcm_s16le', 'mov_text'),
    '.mkv': ((MILLI,), 'libx264', 'aac', 'subrip'), '.webm': ((MILLI,), 'libvpx-vp9', 'libopus', 'webvtt'),
    '.avi': ((FRAME, COARSE), 'mpeg4', 'pcm_s16le', None), '.ts': ((FINE,), 'libx264', 'aac', None),
    '.flv': ((MILLI,), 'libx264', 'aac', None)}
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
        subtitles = SOURCES[self.source][3]
        return (not (self.streams == 'all' and subtitles is None) and
                not (self.starts == 'early subtitle' and self.streams != 'all') and
                not (self.streams == 'picture' and self.starts.startswith('late')) and
                # an AVI has no times, but repeats the frame before a gap, and begins at zero
                not (self.source == '.avi' and (self.pattern != 'constant' or self.starts != 'zero')) and
                not (self.pattern == 'slow end' and self.source not in ('.mp4', '.mov')))


EVERY = [case for case in (Case(source, unit, *rest) for source in SOURCES for unit in SOURCES[source][0]
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
    _, picture, sound, subtitles = SOURCES[case.source]
    begins, last = PATTERNS[case.pattern]
    begins = [*begins, begins[-1] + last]   # the last one only ends the one before it
    picture_start, sound_start, subtitle_start = STARTS[case.starts]
    units = [step * STEPS[case.unit] for step in begins]
    inputs = ['-f', 'lavfi', '-i', 'color=gray:size=16x16:rate=25']
    maps = ['-map', '0:v']
    if case.streams != 'picture':
        inputs += ['-itsoffset', str(sound_start), '-f', 'lavfi', '-i', 'sine=duration=1:sample_rate=48000']
        maps += ['-map', '1:a', '-c:a', sound]
    if case.streams == 'all':
        (folder / 'a.srt').write_text('\n\n'.join('%d\n00:00:0%.3f --> 00:00:0%.3f\ntext %d' % (
            number, subtitle_start + start, subtitle_start + end, number)
            for number, (start, end) in enumerate(SUBTITLES)).replace('.', ','))
        (folder / 'chapters').write_text(';FFMETADATA1\n' + ''.join(
            '[CHAPTER]\nTIMEBASE=1/1000\nSTART=%d\nEND=%d\ntitle=part\n' % (
                1000 * (picture_start + start), 1000 * (picture_start + start + .2)) for start in CHAPTERS))
        inputs += ['-i', str(folder / 'a.srt'), '-i', str(folder / 'chapters')]
        maps += ['-map', '2:s', '-c:s', subtitles, '-map_chapters', '3']
    path = str(folder / ('source' + case.source))
    if case.source == '.avi':
        run('-f', 'lavfi', '-i', 'color=gray:size=16x16:rate=%s' % (1 / case.unit), *inputs[4:], *maps, '-c:v', picture,
            '-frames:v', '12', '-pix_fmt', 'yuv420p', path)
        return path
    film = str(folder / ('film' + ('.mp4' if case.source in ('.mp4', '.mov') else '.nut')))
    run(*inputs[:4], '-frames:v', str(len(units)), '-vf', "settb=%s,setpts='%s'" % (case.unit, '+'.join(
        'eq(N,%d)*%d' % item for item in enumerate(units))), *ffmpeg.each_frame(), '-enc_time_base',
        str(case.unit).replace('/', ':'), '-c:v', picture, '-bf', '0', '-pix_fmt', 'yuv420p',
        *(['-video_track_timescale', str(case.unit.denominator)] if film.endswith('.mp4') else []), film)
    listing = folder / 'film.txt'
    listing.write_text('ffconcat version 1.0\nfile %s\noutpoint %.6f\n' % (
        film, float((units[-1] + units[-2]) * case.unit / 2)))
    run('-copyts', '-itsoffset', str(picture_start), '-f', 'concat', '-safe', '0', '-i', str(listing), *inputs[4:],
        *maps, '-c:v', 'copy', *(['-video_track_timescale', str(case.unit.denominator)]
                                 if film.endswith('.mp4') else []), path)
    return path


class Timeline(typing.NamedTuple):
    """What a file shows when, in seconds after its first frame; `start` is that frame's own time."""
    start: float
    frames: typing.List[float]
    last: float
    sound: typing.List[float]
    subtitles: typing.List[typing.Tuple[float, float]]
    chapters: typing.List[float]


def packets_of(path, stream):
    """[(time, end)] in seconds of the packets of a stream that are not hidden."""
    said = run('-copyts', '-i', path, '-map', '0:' + stream, '-c', 'copy', '-f', 'framecrc', '-')
    unit = Fraction(re.search(r'#tb 0: (\S+)', said).group(1))
    rows = [line.split(',') for line in said.splitlines() if not line.startswith('#') and 'F=0x5' not in line]
    return sorted((float(int(row[2]) * unit), float((int(row[2]) + int(row[3])) * unit)) for row in rows)


def timeline(path, streams):
    film = packets_of(path, 'v:0')
    zero = film[0][0]
    frames = [start - zero for start, _ in film]
    sound, subtitles, chapters = [], [], []
    if streams != 'picture':
        track = packets_of(path, 'a:0')
        sound = [track[0][0] - zero, track[-1][1] - zero]
    if streams == 'all':
        said = run('-copyts', '-i', path, '-map', '0:s:0', '-f', 'srt', '-')
        subtitles = [tuple(3600 * int(h) + 60 * int(m) + float(s.replace(',', '.')) - zero for h, m, s in (
            moment.split(':') for moment in pair)) for pair in re.findall(r'(\S+) --> (\S+)', said)]
        said = run('-copyts', '-i', path, '-f', 'ffmetadata', '-')
        chapters = [float(int(start) * Fraction(unit)) - zero
                    for unit, start in re.findall(r'TIMEBASE=(\S+)\nSTART=(-?\d+)', said)]
    return Timeline(zero, frames, film[-1][1] - film[-1][0], sound, subtitles, chapters)


@pytest.mark.parametrize('case', [pytest.param(case, id=str(case), marks=() if case in SUITE else pytest.mark.faults)
                                  for case in EVERY])
def test_everything_is_shown_when_the_source_shows_it(tmp_path, case):
    path = make(tmp_path, case)
    info = video.inspect(path)
    assert info.constant_rate == (case.pattern == 'constant')
    target = str(tmp_path / ('written' + case.target))
    with VideoWriter(target, info.rate, 20, source=info, segment_frames=5) as writer:
        for frame in video.decode(info):
            writer.write(frame)
    before, after = timeline(path, case.streams), timeline(target, case.streams)
    rounding = .0011 if case.target in ('.mkv', '.webm') or case.source in ('.mkv', '.webm', '.flv') else .0001
    assert after.frames == pytest.approx(before.frames, abs=rounding)
    if case.target in ('.mp4', '.mov') and case.source in ('.mp4', '.mov'):
        assert after.last == pytest.approx(before.last, abs=.0001)
    copied = (case.source in ('.mp4', '.mkv', '.ts', '.flv') and case.target != '.webm')
    assert after.sound == pytest.approx(before.sound, abs=.025 if copied else .06)
    assert after.subtitles == [pytest.approx(pair, abs=.011) for pair in before.subtitles]
    if case.target in ('.mp4', '.mov') and before.chapters:   # the first one begins with the file
        assert after.chapters.pop(0) + after.start == pytest.approx(0, abs=.002)
        before.chapters.pop(0)
    assert after.chapters == pytest.approx(before.chapters, abs=.002)
    if case.source not in ('.ts', '.flv') and case.starts != 'zero':
        assert after.start == pytest.approx(before.start, abs=.06)   # the first frame of sound lies before zero
