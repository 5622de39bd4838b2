"""Compares a written video with its source before it gets its name."""
import typing

from data_tools.base.errors import UserError
from data_tools.media import packets
from data_tools.media.video import VideoInfo
from edvr.output.containers import Plan
from edvr.output.timing import Timing

_PICTURE = 0.0015   # seconds; Matroska and WebM round times to 0.001
_COPIED = 0.01      # of sound against picture: old versions of ffmpeg lose the delay of Opus, 0.0065
_ENCODED = 0.03     # where audio is encoded again: about one of its frames


def verify(path: str, total: int, timing: Timing, source: typing.Optional[VideoInfo] = None,
           plan: typing.Optional[Plan] = None) -> None:
    """Compares the number of frames, their times and the starts of the sound with the expected ones.

    Args:
      path: the written file.
      total: frames.
      timing: their times.
      source: the video whose sound was copied, or None.
      plan: how its streams were written.
    Raises:
      UserError: the first difference.
    """
    times = packets.video_times(path)
    if len(times) != total:
        raise UserError('the written video has %d frames instead of %d' % (len(times), total))
    for index, time in enumerate(times):
        off = float(time - times[0] - timing.seconds(index))
        if abs(off) > _PICTURE:
            raise UserError('frame %d of the written video is shown %.4f s %s than it should be'
                            % (index, abs(off), 'later' if off > 0 else 'earlier'))
    if source and plan:
        _verify_sound(path, float(times[0]), timing, source, plan)


def _verify_sound(path, picture, timing, source, plan):
    audio = [stream for stream in plan.streams if stream[1] == 'audio']
    order = [index for index, (kind, _) in enumerate(source.streams) if kind == 'audio']
    for decoded in {encoder != 'copy' for *_, encoder in audio}:
        before, after = packets.audio_starts(source.path, decoded), packets.audio_starts(path, decoded, absolute=True)
        for number, (index, _, codec, encoder) in enumerate(audio):
            there = before.get(order.index(index))
            if (encoder != 'copy') != decoded or there is None:
                continue
            if number not in after:
                raise UserError('audio %s (stream %d) is missing in the written video' % (codec, index))
            off = (after[number] - picture) - (there - timing.start)
            if abs(off) > (_ENCODED if decoded else _COPIED):
                raise UserError('audio %s (stream %d) starts %.4f s %s against the picture than in the source'
                                % (codec, index, abs(off), 'later' if off > 0 else 'earlier'))
