"""Arranges unpacked REDS as one layout of 270 clips and writes the two lists of clips."""
import filecmp
import os
import shutil
import typing

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.base.paths import check_no_samples
from data_tools.base.progress import progress_bar
from data_tools.media import fingerprint, splits
from data_tools.media.clips import REDS4, REDS_OFFICIAL_VAL, find_clips
from data_tools.media.image_folder import list_frames
from data_tools.reds.config import LQ_KINDS

NUM_CLIPS = {'train': 240, 'val': 30}
FRAMES = 100                                    # of each clip of REDS
SPLITS = {'reds4': REDS4, 'official': REDS_OFFICIAL_VAL}   # the clips held out


class Step(typing.NamedTuple):
    """Describes what becomes of the folder of one clip.

    Attributes:
      name: of the clip.
      source: its folder; None if the download lacks it.
      target: the folder that it becomes.
      subset: of REDS, such as `train_sharp`.
    """
    name: str
    source: typing.Optional[str]
    target: str
    subset: str = ''


def plan(root_dir: str, output_dir: str, lq: str = 'sharp_bicubic') -> typing.List[Step]:
    """Plans all steps for complete REDS, also those whose sources are missing: GT before LQ, clips in order."""
    sides = [('truth', 'sharp', '')]
    if lq != 'none':
        scale = LQ_KINDS[lq]
        assert scale is not None   # only 'none' has no scale
        sides.append(('blur%d' % scale, lq, 'X%d' % scale if scale > 1 else ''))
    steps = []
    for folder, kind, below in sides:
        for part, offset in (('train', 0), ('val', NUM_CLIPS['train'])):
            subset = '%s_%s' % (part, kind)
            base = _source_folder(root_dir, part, subset, below)
            for i in range(NUM_CLIPS[part]):
                name = '%03d' % (offset + i)
                source = os.path.join(base, '%03d' % i) if base else ''
                steps.append(Step(name, source if os.path.isdir(source) else None,
                                  os.path.join(output_dir, 'images', folder, name), subset))
    return steps


def _source_folder(root_dir, part, subset, below):
    """Returns the folder of a subset: as in the archive, without the outer folder, or unpacked in its own folder."""
    for path in (os.path.join(part, subset), subset, os.path.join(subset, part, subset)):
        path = os.path.join(root_dir, path, below) if below else os.path.join(root_dir, path)
        if os.path.isdir(path):
            return path
    return None


def regroup(root_dir: str, output_dir: str, mode: str = 'link', lq: str = 'sharp_bicubic', split: str = 'reds4',
            partial: bool = False) -> typing.Tuple[typing.List[str], typing.List[str]]:
    """Runs all steps. Returns (names that train, names held out).

    Args:
      root_dir: the folder into which `download_reds` unpacked.
      output_dir: the folder for `images` and `sets`; may be `root_dir`.
      mode: one of MODES.
      lq: one of LQ_KINDS; 'none' brings GT only.
      split: key of SPLITS.
      partial: accept that clips or frames are missing from the download.
    Raises:
      UserError: no REDS in `root_dir`, clips or frames missing, two different folders for one clip (as the LQ of
        another `lq`), LQ and GT that do not match.
    """
    if not os.path.isdir(root_dir):
        raise UserError('%s: no such folder; bash scripts/prepare_reds.sh makes it, or give the --root_dir of '
                        'data_tools.download_reds' % root_dir)
    check_no_samples(output_dir)
    steps = plan(root_dir, output_dir, lq)
    missing = [step for step in steps if not step.source and not os.path.isdir(step.target)]
    if len(missing) == len(steps):
        raise UserError('%s does not contain REDS: expected train/train_sharp/000 and so on inside; download it with '
                            'python -m data_tools.download_reds' % root_dir)
    if missing and not partial:
        raise UserError('%d of %d clip folders are missing from %s, the first would become %s; download the rest, '
                            'or take what is there with --partial' % (len(missing), len(steps), root_dir,
                                                                      missing[0].target))
    for step in progress_bar([step for step in steps if step not in missing], unit='clip', desc=mode):
        bring(step, mode)
    clips = find_clips(output_dir, LQ_KINDS[lq] or 4, need_lq=lq != 'none')
    short = [clip for clip in clips if clip.length != FRAMES]
    if short and not partial:
        raise UserError('clip %s has %d frames in %s, but all of REDS has %d; unpack it again, or accept it with '
                            '--partial' % (short[0].name, short[0].length, short[0].gt.path, FRAMES))
    return write_sets(output_dir, [clip.name for clip in clips], split)


def bring(step: Step, mode: str) -> None:
    """Moves, links or copies one clip's folder; does nothing if that is already done."""
    source, target = step.source, step.target
    if os.path.islink(target):
        if source is None:
            _check_link(step)
            return
        if mode == 'link' and os.path.realpath(target) == os.path.realpath(source):
            return
        os.remove(target)
    if os.path.isdir(target):
        _check_same(source, target, mode)
        return
    assert source is not None   # `regroup` runs no step without source or target
    files.make_dir(os.path.dirname(target))
    partial = target + files.PARTIAL
    with files.explained(target):
        files.remove(partial)   # left by a stopped run
        if mode == 'link':
            os.symlink(os.path.relpath(os.path.realpath(source), os.path.realpath(os.path.dirname(target))), partial)
            os.rename(partial, target)
        elif mode == 'move' and os.stat(source).st_dev == os.stat(os.path.dirname(target)).st_dev:
            os.rename(source, target)
        else:
            shutil.copytree(source, partial)
            os.sync()   # the name must not reach the disk before the frames
            os.rename(partial, target)
            if mode == 'move':
                _remove(source)


def _remove(source):
    """Removes a folder whose copy has its name; that must be on the disk first, or a power cut loses both."""
    os.sync()
    shutil.rmtree(source)


def _check_link(step):
    """Raises UserError for a link into another subset of REDS if the download lacks the requested one."""
    part, _, kind = step.subset.partition('_')
    inside = os.path.realpath(step.target).split(os.sep)
    others = ['%s_%s' % (part, other) for other in ('sharp',) + tuple(LQ_KINDS) if other != kind]
    found = next((other for other in others if other in inside), None)
    if found and step.subset not in inside:
        raise UserError('%s links to a clip of %s, not of %s, which the download lacks: download it, or give another '
                        '--lq' % (step.target, found, step.subset))


def _check_same(source, target, mode):
    """Accepts a clip at its source and its target if one is a copy of the other; else neither is known to be right.

    Before the source is removed, all bytes are compared; else sizes, starts and ends of the files.
    """
    if source is None or os.path.realpath(source) == os.path.realpath(target):
        return
    difference = _difference(source, target, whole=mode == 'move')
    if difference:
        raise UserError('%s and %s are two versions of one clip (%s): remove the wrong one, or give another '
                        '--output_dir for another --lq' % (source, target, difference))
    if mode == 'move':   # stopped between copying to another disk and removing
        with files.explained(source):
            _remove(source)


def _difference(source, target, whole):
    """Returns what differs between two folders of frames, '' if nothing does."""
    names = [sorted(os.path.basename(path) for path in list_frames(folder)) for folder in (source, target)]
    if names[0] != names[1]:
        return '%d and %d frames' % (len(names[0]), len(names[1]))
    for name in names[0]:
        paths = [os.path.join(folder, name) for folder in (source, target)]
        try:
            same = (filecmp.cmp(paths[0], paths[1], shallow=False) if whole else
                    fingerprint.of_image(paths[0]) == fingerprint.of_image(paths[1]))
        except OSError as error:
            raise UserError('cannot read %s: %s' % (' or '.join(paths), error.strerror or error)) from None
        if not same:
            return '%s differs' % name
    return ''


def write_sets(output_dir: str, names: typing.List[str],
               split: str) -> typing.Tuple[typing.List[str], typing.List[str]]:
    """Writes sets/train.json and sets/val.json, lists of clip names. Returns the two lists."""
    train, held_out = splits.write(output_dir, names, SPLITS[split])
    if not held_out:
        raise UserError('--split=%s needs clips of both kinds, but of %d clips %d are among %s ... %s; download '
                        'the rest or take another split' % (split, len(names), len(set(names) & set(SPLITS[split])),
                                                            SPLITS[split][0], SPLITS[split][-1]))
    return train, held_out
