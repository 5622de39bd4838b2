"""The clips that a training run validates on."""
import typing

from data_tools.base import paths
from data_tools.base.errors import UserError
from data_tools.media import splits
from data_tools.media.clips import Clip, find_clips
from data_tools.media.degradation import Degradation
from data_tools.media.shots import ShotRule
from edvr.config import TrainingConfig

AUTO = 'auto'

Found = typing.Tuple[typing.List[Clip], str]   # the clips, and a line on them


def find(training: TrainingConfig, data_dir: str, scale: int, degradation: typing.Optional[Degradation] = None
         ) -> Found:
    """Finds the clips of --val_dir and --val_clips.

    Args:
      training: the options of validation.
      data_dir: the shards: with val_dir 'auto' the clips are those held out beside them, if there are any.
      scale: GT size / LQ size.
      degradation: what made the LQ of the training set, or None if LQ came with the set.
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
        made = (degradation or Degradation('bicubic', scale)) if training.make_lq else None
        return _described(_find(training.val_dir, scale, names, made), training.val_dir)
    folder = paths.sources_of(data_dir)
    names, _ = splits.held_out(folder)
    if not names:
        return [], 'validation: off (no clips are held out in %s; name some with --val_dir)' % folder
    try:
        return _described(_find(folder, scale, names, degradation), folder)
    except UserError as error:
        return [], 'validation: off (%s; name clips with --val_dir)' % error


def _find(folder: str, scale: int, names: typing.Any, degradation: typing.Optional[Degradation]) -> typing.List[Clip]:
    return find_clips(folder, scale, clips=names, part='test', shots=ShotRule(), degradation=degradation)


def _described(clips: typing.List[Clip], folder: str) -> Found:
    return clips, 'validation: %s of %s' % (', '.join(clip.name for clip in clips[:8])
                                            + (', ...' if len(clips) > 8 else ''), folder)
