"""Times of the packets in a video file, its chapters and its duration, read without decoding."""
import re
import typing
from fractions import Fraction

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg
from data_tools.media.streams import of_input

COPIED = ('-c', 'copy')
_DISCARDED = 4   # flag of a packet
EMPTY = 2    # bytes of a subtitle in MP4 that shows nothing
_SHORTEST = Fraction(1, 200)   # seconds; formats of text round times
_UNKNOWN = 2 ** 62   # of a time
_CHAPTER = re.compile(r'^\[info\] +Chapter #0:\d+: start (-?[\d.]+), end (-?[\d.]+)', re.M)
_CONTAINER = re.compile(r'^\[info\] Input #0, (.*), from ', re.M)
_DURATION = re.compile(r'^\[info\] +Duration: (?:(\d+):(\d+):([\d.]+)|N/A)(?:, start: (-?[\d.]+))?', re.M)


class Track(typing.NamedTuple):
    """Holds the packets of a stream that are shown, those without a time left out, in the order of the file.

    Attributes:
      unit: seconds of a unit of time.
      times: when each is shown, in units.
      durations: for how long, in units; 0 if unknown.
      sizes: bytes.
      untimed: for each packet without a time, the packets before it that have one.
      hidden: times of packets that are decoded and not shown, as those before the start of an edit list.
    """
    unit: Fraction
    times: typing.List[int]
    durations: typing.List[int]
    sizes: typing.List[int]
    untimed: typing.List[int]
    hidden: typing.List[int]

    @property
    def start(self) -> Fraction:
        """Returns the earliest time in seconds."""
        return min(self.times) * self.unit

    @property
    def end(self) -> Fraction:
        """Returns the latest end in seconds."""
        return max(time + duration for time, duration in zip(self.times, self.durations)) * self.unit

    def shown(self) -> typing.List[typing.Tuple[Fraction, Fraction, int]]:
        """Returns (time in seconds, duration in seconds, bytes) of each packet, in the order of the times."""
        return [(time * self.unit, duration * self.unit, size)
                for time, duration, size in sorted(zip(self.times, self.durations, self.sizes))]

    def within(self, begin: typing.Optional[Fraction], end: typing.Optional[Fraction]) -> 'Track':
        """Returns the packets that begin between two times in seconds, None for no limit."""
        return self._of([(time, time + duration, size) for time, duration, size in self.shown()
                         if (begin is None or time >= begin) and (end is None or time < end)], begin is None)

    def clipped(self, begin: typing.Optional[Fraction], end: typing.Optional[Fraction]) -> 'Track':
        """Returns the parts of packets between two times in seconds, None for no limit."""
        return self._of([span + (size,) for time, duration, size in self.shown()
                         for span in clipped([(time, time + duration)], begin, end)], begin is None)

    def _of(self, spans: typing.Sequence[typing.Tuple[Fraction, Fraction, int]], hides: bool) -> 'Track':
        unit = Fraction(1, 10 ** 6)
        times, ends = ([round(span[place] / unit) for span in spans] for place in (0, 1))
        return Track(unit, times, [end - time for time, end in zip(times, ends)], [size for *_, size in spans], [],
                     self.hidden if hides else [])


def clipped(spans: typing.Iterable[typing.Tuple[Fraction, Fraction]], begin: typing.Optional[Fraction],
            end: typing.Optional[Fraction]) -> typing.Iterator[typing.Tuple[Fraction, Fraction]]:
    """Yields the parts of spans between two times, None for no limit, but those of a few milliseconds at the ends."""
    for start, stop in spans:
        start = start if begin is None else max(start, begin)
        stop = stop if end is None else min(stop, end)
        if start + _SHORTEST < stop:
            yield start, stop


class Packets(typing.NamedTuple):
    """Describes what a file holds, and when; all times in seconds.

    Attributes:
      tracks: of the streams that were asked for, in that order.
      chapters: (start, end) of each.
      start: of the file, by ffmpeg.
      duration: that the file states, rounded to 0.01; None if it states none.
      ends: when streams of Matroska end, by a tag of theirs, {number in the file: seconds}.
      container: ffmpeg's names of the format.
    """
    tracks: typing.List[Track]
    chapters: typing.List[typing.Tuple[Fraction, Fraction]]
    start: Fraction
    duration: typing.Optional[Fraction]
    ends: typing.Dict[int, Fraction]
    container: str

    @property
    def last_duration(self) -> typing.Optional[Fraction]:
        """Returns for how many seconds the last packet of the first track is shown, as MP4 and GIF state it, or None.

        Old versions of ffmpeg take another value for it if the track has a start.
        """
        shown = self.tracks[0].shown()
        if not shown or not (self.container.startswith('mov') or self.container == 'gif'):
            return None
        return None if shown[0][0] > 0 and ffmpeg.misreads_durations() else shown[-1][1]


def read(path: str, streams: typing.Sequence[typing.Union[int, str]], own_times: bool = True,
         options: typing.Sequence[str] = COPIED, mp4: bool = False) -> Packets:
    """Reads the packets of streams.

    Args:
      path: of the file.
      streams: numbers of streams in the file, or ffmpeg's specifiers of one stream each.
      own_times: whether times are those in the file; else they are counted from its start, and leaps of its clock are
        repaired, as ffmpeg does for files that are read from a broadcast.
      options: of the output; with a codec of audio the packets are those of decoded sound.
      mp4: whether the file is an MP4 or MOV: the durations of its index are taken, not those that ffmpeg derives.
    Raises:
      UserError: ffmpeg cannot read the file, or it lacks one of the streams.
    """
    maps = [argument for stream in streams for argument in ('-map', '0:%s' % stream)]
    before, after = ffmpeg.times(own_times)
    output = ffmpeg.output('-loglevel', 'repeat+level+info', '-nostats', *before, *(ffmpeg.INDEXED if mp4 else ()),
                           *ffmpeg.source(path), *maps, *options, *ffmpeg.source_times(), '-f', 'framecrc', 'pipe:1',
                           *after)
    try:
        tracks = _tracks(output.data.decode('ascii', 'replace'))
    except (ValueError, KeyError, ZeroDivisionError) as error:
        raise UserError('cannot read %s: ffmpeg lists its packets in an unknown way (%s)' % (path, error)) from None
    if output.code and not any(track.times for track in tracks):
        reasons = re.findall(r'^.*\[(?:error|fatal)\] (.+)', output.log, re.M)
        raise UserError('cannot read %s: %s' % (path, reasons[0] if reasons else output.failure()))
    return _described(of_input(output.log), tracks, own_times)


def _described(said: str, tracks: typing.List[Track], own_times: bool) -> Packets:
    """Returns the Packets of a file that ffmpeg describes."""
    container, match = _CONTAINER.search(said), _DURATION.search(said)
    begin = Fraction(match.group(4) or 0) if match else Fraction(0)
    zero = Fraction(0) if own_times else begin
    return Packets(tracks, [(Fraction(one) - zero, Fraction(other) - zero) for one, other in _CHAPTER.findall(said)],
                   begin, _seconds(*match.groups()[:3]) if match and match.group(1) else None, _ends(said),
                   container.group(1) if container else '')


def _seconds(hours: str, minutes: str, seconds: str) -> Fraction:
    return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)


def _ends(said: str) -> typing.Dict[int, Fraction]:
    found: typing.Dict[int, Fraction] = {}
    number = None
    for line in said.splitlines():
        match = re.match(r'\[info\] +Stream #0:(\d+)', line)
        number = int(match.group(1)) if match else number
        match = re.match(r'\[info\] +DURATION +: (\d+):(\d+):(\d+\.\d+)$', line)
        if match and number is not None:
            found[number] = _seconds(*match.groups())
    return found


def _tracks(text: str) -> typing.List[Track]:
    """Returns the Tracks in a list of ffmpeg. Raises ValueError, KeyError or ZeroDivisionError for another text."""
    found: typing.Dict[int, Track] = {}
    for line in text.splitlines():
        match = re.match(r'#tb (\d+): (\S+)', line)
        if match:
            found[int(match.group(1))] = Track(Fraction(match.group(2)), [], [], [], [], [])
        elif not line.startswith('#'):
            number, _, time, duration, size = (int(word) for word in line.split(',')[:5])
            track = found[number]
            flags = re.search(r', F=0x(\w+)', line)
            if abs(time) >= _UNKNOWN:
                track.untimed.append(len(track.times))
                continue
            if flags and int(flags.group(1), 16) & _DISCARDED:
                track.hidden.append(time)
                continue
            track.times.append(time)
            track.durations.append(max(duration, 0))
            track.sizes.append(size)
    return [found[number] for number in sorted(found)]
