"""Joins segments, and the streams of a source beside its picture, to one file."""
import os
import re
import typing

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, packets
from data_tools.media.video import VideoInfo
from edvr.output.containers import Container, Plan
from edvr.output.segments import SegmentFolder
from edvr.output.timing import Timing

_LIST = 'list.txt'
# descriptions of the source's own container
_NOT_COPIED = ('major_brand', 'minor_version', 'compatible_brands', 'encoder')
_LETTER = {'audio': 'a', 'subtitle': 's', 'attachment': 't'}
_PRIMING = 0.05   # seconds that encoders of audio may begin before zero, at most


def join(folder: SegmentFolder, total: int, timing: Timing, target: str, container: Container,
         source: typing.Optional[VideoInfo] = None, plan: typing.Optional[Plan] = None) -> None:
    """Joins segments.

    Args:
      folder: has all segments.
      total: frames.
      timing: their times.
      target: the file to write.
      container: its kind.
      source: the video whose other streams are added, or None.
      plan: how these are written.
    Raises:
      UserError: ffmpeg fails.
    """
    listing = os.path.join(folder.path, _LIST)
    files.write_bytes(listing, _concat_list(folder, total, timing).encode('utf-8'))
    arguments = ['-loglevel', 'error', '-y', '-itsoffset', '%.6f' % timing.start, '-f', 'concat', '-safe', '0',
                 '-i', ffmpeg.file_name(listing)]
    if source:
        arguments += ffmpeg.source(source.path)
    arguments += ['-map', '0:v:0', '-c:v', 'copy']
    if plan:
        arguments += _streams(plan)
    if source:
        arguments += ['-map_metadata', '1', '-map_chapters', '1' if source.chapters else '-1']
        for key in _NOT_COPIED:
            arguments += ['-metadata', key + '=']
    if container.muxer in ('mp4', 'mov'):
        arguments += ['-movflags', '+faststart']
    elif ffmpeg.shifts_late():
        arguments += ['-output_ts_offset', '%.6f' % _shift(folder, timing, source, plan)]
    output = ffmpeg.output(*arguments, *ffmpeg.reproducible(), '-f', container.muxer, ffmpeg.file_name(target))
    if output.code:
        raise UserError('cannot write %s: %s' % (target, output.failure()))


def lost_metadata(source: typing.Optional[VideoInfo], path: str) -> typing.List[str]:
    """Returns the keys of the metadata of a source that a written file lacks, sorted."""
    if source is None:
        return []
    return sorted(set(_metadata_keys(source.path)) - set(_metadata_keys(path)) - set(_NOT_COPIED))


def _metadata_keys(path):
    """Returns the metadata keys of the whole file, without those of its streams and chapters."""
    text = ffmpeg.output('-loglevel', 'error', *ffmpeg.source(path), '-map', '0:v:0',
                         '-c', 'copy', '-f', 'ffmetadata', 'pipe:1').data.decode('utf-8', 'replace')
    # '=', ';', '#' and line ends in values are escaped with a backslash
    return re.findall(r'^([^=;#\[\\\n]+)=', re.split(r'^\[', text, maxsplit=1, flags=re.M)[0].lower(), re.M)


def _concat_list(folder, total, timing):
    lines, number = ['ffconcat version 1.0'], 0
    while folder.bounds(number, total)[0] < total:
        first, end = folder.bounds(number, total)
        duration = timing.microseconds(end) - timing.microseconds(first)
        lines += ['file %s' % os.path.basename(folder.file(number)),
                  'duration %d.%06d' % divmod(duration, 1000000)]
        number += 1
    return '\n'.join(lines) + '\n'


def _streams(plan):
    arguments: typing.List[str] = []
    counts: typing.Dict[str, int] = {}
    for index, kind, _, encoder in plan.streams:
        letter = _LETTER[kind]
        number = counts[letter] = counts.get(letter, -1) + 1
        arguments += ['-map', '1:%d' % index, '-c:%s:%d' % (letter, number), encoder]
    return arguments


def _shift(folder, timing, source, plan):
    """Returns the seconds by which all streams are delayed so that no time is below zero."""
    lowest = timing.start + packets.first_decoding_time(folder.file(0))
    audio = [stream for stream in plan.streams if stream[1] == 'audio'] if plan else []
    if audio:
        lowest = min([lowest] + list(packets.audio_starts(source.path).values()))
    if any(encoder != 'copy' for *_, encoder in audio):
        lowest = min(lowest, 0) - _PRIMING
    return max(0., -lowest)
