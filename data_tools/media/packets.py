"""Times of the packets in a video file, read without decoding."""
import re
import typing
from fractions import Fraction

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg


def video_times(path: str) -> typing.List[Fraction]:
    """Returns the times at which the frames of the first video stream are shown: sorted list of Fraction, seconds.

    Raises:
      UserError: ffmpeg cannot read the file, or a packet has no time.
    """
    times = [time for _, time, _ in _read(path, '-copyts', '-map', '0:v:0', '-c', 'copy')]
    if None in times:
        raise UserError('%s: packet %d of its video has no time' % (path, times.index(None)))
    return sorted(times)


def first_decoding_time(path: str) -> float:
    """Seconds between the start of a file and the decoding time of its first video packet: float, at most 0."""
    for _, _, time in _read(path, '-copyts', '-map', '0:v:0', '-c', 'copy', '-frames:v', '1'):
        return float(time or 0)
    raise UserError('%s has no video packets' % path)


def audio_starts(path: str, decoded: bool = False, absolute: bool = False) -> typing.Dict[int, float]:
    """Returns when the audio streams of a file start.

    Args:
      path: str.
      decoded: whether the first decoded sample counts (without what decoders leave out), else the first packet.
      absolute: whether times are those in the file, as of `video_times`, else seconds after the start of the file, as
        `VideoInfo.start`.
    Returns:
      dict: number among the audio streams -> float, seconds. Streams without packets in the first 20 s are absent.
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
    """Returns [(output stream, pts, dts)] in seconds, None where unknown."""
    before = [argument for argument in arguments if argument == '-copyts']
    after = [argument for argument in arguments if argument != '-copyts']
    output = ffmpeg.output('-loglevel', 'error', *before, *ffmpeg.source(path), *after,
                           *ffmpeg.source_times(), '-f', 'framecrc', 'pipe:1')
    units, found = {}, []
    for line in output.data.decode('ascii', 'replace').splitlines():
        unit = re.match(r'#tb (\d+): (\S+)', line)
        if unit:
            units[int(unit.group(1))] = Fraction(unit.group(2))
        elif not line.startswith('#'):
            stream, dts, pts = line.split(',')[:3]
            unit = units[int(stream)]
            found.append((int(stream),) + tuple(
                int(time) * unit if re.match(r'-?\d+$', time.strip()) and abs(int(time)) < 2 ** 62 else None
                for time in (pts, dts)))
    if output.code and not found:
        raise UserError('cannot read %s: %s' % (path, output.failure()))
    return found
