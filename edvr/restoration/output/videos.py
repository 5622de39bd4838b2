"""Restoring a clip to a video file."""
import os
from fractions import Fraction

import numpy as np

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import fingerprint
from edvr.restoration import clip_source
from edvr.restoration.evaluation.metrics import to_uint8
from edvr.restoration.output import output_lock, progress
from edvr.restoration.output.background_writer import BackgroundWriter
from edvr.restoration.output.video_writer import VideoWriter

RATE_OF_IMAGES = Fraction(25)


def restore_to_video(restorer, source, path, settings, fps=0., crf=18, codec='auto', audio=True, bits=8,
                     overwrite=False):
    """Restores one clip to a video; an interrupted restoration continues at the first missing segment.

    Args:
      restorer: Restorer.
      source: clip_source.Source.
      path: str; its suffix tells the container.
      settings: dict of JSON values, what decides how a restored frame looks.
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
    convert = to_uint16 if bits == 10 else to_uint8
    with output_lock.of_video(path):
        files.remove_partials(folder, name)   # of a run that was killed
        _print_changes(encoder.plan, path)
        with encoder:
            first = encoder.first
            if first:
                print('%d frames are there already' % first)
            with BackgroundWriter(lambda index, sr: encoder.write(convert(sr)), threads=1) as writer, \
                    progress.bar(source.length - first, 'restoring') as bar:
                clip_source.restore_into(writer.put, restorer, source, first, source.length, bar)
                progress.announce_end(bar)
        if encoder.lost_metadata:
            print('note: %s cannot hold this metadata of the input: %s'
                  % (os.path.splitext(path)[1], ', '.join(encoder.lost_metadata)))
    return source.length - first


def to_uint16(sr):
    """float [H, W, 3] in [0, 1], clipped -> uint16."""
    return np.rint(np.clip(sr, 0, 1) * 65535).astype(np.uint16)


def _record(settings, source):
    """What decides the frames of the video."""
    mark = dict(source=fingerprint.of_file(source.path, fingerprint.VIDEO_BLOCKS)) if source.video else {}
    return dict(settings, frames=source.length, **dict(clip_source.shots_record(source), **mark))


def _print_changes(plan, path):
    suffix = os.path.splitext(path)[1]
    if plan.encoded:
        print('note: %s cannot hold these streams as they are; they are encoded again: %s'
              % (suffix, ', '.join(plan.encoded)))
    if plan.lost:
        print('note: %s cannot hold these streams of the input; they are left out: %s' % (suffix, ', '.join(plan.lost)))
