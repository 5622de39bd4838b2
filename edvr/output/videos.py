"""Restores a clip to a video file."""
import os
import typing
from fractions import Fraction

import numpy as np

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import fingerprint
from edvr.output import output_lock, progress
from edvr.output.background_writer import BackgroundWriter
from edvr.output.clip_source import Source, put_frames, shots_record
from edvr.output.segments import SegmentWriter
from edvr.output.timing import wanted_rate
from edvr.output.video_writer import VideoWriter
from edvr.restore.pixels import quantize
from edvr.restore.restorer import Restorer
from edvr.sharing import splitting

_SAME_RATE = 1e-4   # relative difference: 29.97 stands for 30000/1001


def chosen_rate(source: Source, fps: float, audio: bool) -> Fraction:
    """Returns the rate to write, in frames per second; 0 for `fps` keeps that of the source.

    Raises:
      UserError: another rate than that of a video whose sound is kept, which would no longer fit.
    """
    video = source.video
    if video is None:
        return wanted_rate(fps)
    rate = wanted_rate(fps, video.rate)
    if abs(rate / video.rate - 1) < _SAME_RATE:
        return video.rate
    if audio and video.audio:
        raise UserError('--fps=%g would change the speed of %s, which has %.6g frames/s and sound: leave out --fps, or '
                        'the sound with --noaudio' % (fps, video.path, video.rate))
    return rate


def write_video(workers: typing.Any, source: Source, path: str, settings: typing.Mapping[str, typing.Any],
                fps: float = 0., crf: int = 18, codec: str = 'auto', audio: bool = True, bits: int = 8,
                overwrite: bool = False, progress_kind: str = progress.AUTO,
                options: typing.Sequence[str] = ()) -> int:
    """Restores one clip to a video; an interrupted restoration restores the segments that are missing.

    Args:
      workers: sharing.workers.ThisProcess or WorkerProcesses.
      source: the clip.
      path: its suffix decides the container.
      settings: JSON values on which restored frames depend.
      fps, crf, codec, audio, bits: see `InferConfig`.
      overwrite: replace a file of this name, and segments of other settings.
      progress_kind: see `progress.bar`.
      options: of ffmpeg, see `codecs.options_of`.
    Returns:
      how many frames were restored.
    Raises:
      UserError: input or output that cannot be used, or another run that writes it. Complete segments stay.
    """
    if os.path.exists(path) and not overwrite:
        raise UserError('%s exists: give another --output, or --overwrite to replace it' % path)
    rate = chosen_rate(source, fps, audio)
    folder, name = os.path.split(os.path.abspath(path))
    files.make_dir(folder)
    encoder = VideoWriter(path, rate, crf, codec, source.video, audio, bits, _record(settings, source), overwrite,
                          source.length, options=options)
    with output_lock.of_video(path):
        files.remove_partials(folder, name)   # of a run that was killed
        _print_changes(encoder.plan, path)
        with encoder:
            ranges = [splitting.FrameRange(0, first, end) for first, end in encoder.missing]
            missing = sum(end - first for _, first, end in ranges)
            if missing < source.length:
                print('%d frames exist already' % (source.length - missing))
            shares = splitting.split(ranges, workers.size, unit=encoder.segment_frames)
            with progress.bar(missing, 'restoring', progress_kind) as bar:
                for _ in workers.do(_write_ranges, [[_VideoRange(source, first, end, encoder.segments(first), bits)
                                                     for _, first, end in share] for share in shares], bar):
                    pass
        for text in encoder.differences:
            print('note: %s: %s' % (path, text))
        if encoder.lost_metadata:
            print('note: %s cannot hold this metadata of the input: %s'
                  % (os.path.splitext(path)[1], ', '.join(encoder.lost_metadata)))
    return missing


class _VideoRange(typing.NamedTuple):
    """Frames `first` to `end` (not included) of a Source, which fill complete segments, and their writer."""
    source: Source
    first: int
    end: int
    segments: SegmentWriter
    bits: int


def _write_ranges(restorer: Restorer, ranges: typing.Iterable[_VideoRange], bar: typing.Any) -> typing.Iterator[int]:
    """Restores a list of _VideoRange; yields the number of frames of each."""
    for source, first, end, segments, bits in ranges:
        dtype = np.uint16 if bits == 10 else np.uint8
        with segments, BackgroundWriter(lambda index, sr, segments=segments, dtype=dtype:
                                        segments.write(quantize(sr, dtype)), threads=1) as writer:
            put_frames(writer.put, restorer, source, first, end, bar)
        yield end - first


def _record(settings, source):
    """Returns the settings on which the frames of the video depend."""
    mark = dict(source=fingerprint.of_file(source.path, fingerprint.VIDEO_BLOCKS)) if source.video else {}
    return dict(settings, frames=source.length, **dict(shots_record(source), **mark))


def _print_changes(plan, path):
    suffix = os.path.splitext(path)[1]
    if plan.encoded:
        print('note: %s cannot hold these streams unchanged; they are encoded again: %s'
              % (suffix, ', '.join(plan.encoded)))
    if plan.lost:
        print('note: these streams of the input are left out of the %s: %s' % (suffix, ', '.join(plan.lost)))
