"""What lies beside the picture of a span of a video: sound, subtitles and chapters, cut to it."""
import os
import re
import typing
from fractions import Fraction

from data_tools.base import files
from data_tools.media import ffmpeg, packets
from data_tools.media.video import VideoInfo
from edvr.output.containers import Plan, Stream

_TEXTS = {'ass': 'ass', 'ssa': 'ass', 'webvtt': 'webvtt'}   # {codec: ffmpeg's format of a file of text}, else SubRip
_TIME = r'(?:(\d+):)?(\d+):(\d+)([.,]\d+)'
_ARROW = re.compile(r'^()%s( --> )%s' % (_TIME, _TIME))
_TIMES = {'ass': re.compile(r'^(Dialogue: *[^,]*,)%s(,)%s(?=,)' % (_TIME, _TIME)), 'srt': _ARROW, 'webvtt': _ARROW}


def expected(original: packets.Packets, source: VideoInfo, plan: Plan) -> typing.Tuple[packets.Packets, Plan]:
    """Returns what a written span must have.

    Args:
      original: the packets of the source, see `joining.read_source`.
      source: with a cut, or a whole file, for which nothing changes.
      plan: how the streams are written.
    Returns:
      the packets and chapters within the span; the Plan without subtitles that have no text there.
    """
    if not source.cut:
        return original, plan
    begin, end = source.cut
    tracks = dict(zip(plan.timed, [
        track.clipped(begin, end) if stream.is_text or stream.encoder != 'copy' else track.within(begin, end)
        for stream, track in zip(plan.timed, original.tracks[1:])]))
    plan = plan._replace(streams=[stream for stream in plan.streams
                                  if not stream.is_text or max(tracks[stream].sizes, default=0) > packets.EMPTY])
    return original._replace(tracks=original.tracks[:1] + [tracks[stream] for stream in plan.timed],
                             chapters=list(packets.clipped(original.chapters, begin, end))), plan


def differences(source: VideoInfo, plan: Plan) -> typing.List[str]:
    """Returns what a written span lacks, a line each: pictures cannot be shown from their middle on."""
    if not source.cut or source.cut[0] is None:
        return []
    return ['%s: pictures that are shown already at --start are left out' % (stream,) for stream in plan.timed
            if stream.kind == 'subtitle' and not stream.is_text]


def text_format(stream: Stream) -> str:
    """Returns ffmpeg's name of the format of the file that `cut_subtitles` writes."""
    return _TEXTS.get(stream.codec, 'srt')


def cut_subtitles(source: VideoInfo, stream: Stream, shift: float, folder: str) -> typing.Tuple[str, float, str]:
    """Writes the subtitles of a span, those at its ends shortened, to a file of text.

    Args:
      source: with a cut.
      stream: subtitles of text.
      shift: seconds to add to the times of the source.
      folder: for the file.
    Returns:
      (path, the first time in it, the encoder of the written stream).
    """
    kind = text_format(stream)
    before, after = ffmpeg.times(source.own_times)
    codec = 'copy' if kind != 'srt' or stream.codec in ('subrip', 'srt') else 'srt'
    text = ffmpeg.output('-loglevel', 'error', *before, *ffmpeg.source(source.path), '-map', '0:%d' % stream.number,
                         '-c:s', codec, '-f', kind, 'pipe:1', *after).data.decode('utf-8', 'replace')
    assert source.cut
    window = [None if limit is None else float(limit) + shift for limit in source.cut]
    times: typing.List[float] = []
    separator = '\n' if kind == 'ass' else '\n\n'
    kept = [block for block in (_moved(block, _TIMES[kind], shift, window, times)
                                for block in text.replace('\r\n', '\n').split(separator)) if block is not None]
    path = os.path.join(folder, 'subtitles%d.%s' % (stream.number, kind))
    files.write_bytes(path, separator.join(kept).encode('utf-8'))
    same = stream.encoder == 'copy' and stream.codec in ('subrip', 'srt', 'ass', 'webvtt')
    return path, min(times, default=0.), 'copy' if same else stream.text_encoder


def _moved(block, pattern, shift, window, times):
    """Returns a block of text with other times, None if it lies outside the window; adds its start to `times`."""
    lines = block.split('\n')
    for number, line in enumerate(lines):
        match = pattern.match(line)
        if not match:
            continue
        first, *numbers = match.groups()
        start, end = (_seconds(*part) + shift for part in (numbers[:4], numbers[5:]))
        low, high = (limit if limit is not None else other for limit, other in zip(window, (start, end)))
        start, end = max(start, low), min(end, high)
        if start >= end:
            return None
        times.append(start)
        mark, digits = numbers[3][0], len(numbers[3]) - 1
        lines[number] = ''.join((first, _text(start, mark, digits), numbers[4], _text(end, mark, digits),
                                 line[match.end():]))
    return '\n'.join(lines)


def _seconds(hours, minutes, seconds, fraction):
    return 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) + float('0.' + fraction[1:])


def _text(seconds, mark, digits):
    ticks = round(seconds * 10 ** digits)
    whole, part = divmod(ticks, 10 ** digits)
    clock = (int(whole // 3600), int(whole // 60 % 60), int(whole % 60))
    return '%02d:%02d:%02d' % clock + mark + str(part).zfill(digits)


def cut_chapters(source: VideoInfo, shift: float, folder: str) -> str:
    """Writes the chapters of a span, with their titles, to a file of metadata; returns its path, '' without any."""
    before, after = ffmpeg.times(source.own_times)
    text = ffmpeg.output('-loglevel', 'error', *before, *ffmpeg.source(source.path), '-map', '0:%d' % source.film,
                         '-c', 'copy', '-f', 'ffmetadata', 'pipe:1', *after).data.decode('utf-8', 'replace')
    assert source.cut
    kept: typing.List[str] = []
    for section in re.split(r'^\[CHAPTER\]\n', text, flags=re.M)[1:]:
        section = re.split(r'^\[', section, flags=re.M)[0]
        unit, *places = re.match(r'TIMEBASE=(.+)\nSTART=(.+)\nEND=(.+)\n', section).groups()   # type: ignore
        spans = [(int(places[0]) * Fraction(unit), int(places[1]) * Fraction(unit))]
        for first, last in packets.clipped(spans, *source.cut):
            start, end = (round((float(time) + shift) * 1e6) for time in (first, last))
            kept.append('[CHAPTER]\nTIMEBASE=1/1000000\nSTART=%d\nEND=%d\n' % (start, end) + section.split('\n', 3)[3])
    path = os.path.join(folder, 'chapters')
    files.write_bytes(path, '\n'.join([';FFMETADATA1'] + kept).encode('utf-8'))
    return path if kept else ''
