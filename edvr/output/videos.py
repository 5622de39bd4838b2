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
from edvr.output.segments import SegmentWriter
from edvr.output.video_writer import VideoWriter
from edvr.restore.pixels import quantize
from edvr.sharing import clip_source, splitting

RATE_OF_IMAGES = Fraction(25)


def restore_to_video(workers, source, path, settings, fps=0., crf=18, codec='auto', audio=True, bits=8,
                     overwrite=False):
    """Restores one clip to a video; an interrupted restoration restores the segments that are missing.

    Args:
      workers: sharing.workers.ThisProcess or WorkerProcesses.
      source: clip_source.Source.
      path: str; its suffix decides the container.
      settings: dict of JSON values on which restored frames depend.
      fps, crf, codec, audio, bits: see `InferConfig`.
      overwrite: replace a file of this name, and segments of other settings.
    Returns:
      int, how many frames were restored.
    Raises:
      UserError: input or output that cannot be used, or another run that writes it. Whole segments stay.
    """
    if os.path.exists(path) and not overwrite:
        raise UserError('%s exists: give another --output, or --overwrite to replace it' % path)
    rate = Fraction(fps).limit_denominator(1001) or (source.video.rate if source.video else RATE_OF_IMAGES)
    folder, name = os.path.split(os.path.abspath(path))
    files.make_dir(folder)
    encoder = VideoWriter(path, rate, crf, codec, source.video, audio, bits, _record(settings, source), overwrite,
                          source.length)
    with output_lock.of_video(path):
        files.remove_partials(folder, name)   # of a run that was killed
        _print_changes(encoder.plan, path)
        with encoder:
            stretches = [splitting.Stretch(0, first, end) for first, end in encoder.missing]
            missing = sum(end - first for _, first, end in stretches)
            if missing < source.length:
                print('%d frames exist already' % (source.length - missing))
            shares = splitting.split(stretches, workers.size, unit=encoder.segment_frames)
            with progress.bar(missing, 'restoring') as bar:
                for _ in workers.do(_restore, [[_Part(source, first, end, encoder.segments(first), bits)
                                                for _, first, end in share] for share in shares], bar):
                    pass
        if encoder.lost_metadata:
            print('note: %s cannot hold this metadata of the input: %s'
                  % (os.path.splitext(path)[1], ', '.join(encoder.lost_metadata)))
    return missing


class _Part(typing.NamedTuple):
    """Frames `first` to `end` (not included) of a Source, which fill whole segments, and their writer."""
    source: clip_source.Source
    first: int
    end: int
    segments: SegmentWriter
    bits: int


def _restore(restorer, parts, bar):
    """Restores a share (list of _Part); yields how many frames each part had."""
    for source, first, end, segments, bits in parts:
        dtype = np.uint16 if bits == 10 else np.uint8
        with segments, BackgroundWriter(lambda index, sr, segments=segments, dtype=dtype:
                                        segments.write(quantize(sr, dtype)), threads=1) as writer:
            clip_source.restore_into(writer.put, restorer, source, first, end, bar)
        yield end - first


def _record(settings, source):
    """The settings on which the frames of the video depend."""
    mark = dict(source=fingerprint.of_file(source.path, fingerprint.VIDEO_BLOCKS)) if source.video else {}
    return dict(settings, frames=source.length, **dict(clip_source.shots_record(source), **mark))


def _print_changes(plan, path):
    suffix = os.path.splitext(path)[1]
    if plan.encoded:
        print('note: %s cannot hold these streams unchanged; they are encoded again: %s'
              % (suffix, ', '.join(plan.encoded)))
    if plan.lost:
        print('note: %s cannot hold these streams of the input; they are left out: %s' % (suffix, ', '.join(plan.lost)))
