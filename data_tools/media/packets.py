"""Times of the packets in a video file, read without decoding."""
import re
import typing
from fractions import Fraction

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg


def video_times(path: str) -> typing.List[Fraction]:
    """Reads the times at which the frames of the first video stream are shown, in seconds, sorted.

    Raises:
      UserError: ffmpeg cannot read the file, or a packet has no time.
    """
    times = [time for _, time, _ in _read(path, '-copyts', '-map', '0:v:0', '-c', 'copy')]
    if None in times:
        raise UserError('%s: packet %d of its video has no time' % (path, times.index(None)))
    return sorted(times)


def first_decoding_time(path: str) -> float:
    """Reads the decoding time of the first video packet, in seconds after the start of the file: at most 0.

    Raises:
      UserError: ffmpeg cannot read the file, or it has no video packets.
    """
    for _, _, time in _read(path, '-copyts', '-map', '0:v:0', '-c', 'copy', '-frames:v', '1'):
        return float(time or 0)
    raise UserError('%s has no video packets' % path)


def audio_starts(path: str, decoded: bool = False, absolute: bool = False) -> typing.Dict[int, float]:
    """Reads when the audio streams of a file start.

    Args:
      path: of the file.
      decoded: whether the first decoded sample counts (without what decoders leave out), else the first packet.
      absolute: whether times are those in the file, as of `video_times`, else seconds after the start of the file, as
        `VideoInfo.start`.
    Returns:
      {number among the audio streams: seconds}. Streams without packets in the first 20 s are absent.
    Raises:
      UserError: ffmpeg cannot read the file, or it has no audio.
    """
    starts = {}
    codec = ['-c:a', 'pcm_s16le'] if decoded else ['-c', 'copy']
    for stream, time, _ in _read(path, *(['-copyts'] if absolute else []), '-map', '0:a?', '-vn', '-sn', '-dn', *codec,
                                 '-t', '20'):
        if stream not in starts and time is not None:
            starts[stream] = float(time)
    return starts


def _read(path, *arguments):
    """Reads [(output stream, pts, dts)], the times in seconds, None for unknown ones."""
    before = [argument for argument in arguments if argument == '-copyts']
    after = [argument for argument in arguments if argument != '-copyts']
    output = ffmpeg.output('-loglevel', 'error', *before, *ffmpeg.source(path), *after,
                           *ffmpeg.source_times(), '-f', 'framecrc', 'pipe:1')
    try:
        found = _parsed(output.data.decode('ascii', 'replace'))
    except (ValueError, KeyError, ZeroDivisionError) as error:
        raise UserError('cannot read %s: ffmpeg lists its packets in an unknown way (%s)' % (path, error)) from None
    if output.code and not found:
        raise UserError('cannot read %s: %s' % (path, output.failure()))
    return found


def _parsed(text: str) -> typing.List[typing.Tuple[typing.Any, ...]]:
    units: typing.Dict[int, Fraction] = {}
    found: typing.List[typing.Tuple[typing.Any, ...]] = []
    for line in text.splitlines():
        match = re.match(r'#tb (\d+): (\S+)', line)
        if match:
            units[int(match.group(1))] = Fraction(match.group(2))
        elif not line.startswith('#'):
            stream, dts, pts = line.split(',')[:3]
            unit = units[int(stream)]
            found.append((int(stream),) + tuple(
                int(time) * unit if re.match(r'-?\d+$', time.strip()) and abs(int(time)) < 2 ** 62 else None
                for time in (pts, dts)))
    return found
