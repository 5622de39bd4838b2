"""The clips that a training run validates on."""
import typing

from data_tools.base import paths
from data_tools.base.errors import UserError
from data_tools.media import splits
from data_tools.media.clips import Clip, find_clips
from data_tools.media.degradation import Degradation
from data_tools.media.frames import DegradedFrames
from data_tools.media.shots import ShotRule
from edvr.config import TrainingConfig

AUTO = 'auto'

# folder of the shards of each set, and what made its LQ, or None if LQ came with it
Sets = typing.Sequence[typing.Tuple[str, typing.Optional[Degradation]]]
Found = typing.Tuple[typing.List[Clip], str]   # the clips, and a line on them


def find(training: TrainingConfig, sets: Sets, scale: int) -> Found:
    """Finds the clips of --val_dir and --val_clips.

    Args:
      training: the options of validation.
      sets: the shards: with val_dir 'auto' the clips are those held out beside the first of them that has any.
      scale: GT size / LQ size.
    Returns:
      (list of Clip, str): the clips, empty without validation, and a line that says which they are or why there are
      none.
    Raises:
      UserError: a val_dir or val_clips that was named and cannot be used.
    """
    if not (training.eval_every or training.image_every):
        return [], 'validation: off (--eval_every=0)'
    if training.val_dir != AUTO:
        names, _ = splits.choose(training.val_clips, training.val_dir)
        known = [made for _, made in sets if made] + [Degradation('bicubic', scale)]
        return _described(_find(training.val_dir, scale, names, known[0] if training.make_lq else None),
                          training.val_dir)
    folders = [(paths.sources_of(folder), made) for folder, made in sets]
    folder, made = ([item for item in folders if splits.held_out(item[0]).names] + folders + [('', None)])[0]
    names, _ = splits.held_out(folder)
    if not names:
        return [], 'validation: off (no clips are held out in %s; name some with --val_dir)' % folder
    try:
        return _described(_find(folder, scale, names, made), folder)
    except UserError as error:
        return [], 'validation: off (%s; name clips with --val_dir)' % error


def _find(folder: str, scale: int, names: typing.Any, degradation: typing.Optional[Degradation]) -> typing.List[Clip]:
    return find_clips(folder, scale, clips=names, part='test', shots=ShotRule(), degradation=degradation)


def _described(clips: typing.List[Clip], folder: str) -> Found:
    names = ', '.join(clip.name for clip in clips[:8]) + (', ...' if len(clips) > 8 else '')
    made = [clip.lq.degradation for clip in clips if isinstance(clip.lq, DegradedFrames)]
    return clips, 'validation: %s of %s%s' % (names, folder, ', LQ ' + made[0].describe() if made else '')
