"""Compares a written video with its source before it gets its name."""
import typing
from fractions import Fraction

from data_tools.base.errors import UserError
from data_tools.media import frame_times, packets
from data_tools.media.video import VideoInfo
from edvr.output.containers import Plan, Stream
from edvr.output.timing import Timing

# seconds
_PICTURE = 0.0015   # Matroska and WebM round times to 0.001
_COPIED = 0.01      # old versions of ffmpeg lose the delay of Opus, 0.0065
_ENCODED = 0.03     # sound that is encoded again: about one of its frames
_HIDDEN = 0.1       # sound that the source hides before its start, and Matroska cannot
_END = 0.06         # containers state the part of the last frame of sound that is heard, or do not
_TEXT = 0.02        # formats of subtitles round times to 0.01
_START = 0.06       # a start that is shifted less, because of the first frame of sound, is no difference

_Span = typing.Tuple[float, float]


def verify(path: str, total: int, timing: Timing, source: typing.Optional[VideoInfo] = None,
           plan: typing.Optional[Plan] = None, original: typing.Optional[packets.Packets] = None,
           mp4: bool = False) -> typing.List[str]:
    """Compares the times of all frames, of sound, subtitles and chapters, after the first frame, with the source's.

    Args:
      path: the written file.
      total: frames.
      timing: the times of frames without a source, or whose source has other packets than frames.
      source: the video whose streams were added, or None.
      plan: how its streams were written.
      original: the packets of the source, see `spans.expected`.
      mp4: whether the written file is an MP4 or MOV.
    Returns:
      what the container cannot hold as the source has it, a line each.
    Raises:
      UserError: the first difference that must not be.
    """
    streams = plan.timed if source and plan else []
    places = [1 + plan.streams.index(stream) for stream in streams] if plan else []
    written = packets.read(path, [0] + places, mp4=mp4)
    film = written.tracks[0].shown()
    if len(film) != total:
        raise UserError('the written video has %d frames instead of %d' % (len(film), total))
    zero = film[0][0]
    expected, begin, allowed = _expected_frames(total, timing, source, original)
    _verify_frames([time - zero for time, *_ in film], expected, allowed)
    last = (source.last if source and timing.rate == source.rate else None) or 1 / timing.rate
    stated = timing.constant or bool(source and source.last)
    _verify_end(written, film, expected[-1], last, allowed, stated)
    if not (source and plan and original):
        return []
    differences = [] if source.cut else list(_start_difference(source, original, written))
    sounds = [(stream, before, after) for stream, before, after in zip(streams, original.tracks[1:], written.tracks[1:])
              if stream.kind == 'audio']
    for stream, before, after in sounds:
        _verify_sound(stream, before, after, begin, zero)
    _verify_decoded(path, source, [stream for stream, *_ in sounds], places, begin, zero)
    for stream, before, after in zip(streams, original.tracks[1:], written.tracks[1:]):
        if stream.kind == 'subtitle':
            if stream.encoder != 'copy':   # what it cannot hold, as drawings, is no difference
                before, = packets.read(source.path, [stream.number], source.own_times, ('-c:s', stream.encoder)).tracks
                before = before.clipped(*source.cut) if source.cut else before
            differences += _verify_subtitles(stream, _spans(before, begin), _spans(after, zero), mp4)
    if source.chapters:
        differences += _verify_chapters(original.chapters, written.chapters, float(begin), float(zero))
    return differences


def _expected_frames(total, timing, source, original):
    """Returns the times after the first frame, the time of that in the source, and the tolerance; all in seconds."""
    allowed = Fraction(_PICTURE)
    times, begin = [timing.seconds(index) for index in range(total)], Fraction(timing.start)
    if source and original and timing.rate == source.rate and not source.deinterlaced:
        track = original.tracks[0]
        shown = [time for time, *_ in track.shown()]
        if source.cut:
            shown = shown[source.first:source.first + total]
        if len(shown) == total and not track.untimed and abs(shown[0] - begin) <= track.unit:
            times, begin = [time - shown[0] for time in shown], shown[0]
        if timing.constant:
            allowed += frame_times.tolerance(timing.rate, track.unit)
    return times, begin, allowed


def _verify_frames(times, expected, allowed):
    for index, (time, other) in enumerate(zip(times, expected)):
        off = time - other
        if abs(off) > allowed:
            raise UserError('frame %d of the written video is shown %.4f s %s than it should be'
                            % (index, abs(off), 'later' if off > 0 else 'earlier'))


def _verify_end(written, film, begin, last, allowed, stated):
    """Raises UserError if the last frame ends at another time.

    Args:
      written: Packets.
      film: the frames in it.
      begin: the time of the last frame after the first.
      last: for how long that is shown, all in seconds.
      allowed: the tolerance.
      stated: whether the source states `last`.
    """
    if 0 in written.ends:   # Matroska
        off = written.ends[0] - film[0][0] - begin - last
    elif written.container.startswith('matroska') and written.duration is not None:   # states when everything has ended
        ends = [track.end for track in written.tracks[1:] if track.times] + [film[0][0] + begin + last]
        off, allowed = written.duration - max(ends), allowed + Fraction(_END)
    elif written.last_duration is not None:
        off = film[-1][0] - film[0][0] + written.last_duration - begin - last
    else:
        return
    if abs(off) > allowed + (0 if stated else last):
        raise UserError('the last frame of the written video is shown for %.3f s instead of %.3f s'
                        % (last + off, last))


def _start_difference(source, original, written):
    """Yields a text if the source starts at another time."""
    before, after = (min(track.start for track in found.tracks if track.times) for found in (original, written))
    before += 0 if source.own_times else original.start
    if abs(before - after) > _START:
        yield 'its times begin at %.3f s, those of %s at %.3f s; all distances are kept' % (after, source.path, before)


def _verify_sound(stream, before, after, begin, zero):
    if not before.times:
        return
    if not after.times:
        raise UserError('%s is missing in the written video' % (stream,))
    if stream.encoder == 'copy':
        early = _HIDDEN if before.hidden else 0.
        _check(stream, 'starts', (after.start - zero) - (before.start - begin), -_COPIED - early, _COPIED)
        there, expected = (track.shown() for track in (after, before))
        if len(there) == len(expected) and not early:
            for (time, *_), (other, *_) in zip(there, expected):
                _check(stream, 'at %.3f s of the source is heard' % other, (time - zero) - (other - begin), -_COPIED,
                       _COPIED)
        _check(stream, 'ends', (after.end - zero) - (before.end - begin), -_END, _END)


def _check(what, does, off, lowest, highest):
    off = float(off)
    if not lowest <= off <= highest:
        raise UserError('%s %s %.4f s %s against the picture than in the source'
                        % (what, does, abs(off), 'later' if off > 0 else 'earlier'))


def _verify_decoded(path, source, streams, places, begin, zero):
    """Compares the first and last samples of sound that was encoded again: encoders begin before the first."""
    again = [(stream, place) for stream, place in zip(streams, places) if stream.encoder != 'copy']
    if not again:
        return
    decoded = ('-c:a', 'pcm_s16le')
    before = packets.read(source.path, [stream.number for stream, _ in again], source.own_times, decoded).tracks
    after = packets.read(path, [place for _, place in again], options=decoded).tracks
    for (stream, _), one, other in zip(again, before, after):
        one = one.clipped(*source.cut) if source.cut else one
        if one.times and not other.times:
            raise UserError('%s is missing in the written video' % (stream,))
        if one.times:
            _check(stream, 'starts', (other.start - zero) - (one.start - begin), -_ENCODED, _ENCODED)
            _check(stream, 'ends', (other.end - zero) - (one.end - begin), -_END, _END)


def _spans(track: packets.Track, zero: Fraction) -> typing.List[_Span]:
    """Returns (start, end) of the subtitles of a track that show something, in seconds after the first frame.

    Those that a cut leaves a moment of are not among them.
    """
    return [(float(time - zero), float(time + duration - zero)) for time, duration, size in track.shown()
            if size > packets.EMPTY and not 0 < duration <= _TEXT]


def _verify_subtitles(stream: Stream, before: typing.List[_Span], after: typing.List[_Span],
                      mp4: bool) -> typing.Iterator[str]:
    """Raises UserError for a subtitle that has moved, or is missing; yields a text if some are shortened, as in MP4."""
    left, missing, shortened = list(after), 0, 0
    latest, overlaps = -1e9, []
    for start, end in before:   # where one begins before another has ended
        overlaps.append(start < latest)
        latest = max(latest, end)
    for index, (start, end) in enumerate(before):
        near = [span for span in left if abs(span[0] - start) <= _TEXT]
        crowded = mp4 and any(overlaps[index:index + 2])   # MP4 shows one at a time
        if not near:
            missing, shortened = missing + (not crowded), shortened + crowded
            continue
        found = min(near, key=lambda span: abs(span[1] - end))
        left.remove(found)
        if end > start and abs(found[1] - end) > _TEXT:
            if crowded:
                shortened += 1
                continue
            raise UserError('the subtitle of %s at %.3f s after the first frame ends at %.3f s instead of %.3f s'
                            % (stream, start, found[1], end))
    if left:
        raise UserError('a subtitle of %s is shown %.3f s after the first frame, where the source has none'
                        % (stream, left[0][0]))
    if missing:
        raise UserError('%d of %d subtitles of %s are missing in the written video' % (missing, len(before), stream))
    if shortened:
        yield '%d of %d subtitles of %s overlap; each ends where the next begins' % (shortened, len(before), stream)


def _verify_chapters(before, after, begin, zero):
    """Raises UserError for a chapter that has moved, or is missing; yields what MP4 cannot hold."""
    if len(before) != len(after):
        raise UserError('the written video has %d chapters instead of %d' % (len(after), len(before)))
    for index, ((start, _), (other, _)) in enumerate(zip(before, after)):
        off = (float(other) - zero) - (float(start) - begin)
        if abs(off) <= _TEXT:
            continue
        if index or other:
            raise UserError('chapter %d of the written video starts %.3f s %s than in the source'
                            % (index + 1, abs(off), 'later' if off > 0 else 'earlier'))
        yield 'its first chapter begins at the start of the file, %.3f s %s than in the source' % (
            abs(off), 'later' if off > 0 else 'earlier')
