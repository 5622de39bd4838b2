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
Found = typing.Tuple[typing.List[Clip], typing.List[str]]   # the clips, and lines on them


def find(training: TrainingConfig, sets: Sets, scale: int) -> Found:
    """Finds the clips of --val_dir and --val_clips.

    Args:
      training: the options of validation.
      sets: the shards: with val_dir 'auto' the clips are those held out beside the first of them that has any, or
        those of val_clips there, without any beside the first of all.
      scale: GT size / LQ size.
    Returns:
      (list of Clip, list of str): the clips, empty without validation, and lines that say which they are or why there
      are none.
    Raises:
      UserError: a val_dir or val_clips that was named and cannot be used.
    """
    if not (training.eval_every or training.image_every):
        return [], ['validation: off (--eval_every=0)']
    if training.val_dir != AUTO:
        names, _ = splits.choose(training.val_clips, training.val_dir)
        known = [made for _, made in sets if made] + [Degradation('bicubic', scale)]
        return _described(_find(training.val_dir, scale, names, known[0] if training.make_lq else None),
                          training.val_dir, training)
    folders = [(paths.sources_of(folder), made) for folder, made in sets]
    folder, made = ([item for item in folders if splits.held_out(item[0]).names] + folders + [('', None)])[0]
    names, _ = splits.choose(training.val_clips, folder)
    if not folder or (names is None and training.val_clips == AUTO):
        return [], ['validation: off (no clips are held out in %s; name some with --val_dir)' % folder]
    try:
        return _described(_find(folder, scale, names, made), folder, training)
    except UserError as error:
        if training.val_clips not in (AUTO, ''):
            raise
        return [], ['validation: off (%s; name clips with --val_dir)' % error]


def _find(folder: str, scale: int, names: typing.Any, degradation: typing.Optional[Degradation]) -> typing.List[Clip]:
    return find_clips(folder, scale, clips=names, part='test', shots=ShotRule(), degradation=degradation)


def _described(clips: typing.List[Clip], folder: str, training: TrainingConfig) -> Found:
    """Returns the clips with lines that name them, what made their LQ, and the command that measures the same."""
    made = [clip.lq.degradation for clip in clips if isinstance(clip.lq, DegradedFrames)][:1]
    drawn = [made[0].drawn(clip.name) if made else '' for clip in clips]
    names = ['%s (%s)' % (clip.name, text) if text else clip.name for clip, text in zip(clips, drawn)]
    chosen = ['--clips=%s' % training.val_clips] if training.val_clips != AUTO else []
    command = ['python -m edvr.evaluate', '--checkpoint=' + training.model_dir, '--data_dir=' + folder] + chosen + [
        '--max_frames=%d' % training.eval_frames] + [each.flags() for each in made]
    return clips, ['validation: %s of %s%s' % (', '.join(names[:8]) + (', ...' if len(names) > 8 else ''), folder,
                                               ', LQ ' + made[0].describe() if made else ''),
                   'the same of the newest checkpoint: ' + ' '.join(command)]
