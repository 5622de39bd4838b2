"""Restores clips to folders of PNG frames."""
import os
import typing

from edvr.output import output_lock, progress
from edvr.output.background_writer import BackgroundWriter
from edvr.output.png_folder import PngFolder
from edvr.sharing import clip_source, splitting


def folder_of(output, source, alone):
    """The folder for the frames of a clip: `output` itself for a single clip, else a folder in it."""
    return output if alone else os.path.join(output, source.name)


def restore_to_folders(workers, sources, output, settings, alone=None, overwrite=False, writers=2, part=None):
    """Restores clips to PNG frames; an interrupted restoration restores the frames that are missing.

    Args:
      workers: sharing.workers.ThisProcess or WorkerProcesses.
      sources: list of clip_source.Source.
      output: str, a folder; see `folder_of`.
      settings: dict of JSON values on which restored frames depend.
      alone: whether there is only one clip in all; None derives it from `sources`.
      overwrite: restore all frames again.
      writers: int, threads that write, of each process.
      part: see `output_lock.of_folder`.
    Returns:
      int, how many frames were restored.
    Raises:
      UserError: input or output that cannot be used, or another run that writes there. Written frames stay.
    """
    alone = len(sources) == 1 if alone is None else alone
    with output_lock.of_folder(output, part):
        folders = open_folders(sources, output, settings, alone, overwrite)
        stretches = [splitting.Stretch(clip, first, end)
                     for clip, folder in enumerate(folders) for first, end in folder.missing]
        missing = sum(end - first for _, first, end in stretches)
        there = sum(source.length for source in sources) - missing
        if there:
            print('%d frames exist already' % there)
        shares = splitting.split(stretches, workers.size, [source.size[0] * source.size[1] for source in sources],
                                 least=workers.network.config.num_frames)
        with progress.bar(missing, 'restoring') as bar:
            for _ in workers.do(restore_parts, [[Part(sources[clip], first, end, folders[clip], writers)
                                                 for clip, first, end in share] for share in shares], bar):
                pass
    return missing


def open_folders(sources, output, settings, alone, overwrite):
    """The folder of each source: list of PngFolder. Raises UserError, see `PngFolder`."""
    return [PngFolder(folder_of(output, source, alone), source.names, _record(settings, source), overwrite)
            for source in sources]


class Part(typing.NamedTuple):
    """Frames `first` to `end` (not included) of a Source, their folder, and the number of threads that write."""
    source: clip_source.Source
    first: int
    end: int
    folder: PngFolder
    writers: int


def restore_parts(restorer, parts, bar):
    """Restores a list of Part; yields the number of frames of each. `bar` has `update()`, called after each frame."""
    for source, first, end, folder, writers in parts:
        with BackgroundWriter(folder.write, writers, 2 * writers) as writer:
            clip_source.restore_into(writer.put, restorer, source, first, end, bar)
        yield end - first


def _record(settings, source):
    """The settings on which the restored frames of a source depend."""
    return dict(settings, frames=source.length, **clip_source.shots_record(source))
