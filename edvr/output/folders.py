"""Restores clips to folders of PNG frames."""
import typing

from data_tools.base import paths
from edvr.output import output_lock, progress
from edvr.output.background_writer import BackgroundWriter
from edvr.output.clip_source import Source, put_frames, shots_record
from edvr.output.png_folder import PngFolder
from edvr.restore.restorer import Restorer
from edvr.sharing import splitting

Settings = typing.Mapping[str, typing.Any]


def folder_of(output: str, source: Source, alone: bool) -> str:
    """Returns the folder for the frames of a clip: `output` itself for a single clip, else a folder in it.

    Raises:
      UserError: the name of the clip leads elsewhere.
    """
    return output if alone else paths.inside(output, source.name)


def write_folders(workers: typing.Any, sources: typing.Sequence[Source], output: str, settings: Settings,
                  alone: typing.Optional[bool] = None, overwrite: bool = False, writers: int = 2,
                  part: typing.Optional[typing.Tuple[int, int]] = None,
                  progress_kind: str = progress.AUTO) -> int:
    """Restores clips to PNG frames; an interrupted restoration restores the frames that are missing.

    Args:
      workers: sharing.workers.ThisProcess or WorkerProcesses.
      sources: the clips.
      output: a folder; see `folder_of`.
      settings: JSON values on which restored frames depend.
      alone: whether there is only one clip in all; None derives it from `sources`.
      overwrite: restore all frames again.
      writers: threads that write, of each process.
      part: see `output_lock.of_folder`.
      progress_kind: see `progress.bar`.
    Returns:
      how many frames were restored.
    Raises:
      UserError: input or output that cannot be used, or another run that writes there. Written frames stay.
    """
    alone = len(sources) == 1 if alone is None else alone
    with output_lock.of_folder(output, part):
        folders = open_folders(sources, output, settings, alone, overwrite)
        ranges = [splitting.FrameRange(clip, first, end)
                  for clip, folder in enumerate(folders) for first, end in folder.missing]
        missing = sum(end - first for _, first, end in ranges)
        present = sum(source.length for source in sources) - missing
        if present:
            print('%d frames exist already' % present)
        shares = splitting.split(ranges, workers.size, [source.size[0] * source.size[1] for source in sources],
                                 least=workers.network.config.num_frames)
        with progress.bar(missing, 'restoring', progress_kind) as bar:
            for _ in workers.do(write_ranges, [[FolderRange(sources[clip], first, end, folders[clip], writers)
                                                for clip, first, end in share] for share in shares], bar):
                pass
    return missing


def open_folders(sources: typing.Iterable[Source], output: str, settings: Settings, alone: bool,
                 overwrite: bool) -> typing.List[PngFolder]:
    """Opens the folder of each source. Raises UserError, see `PngFolder`."""
    return [PngFolder(folder_of(output, source, alone), source.names,
                      dict(settings, frames=source.length, **shots_record(source)), overwrite, source.kept_profile)
            for source in sources]


class FolderRange(typing.NamedTuple):
    """Frames to restore to a folder.

    source: Source.
    first, end: int, the frames from `first` to `end` (not included).
    folder: PngFolder.
    writers: int, threads that write.
    """
    source: Source
    first: int
    end: int
    folder: PngFolder
    writers: int


def write_ranges(restorer: Restorer, ranges: typing.Iterable[FolderRange], bar: typing.Any) -> typing.Iterator[int]:
    """Restores ranges; yields the number of frames of each. `bar` has `update()`, called after each frame."""
    for source, first, end, folder, writers in ranges:
        with BackgroundWriter(folder.write, writers, 2 * writers) as writer:
            put_frames(writer.put, restorer, source, first, end, bar)
        yield end - first
