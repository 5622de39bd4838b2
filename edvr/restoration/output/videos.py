"""Restoring a clip to a video file."""
import os
from fractions import Fraction

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr.restoration import clip_source
from edvr.restoration.evaluation.metrics import to_uint8
from edvr.restoration.output import output_lock, progress
from edvr.restoration.output.background_writer import BackgroundWriter
from edvr.restoration.output.video_writer import VideoWriter

RATE_OF_IMAGES = Fraction(25)


def restore_to_video(restorer, source, path, fps=0., crf=18, codec='auto', audio=True, overwrite=False):
    """Restores one clip to a video.

    Args:
      restorer: Restorer.
      source: clip_source.Source.
      path: str; its suffix tells the container.
      fps, crf, codec, audio: see `InferConfig`.
      overwrite: replace a file of this name.
    Returns:
      int, how many frames were restored.
    Raises:
      UserError: input or output that cannot be used, or another run that writes it.
    """
    if os.path.exists(path) and not overwrite:
        raise UserError('%s exists: give another --output, or --overwrite to replace it' % path)
    rate = Fraction(fps).limit_denominator(1001) or (source.video.rate if source.video else RATE_OF_IMAGES)
    folder, name = os.path.split(os.path.abspath(path))
    files.make_dir(folder)
    with output_lock.of_video(path):
        files.remove_partials(folder, name)   # of a run that was killed
        encoder = VideoWriter(path, rate, crf, codec, source.video, audio)
        if encoder.copies_audio is False:
            print('note: %s audio does not go into this kind of file as it is and is encoded again'
                  % ', '.join(source.video.audio))
        with encoder, BackgroundWriter(lambda index, sr: encoder.write(to_uint8(sr)), threads=1) as writer, \
                progress.bar(source.length, 'restoring') as bar:
            clip_source.restore_into(writer.put, restorer, source, 0, bar)
            progress.announce_end(bar)
    return source.length
