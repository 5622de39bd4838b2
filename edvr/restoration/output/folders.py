"""Restoring clips to folders of PNG frames."""
import os

from edvr.restoration import clip_source
from edvr.restoration.output import output_lock, progress
from edvr.restoration.output.background_writer import BackgroundWriter
from edvr.restoration.output.png_folder import PngFolder


def folder_of(output, source, alone):
    """The folder for the frames of a clip: `output` itself for one that is alone, else a folder in it."""
    return output if alone else os.path.join(output, source.name)


def restore_to_folders(restorer, sources, output, settings, alone=None, overwrite=False, writers=2, part=None):
    """Restores clips to PNG frames; an interrupted restoration continues at the first missing frame of each clip.

    Args:
      restorer: Restorer.
      sources: list of clip_source.Source.
      output: str, a folder; see `folder_of`.
      settings: dict of JSON values, what decides how a restored frame looks.
      alone: whether there is only one clip in all; None tells it from `sources`.
      overwrite: restore again what is there.
      writers: int, threads that write.
      part: see `output_lock.of_folder`.
    Returns:
      int, how many frames were restored.
    Raises:
      UserError: input or output that cannot be used, or another run that writes there. Frames already written stay.
    """
    alone = len(sources) == 1 if alone is None else alone
    with output_lock.of_folder(output, part):
        folders = open_folders(sources, output, settings, alone, overwrite)
        total = sum(source.length for source in sources)
        missing = sum(source.length - folder.first for source, folder in zip(sources, folders))
        if missing < total:
            print('%d frames are there already' % (total - missing))
        with progress.bar(missing, 'restoring') as bar:
            for source, folder in zip(sources, folders):
                if folder.first < source.length:
                    with BackgroundWriter(folder.write, writers, 2 * writers) as writer:
                        clip_source.restore_into(writer.put, restorer, source, folder.first, source.length, bar)
                        progress.announce_end(bar)
    return missing


def open_folders(sources, output, settings, alone, overwrite):
    """The folder of each source: list of PngFolder. Raises UserError, see `PngFolder`."""
    return [PngFolder(folder_of(output, source, alone), source.names, _record(settings, source), overwrite)
            for source in sources]


def _record(settings, source):
    """What decides the restored frames of a source."""
    return dict(settings, frames=source.length, **clip_source.shots_record(source))
