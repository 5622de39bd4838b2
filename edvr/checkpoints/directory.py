"""Checkpoints in a directory: finds the latest complete one, copies and removes them.

A checkpoint is TensorFlow's pair of `PREFIX.index` and `PREFIX.data-*`. The index lists every tensor; a checkpoint is
*complete* if the index can be read and every tensor in the data files has the checksum that the index states. Beside
the checkpoints lies `model.json`, the network's configuration.
"""
import glob
import os
import re
import shutil
import sys
from typing import List, Optional

from data_tools.base import files, paths
from data_tools.base.errors import UserError
from edvr.checkpoints.integrity import data_files, defect
from edvr.checkpoints.network_config import MODEL_FILE

BASENAME = 'model.ckpt'
STATE = 'checkpoint'   # TensorFlow's list of the checkpoints of a directory

_warned = set()   # the latest checkpoint is requested many times


def step_of(prefix: str) -> int:
    """Returns the global step in a checkpoint's name (`model.ckpt-1200` -> 1200); 0 if it has none."""
    match = re.search(r'-(\d+)$', prefix)
    return int(match.group(1)) if match else 0


def check_path(path: str) -> None:
    """Raises UserError for a path at which TensorFlow does not find checkpoints: it matches names by patterns."""
    if not files.is_utf8(path):
        raise UserError('TensorFlow cannot read checkpoints in %r, which is not valid UTF-8: rename the folder' % path)
    if any(character in path for character in '*?[\\'):
        raise UserError('TensorFlow cannot read checkpoints in %s: it takes * ? [ and \\ for a pattern of names: '
                        'rename the folder' % path)


def prefixes(directory: str) -> List[str]:
    """Returns the prefixes of the checkpoints in a directory, complete or not, by rising step."""
    found = [path[:-len('.index')] for path in glob.glob(os.path.join(glob.escape(directory), '*.index'))]
    return sorted(found, key=lambda prefix: (step_of(prefix), prefix))


def is_complete(prefix: str) -> bool:
    """Returns whether a checkpoint has no defect; a warning on stderr reports a defect, once."""
    problem = defect(prefix)
    if problem and (prefix, problem) not in _warned:
        _warned.add((prefix, problem))
        print('warning: %s is skipped: %s' % (prefix, problem), file=sys.stderr, flush=True)
    return problem is None


def latest(path: str) -> str:
    """Returns the prefix of the checkpoint to continue from; damaged ones are skipped, with a warning on stderr.

    Args:
      path: a model directory (its complete checkpoint of the highest step), or a checkpoint's prefix.
    Raises:
      UserError: there is none, or the named one is not complete.
    """
    if not os.path.isdir(path):
        return chosen(path)
    found = _prefixes_in(path)
    for prefix in reversed(found):
        if is_complete(prefix):
            return prefix
    raise _none_complete(path, found)


def chosen(path: str) -> str:
    """Returns the prefix of the checkpoint that `path` names, for programs that must not use another one instead.

    Args:
      path: a model directory (its checkpoint of the highest step), or a checkpoint's prefix.
    Raises:
      UserError: there is none, its path is a pattern, or it is not complete; the text then names the newest complete
        one beside it.
    """
    check_path(path)
    if os.path.isdir(path):
        prefix = _prefixes_in(path)[-1]
        if defect(prefix) and not os.path.exists(prefix + '.index'):   # a training has removed it meanwhile
            return chosen(path)
    else:
        prefix = path[:-len('.index')] if path.endswith('.index') else path
        if not os.path.exists(prefix + '.index'):
            if path.endswith(('.pth', '.pt', '.safetensors')):
                raise UserError('%s has weights of PyTorch; python -m edvr.import_weights --from=%s --output_dir=DIR '
                                'makes the directory to give instead' % (path, path))
            if path.endswith('.onnx'):
                raise UserError('%s is an ONNX file, which edvr.export writes and nothing here reads: give the '
                                'checkpoint, or an export of it as .pb' % path)
            if prefixes(os.path.dirname(prefix) or '.'):
                raise _gone(prefix)
            raise UserError('%s: neither a directory with checkpoints nor the prefix of one (there is no %s.index); %s'
                            % (path, prefix, paths.how_to_make_run(path)))
    problem = defect(prefix)
    if problem:
        others = prefixes(os.path.dirname(prefix) or '.')
        other = _newest_complete(others)
        if os.path.isdir(path) and other is None:
            raise _none_complete(path, others)
        raise UserError('checkpoint %s is not complete: %s; %s' % (
            prefix, problem, 'no checkpoint beside it is complete' if other is None else
            'use the newest complete one beside it, %s' % other))
    return prefix


def _gone(prefix):
    left = prefixes(os.path.dirname(prefix) or '.')
    return UserError('checkpoint %s is not there (any more): a training removes all but its last --keep_last; %s' % (
        prefix, 'the newest one there is %s' % left[-1] if left else 'there is no other one beside it'))


def _prefixes_in(directory):
    found = prefixes(directory)
    if not found:
        raise UserError('%s: no checkpoint in this directory; expected files such as %s-1000.index (give the '
                        'directory of a training run, or the prefix of a checkpoint); %s'
                        % (directory, BASENAME, paths.how_to_make_run(directory)))
    return found


def _newest_complete(found):
    """Returns the last of the prefixes that has no defect, or None."""
    return next((prefix for prefix in reversed(found) if defect(prefix) is None), None)


def _none_complete(directory, found):
    return UserError('%s: none of its %d checkpoints is complete; the last, %s: %s'
                     % (directory, len(found), os.path.basename(found[-1]), defect(found[-1])))


def files_of(prefix: str) -> List[str]:
    """Returns the files of a checkpoint; the index, by which it is found, is the last."""
    return data_files(prefix) + [prefix + '.index']


def remove(prefix: str) -> None:
    """Removes a checkpoint, index first, so that a partial checkpoint is never found."""
    for path in reversed(files_of(prefix)):
        files.remove(path)


def keep_only(prefix: str, folder: str) -> None:
    """Copies a checkpoint and its model.json into a folder, where it replaces those kept before.

    At every moment the folder holds a complete checkpoint.

    Raises:
      UserError: disk full and the like.
    """
    files.make_dir(folder)
    for path in [os.path.join(os.path.dirname(prefix), MODEL_FILE)] + files_of(prefix):
        with files.atomic_path(os.path.join(folder, os.path.basename(path))) as partial:
            shutil.copyfile(path, partial)
    for other in prefixes(folder):
        if os.path.basename(other) != os.path.basename(prefix):
            remove(other)
    write_state(folder)


def state_problem(directory: str) -> Optional[str]:
    """Returns what is wrong with TensorFlow's `checkpoint` file of a directory; None if nothing is, or without one."""
    path = os.path.join(directory, STATE)
    if not os.path.lexists(path):
        return None
    try:
        named = re.search(r'^model_checkpoint_path: "(.*)"$', files.read_text(path), re.M)
    except (OSError, UnicodeDecodeError) as error:
        return '%s cannot be read (%s)' % (path, getattr(error, 'strerror', None) or 'it is not text')
    if not named:
        return '%s is damaged: it names no checkpoint' % path
    name, found = os.path.basename(named.group(1)), prefixes(directory)
    # after a kill it may name an older one, which the training was removing
    if os.path.exists(os.path.join(directory, name + '.index')) or (found and step_of(found[-1]) > step_of(name)):
        return None
    return '%s names %s, but %s.index is missing' % (path, name, name)


def write_state(directory: str) -> None:
    """Writes TensorFlow's `checkpoint` file, with relative names, so that it names `latest(directory)`.

    An Estimator restores the checkpoint that this file names; after a kill or a loss of checkpoints it may be another.
    """
    found = [os.path.basename(prefix) for prefix in prefixes(directory)]
    files.write_bytes(os.path.join(directory, STATE), (
        'model_checkpoint_path: "%s"\n' % os.path.basename(latest(directory))
        + ''.join('all_model_checkpoint_paths: "%s"\n' % name for name in found)).encode())
