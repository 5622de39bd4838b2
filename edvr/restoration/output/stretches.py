"""A restoration to folders as pieces of work that are independent: clips, or stretches of long ones."""
import typing

from edvr.restoration import clip_source
from edvr.restoration.output.background_writer import BackgroundWriter


class Stretch(typing.NamedTuple):
    """Frames `first` to `end` (not included) of clip number `clip`."""
    clip: int
    first: int
    end: int


def cut(lengths, most=0):
    """Cuts clips into stretches.

    Args:
      lengths: list of int, frames of each clip.
      most: int, frames of a stretch; 0 takes each clip whole. At a cut both sides read the frames that their windows
        share, so short stretches cost more.
    Returns:
      list of Stretch, none empty, in order.
    """
    return [Stretch(clip, first, min(first + (most or length), length))
            for clip, length in enumerate(lengths) for first in range(0, length, most or length)]


def restore_stretch(restorer, source, folder, first, end, progress, writers=2):
    """Restores the frames of a stretch that its folder lacks, from the first one on.

    Doing it again, or at the same time elsewhere, changes nothing: a frame appears whole, and is the same each time.

    Args:
      restorer: Restorer. source: clip_source.Source. folder: PngFolder of all its frames.
      first, end: int, frames `first` to `end` (not included).
      progress: has `update()`, called after each frame.
      writers: int, threads that write.
    Raises:
      UserError: see `clip_source.restore_into`; frames already written stay.
    """
    begin = folder.first_missing(first, end)
    if begin < end:
        with BackgroundWriter(folder.write, writers, 2 * writers) as writer:
            clip_source.restore_into(writer.put, restorer, source, begin, end, progress)
