"""Joins segments, and the streams of a source beside its picture, to one file."""
import os
import re
import typing

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, packets
from data_tools.media.video import VideoInfo
from edvr.output import spans
from edvr.output.containers import Container, Plan
from edvr.output.segments import SegmentFolder
from edvr.output.timing import Timing

_LIST = 'list.txt'
# descriptions of the source's own container
_NOT_COPIED = ('major_brand', 'minor_version', 'compatible_brands', 'encoder')
_LETTER = {'audio': 'a', 'subtitle': 's', 'attachment': 't'}
_COVERS = {'mjpeg': ('.jpg', 'image/jpeg'), 'png': ('.png', 'image/png')}
_PRIMING = 0.05   # seconds that encoders of audio may begin before zero, at most
_HIDDEN = 0.1     # seconds of copied sound that is decoded and not heard, at most
_LATEST = 10.     # seconds; players show black until the start of an MP4, so a later one is that of a clock


def read_source(source: typing.Optional[VideoInfo], plan: typing.Optional[Plan]) -> typing.Optional[packets.Packets]:
    """Reads the packets of a source: of its film, then of the sound and subtitles of a Plan, in its order."""
    if source is None:
        return None
    streams = [source.film] + [stream.number for stream in plan.timed] if plan else [source.film]
    return packets.read(source.path, streams, source.own_times, mp4=source.mp4)


def join(folder: SegmentFolder, total: int, timing: Timing, target: str, container: Container,
         source: typing.Optional[VideoInfo] = None, plan: typing.Optional[Plan] = None,
         original: typing.Optional[packets.Packets] = None) -> None:
    """Joins segments.

    Args:
      folder: has all segments.
      total: frames.
      timing: their times.
      target: the file to write.
      container: its kind.
      source: the video whose other streams are added, or None.
      plan: how these are written.
      original: what `read_source` has read; needed with a source.
    Raises:
      UserError: ffmpeg fails.
    """
    listing = os.path.join(folder.path, _LIST)
    files.write_bytes(listing, _concat_list(folder, total, timing).encode('utf-8'))
    shift = _shift(timing, container, source, plan, original) if source else 0.
    before, after = ffmpeg.times(source is None or source.own_times, 1)
    arguments = ['-loglevel', 'error', '-y', *before, '-itsoffset', '%.6f' % (timing.start + shift),
                 *ffmpeg.INDEXED, '-f', 'concat', '-safe', '0', '-i', ffmpeg.file_name(listing)]
    if source:
        arguments += ['-itsoffset', '%.6f' % shift, *ffmpeg.source(source.path)]
    inputs, streams = _streams(plan, source, shift, timing.start + shift, folder.path) if plan and source else ([], [])
    arguments += inputs
    chapters = '1' if source and source.chapters else '-1'
    if source and source.cut and source.chapters:
        path = spans.cut_chapters(source, shift, folder.path)
        chapters = str(2 + inputs.count('-i')) if path else '-1'
        arguments += ffmpeg.source(path, 'ffmetadata') if path else []
    covers = _covers(folder, plan, container, source) if plan else []
    arguments += ['-map', '0:v:0', '-c:v', 'copy', *streams, *covers]
    if source:
        arguments += ['-map_metadata', '1', '-map_chapters', chapters]
        for key in _NOT_COPIED:
            arguments += ['-metadata', key + '=']
    if container.muxer in ('mp4', 'mov'):
        arguments += ['-movflags', '+faststart']
    cut = source.cut if source and source.cut else (None, None)
    if cut[0] is not None or container.muxer not in ('mp4', 'mov'):
        arguments += ['-copypriorss', '0']   # what lies before zero; sound that the source hides would be heard
    if cut[1] is not None:
        arguments += ['-t', '%.6f' % (float(cut[1]) + shift)]
    output = ffmpeg.output(*arguments, *ffmpeg.reproducible(), '-f', container.muxer, ffmpeg.file_name(target),
                           *after)
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
        begin = timing.microseconds(first)
        lines += ['file %s' % os.path.basename(folder.file(number)),
                  'duration %s' % _microseconds(timing.microseconds(end) - begin)]
        if not timing.constant:   # the segment repeats its last frame where that ends
            lines.append('outpoint %s' % _microseconds(
                (timing.microseconds(end - 1) + timing.microseconds(end)) // 2 - begin))
        number += 1
    return '\n'.join(lines) + '\n'


def _microseconds(count):
    return '%d.%06d' % divmod(count, 1000000)


def _streams(plan, source, shift, begin, folder):
    """Returns the arguments of further inputs, and those that write the streams of a Plan; `begin` is the picture's."""
    inputs: typing.List[str] = []
    arguments: typing.List[str] = []
    counts: typing.Dict[str, int] = {}
    for stream in plan.streams:
        place, encoder = '1:%d' % stream.number, stream.encoder
        if source.cut and stream.is_text:
            path, start, encoder = spans.cut_subtitles(source, stream, shift, folder)
            place = '%d:0' % (2 + inputs.count('-i'))
            # without their own times, files are counted from their start
            # as the format that was written: what a stranger's text begins with could make it a list of other files
            inputs += ['-itsoffset', '%.6f' % (0 if source.own_times else start),
                       *ffmpeg.source(path, spans.text_format(stream))]
        letter = _LETTER[stream.kind]
        number = counts[letter] = counts.get(letter, -1) + 1
        arguments += ['-map', place, '-c:%s:%d' % (letter, number), encoder]
        if source.cut and source.cut[0] is not None and stream.kind == 'audio' and encoder != 'copy':
            arguments += ['-filter:a:%d' % number, 'atrim=start=%.6f' % begin]
    return inputs, arguments


def _covers(folder, plan, container, source):
    """Returns options that add the covers; those of Matroska are attachments, which are first copied to files."""
    arguments: typing.List[str] = []
    attachments = sum(stream.kind == 'attachment' for stream in plan.streams)
    for number, (index, codec) in enumerate(plan.covers):
        if container.muxer != 'matroska':
            arguments += ['-map', '1:%d' % index, '-c:v:%d' % (1 + number), 'copy',
                          '-disposition:v:%d' % (1 + number), 'attached_pic']
            continue
        suffix, kind = _COVERS[codec]
        path = os.path.join(folder.path, 'cover%d%s' % (number, suffix))
        output = ffmpeg.output('-loglevel', 'error', *ffmpeg.source(source.path), '-map', '0:%d' % index,
                               '-c', 'copy', '-frames:v', '1', '-f', 'image2pipe', 'pipe:1')
        files.write_bytes(path, output.data)
        stream = 's:t:%d' % (attachments + number)
        arguments += ['-attach', ffmpeg.file_name(path), '-metadata:' + stream, 'mimetype=' + kind,
                      '-metadata:' + stream, 'filename=cover' + suffix]
    return arguments


def _shift(timing, container, source, plan, original):
    """Returns the seconds that are added to all times of a source.

    A file keeps its start, if that is no clock's, unless a time lies before zero, which Matroska cannot hold, and MP4
    for sound only: players skip it.
    """
    if source.cut and source.cut[0] is not None:
        return -timing.start + (_PRIMING if container.muxer not in ('mp4', 'mov') and any(
            stream.kind == 'audio' and stream.encoder not in ('copy', stream.codec) for stream in plan.streams) else 0)
    matroska = container.muxer not in ('mp4', 'mov')
    starts = [timing.start]
    for stream, track in zip(plan.timed if plan else (), original.tracks[1:]):
        if not track.times:
            continue
        start = float(track.start)
        if stream.kind == 'audio' and matroska and stream.encoder == 'copy':
            start = min([start] + [time for time in (float(time * track.unit) for time in track.hidden)
                                   if time > start - _HIDDEN])
        elif stream.kind == 'audio' and matroska:
            start -= _PRIMING
        elif stream.kind == 'audio' and -_PRIMING < start < 0:
            continue
        starts.append(start)
    first = min(starts)
    if source.container.startswith(('matroska', 'mov')) and (matroska or first <= _LATEST):
        return max(0., -first)
    # ffmpeg 4.2 corrects a shift of exactly the start of a broadcast by the start of the streams that are copied
    return -first + (1e-6 if ffmpeg.has_clock(source.container) else 0)
