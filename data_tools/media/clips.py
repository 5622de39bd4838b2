"""Clips on disk: where their frames lie, whether LQ and GT pair up, and which clips train and which are held out.

A clip is a folder of frames in natural order (`2.png` before `10.png`). Layouts read, below `root` or `root/images`
(`s` is the scale):

    truth/NAME/*.png and blur<s>/NAME/*.png             (also gt/NAME and lq/NAME)
    NAME/truth/*.png and NAME/blur<s>/*.png             (also NAME/gt and NAME/lq)
    train_sharp/NAME and train_sharp_bicubic/X<s>/NAME  REDS as unpacked, also below root/train; the same for val
    NAME/*.png, or just *.png                           where only one of LQ and GT is asked for
"""
import json
import os
import re
import typing

from data_tools.base import paths
from data_tools.base.errors import UserError
from data_tools.media.images import image_size
from data_tools.media.layouts import IMAGE_SUFFIXES, entries, find_folders, is_folder

REDS4 = ('000', '011', '015', '020')                         # held out by the EDVR paper and all that compare with it
REDS_OFFICIAL_VAL = tuple('%03d' % i for i in range(240, 270))   # the 30 validation clips after regrouping
SCALES = (2, 3, 4)


class Clip(typing.NamedTuple):
    """Frames of one clip in order; the side that was not asked for is empty."""
    name: str
    lq_paths: typing.Tuple[str, ...]
    gt_paths: typing.Tuple[str, ...]

    @property
    def length(self):
        """Number of frames."""
        return len(self.lq_paths or self.gt_paths)


def find_clips(root, scale=4, need_gt=True, need_lq=True, clips=None, exclude=None, allow_gaps=False):
    """All clips below `root`, in natural order of their names, checked.

    Args:
      root: str, a folder in one of the layouts above.
      scale: int, GT size / LQ size; checked exactly when both are asked for.
      need_gt, need_lq: bool, which sides to find; the other stays empty.
      clips: names to take, in any order; None takes all. See `parse_names`.
      exclude: names to leave out, or None.
      allow_gaps: bool, accept holes in the numbering of frames (time then jumps there).
    Returns:
      list of Clip, never empty.
    Raises:
      UserError: missing or empty folder, unknown name in `clips` or `exclude`, a clip found twice, a file that is no
        image, unequal sizes inside a clip, holes in the numbering, LQ and GT that differ in frames or size.
    """
    if not (need_gt or need_lq):
        raise ValueError('nothing to find: need_gt and need_lq are both False')
    if not os.path.isdir(root):
        raise UserError('%s: no such folder of clips; %s' % (root, paths.how_to_make_sources(root)))
    sides = find_folders(root, scale, need_gt, need_lq)
    names = _choose(root, sorted({name for side in sides.values() for name in side}, key=natural_key), clips, exclude)
    for side, other in (('lq', 'gt'), ('gt', 'lq')):
        for name in names:
            if side in sides and name not in sides[side]:
                raise UserError('clip %s has %s frames in %s but no %s folder for scale %d; add the folder, or leave '
                                'the clip out%s' % (name, other.upper(), sides[other][name], side.upper(), scale,
                                                    '. make_tfrecords --make_lq makes LQ' if side == 'lq' else ''))
    return [_read_clip(name, {side: sides[side][name] for side in sides}, scale, allow_gaps) for name in names]


def parse_names(text):
    """Clip names from a command-line value: `000,011`, `REDS4`, or `@sets/val.json` (a JSON list of names).

    Args:
      text: str, or None. Items are separated by commas and may be mixed.
    Returns:
      list of str without repeats, or None for None or an empty text (no choice made).
    Raises:
      UserError: the file is missing or holds something else.
    """
    names = []
    for item in (text or '').split(','):
        item = item.strip()
        if item.startswith('@'):
            names += _read_names(item[1:])
        elif item == 'REDS4':
            names += REDS4
        elif item:
            names.append(item)
    return list(dict.fromkeys(names)) or None


def natural_key(text):
    """Sorting key under which numbers inside names order by value."""
    parts = re.split(r'(\d+)', os.fspath(text))
    return [(int(part), part) if i % 2 else part for i, part in enumerate(parts)]


def list_frames(folder, allow_gaps=False):
    """Paths of the frames in a folder, in natural order.

    Raises:
      UserError: empty folder, a file that is no image, a folder with the name of one, two frames of one number, holes
        in the numbering.
    """
    inside = sorted(entries(folder), key=lambda entry: natural_key(entry.name))
    for entry in inside:
        if is_folder(entry) and entry.name.lower().endswith(IMAGE_SUFFIXES):
            raise UserError('%s is a folder with the name of an image; rename it or move it elsewhere' % entry.path)
    found = [entry for entry in inside if not is_folder(entry)]
    others = [entry.path for entry in found if not entry.name.lower().endswith(IMAGE_SUFFIXES)]
    if others:
        raise UserError('%s is not an image (%d such in %s); frames are %s: move the rest elsewhere'
                        % (others[0], len(others), folder, ' '.join(IMAGE_SUFFIXES)))
    if not found:
        raise UserError('%s has no frames; put the clip there as numbered images, or remove the folder' % folder)
    _check_numbering(folder, [entry.name for entry in found], allow_gaps)
    return tuple(entry.path for entry in found)


def _read_names(path):
    try:
        with open(path, encoding='utf-8') as file:
            names = json.load(file)
    except (OSError, ValueError) as error:
        raise UserError('cannot read clip names from %s: %s' % (path, error)) from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UserError('%s must hold a JSON list of clip names, as ["000", "011"]' % path)
    return names


def _choose(root, names, clips, exclude):
    for flag, asked in (('clips', clips), ('exclude', exclude)):
        unknown = sorted(set(asked or ()) - set(names), key=natural_key)
        if unknown:
            raise UserError('--%s names %s, not found in %s; there are %d clips: %s'
                            % (flag, _few(unknown), root, len(names), _few(names)))
    chosen = [name for name in names if (clips is None or name in set(clips)) and name not in set(exclude or ())]
    if not chosen:
        raise UserError('no clip is left of the %d in %s after --clips and --exclude' % (len(names), root))
    return chosen


def _few(names, limit=8):
    return ', '.join(names[:limit]) + (', ...' if len(names) > limit else '')


def _read_clip(name, folders, scale, allow_gaps):
    paths = {side: list_frames(folder, allow_gaps) for side, folder in folders.items()}
    sizes = {side: _common_size(paths[side]) for side in paths}
    if len(paths) == 2:
        _check_pair(name, folders, paths, sizes, scale)
    return Clip(name, paths.get('lq', ()), paths.get('gt', ()))


def _common_size(paths):
    size = image_size(paths[0])
    for path in paths[1:]:
        other = image_size(path)
        if other != size:
            raise UserError('%s is %dx%d but %s is %dx%d (height x width); all frames of a clip must have one size: '
                            'split the clip' % ((paths[0],) + size + (path,) + other))
    return size


def _check_pair(name, folders, paths, sizes, scale):
    lq, gt = paths['lq'], paths['gt']
    if len(lq) != len(gt):
        raise UserError('clip %s: %d LQ frames in %s but %d GT frames in %s; they must be the same frames'
                        % (name, len(lq), folders['lq'], len(gt), folders['gt']))
    if sizes['gt'] != tuple(scale * n for n in sizes['lq']):
        raise UserError('clip %s: GT must be exactly %d times the size of LQ, but %s is %dx%d and %s is %dx%d (height '
                        'x width); give the right --scale or make LQ anew'
                        % ((name, scale, gt[0]) + sizes['gt'] + (lq[0],) + sizes['lq']))
    numbers = [[_number(os.path.basename(path)) for path in side] for side in (lq, gt)]
    # Different naming schemes pair by order; shared numbers that do not line up mean that frames are missing.
    if set(numbers[0]) & set(numbers[1]):
        for lq_path, gt_path, lq_number, gt_number in zip(lq, gt, *numbers):
            if lq_number != gt_number:
                raise UserError('clip %s: frames do not line up: %s is paired with %s; the same frame must have the '
                                'same number' % (name, lq_path, gt_path))


def _number(name):
    """The last number of a frame's name (int), or its stem where there is none."""
    stem = os.path.splitext(name)[0]
    digits = re.findall(r'\d+', stem)
    return int(digits[-1]) if digits else stem


def _check_numbering(folder, names, allow_gaps):
    numbers = [_number(name) for name in names]
    if not all(isinstance(number, int) for number in numbers):
        numbers = [os.path.splitext(name)[0] for name in names]
    seen = {}
    for name, number in zip(names, numbers):
        prefix = re.sub(r'\d+$', '', os.path.splitext(name)[0])
        if seen.setdefault((prefix, number), name) != name:
            raise UserError('%s has two frames of one number: %s and %s; remove one'
                            % (folder, seen[prefix, number], name))
    if allow_gaps or len(names) < 3 or not isinstance(numbers[0], int):
        return
    steps = [after - before for before, after in zip(numbers, numbers[1:])]
    usual = min(steps)   # clips thinned evenly (0, 2, 4, ...) are whole
    for i, step in enumerate(steps):
        if step != usual and usual > 0:
            raise UserError('%s has a hole in its numbering: after %s comes %s; bring the missing frames back, or '
                            'split the clip there' % (folder, names[i], names[i + 1]))
