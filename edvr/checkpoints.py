"""Checkpoints on disk: which one is the latest whole one, what network it belongs to, how its variables are read.

A checkpoint is TensorFlow's pair of `PREFIX.index` and `PREFIX.data-*`. The index lists every tensor; a checkpoint is
*whole* when the index can be read and the data files hold at least the bytes it promises. Beside the checkpoints lies
`model.json`, the network's configuration.
"""
import glob
import json
import os
import re
import shutil
import sys

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools import files
from data_tools.cli import UserError
from edvr.config import ModelConfig

EMA_SUFFIX = '/ExponentialMovingAverage'
MODEL_FILE = 'model.json'
BASENAME = 'model.ckpt'

_told = set()   # the latest checkpoint is asked for again and again


def name_of(variable):
    """A variable's name in checkpoints, str; the same in all replicas of a distribution strategy."""
    return variable.name.split(':')[0]


def step_of(prefix):
    """The global step in a checkpoint's name (`model.ckpt-1200` -> 1200), int; 0 where it has none."""
    match = re.search(r'-(\d+)$', prefix)
    return int(match.group(1)) if match else 0


def prefixes(directory):
    """Prefixes of the checkpoints in a directory, whole or not, list of str by rising step."""
    found = [path[:-len('.index')] for path in glob.glob(os.path.join(glob.escape(directory), '*.index'))]
    return sorted(found, key=lambda prefix: (step_of(prefix), prefix))


def defect(prefix):
    """What is wrong with the checkpoint's files, str; None when it is whole."""
    try:
        reader = tf.train.NewCheckpointReader(prefix)
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        return 'its index cannot be read (%s)' % str(error).split('\n')[0]
    # strings (a TensorFlow 2 checkpoint has one) have no fixed size
    promised = sum(int(np.prod(shape)) * tf.as_dtype(dtypes[name]).size for name, shape in shapes.items()
                   if tf.as_dtype(dtypes[name]) != tf.string)
    held = sum(os.path.getsize(path) for path in glob.glob(glob.escape(prefix) + '.data-*'))
    if held < promised:
        return 'its data has %d bytes where the index promises %d' % (held, promised)
    return None


def _tell_once(text):
    if text not in _told:
        _told.add(text)
        print(text, file=sys.stderr, flush=True)


def latest(path):
    """The checkpoint that `path` means.

    Args:
      path: str, a model directory (its whole checkpoint of the highest step), or a checkpoint's prefix.
    Returns:
      str, the prefix.
    Raises:
      UserError: when there is none, or the named one is not whole.
    """
    if os.path.isdir(path):
        found = prefixes(path)
        for prefix in reversed(found):
            if defect(prefix) is None:
                return prefix
            _tell_once('warning: %s is passed over: %s' % (prefix, defect(prefix)))
        if found:
            raise UserError('%s: none of its %d checkpoints is whole; the last, %s: %s'
                            % (path, len(found), os.path.basename(found[-1]), defect(found[-1])))
        raise UserError('%s: no checkpoint in this directory; expected files such as %s-1000.index (give the '
                        'directory of a training run, or the prefix of a checkpoint)' % (path, BASENAME))
    prefix = path[:-len('.index')] if path.endswith('.index') else path
    if not os.path.exists(prefix + '.index'):
        raise UserError('%s: neither a directory with checkpoints nor the prefix of one (there is no %s.index)'
                        % (path, prefix))
    problem = defect(prefix)
    if problem:
        raise UserError('checkpoint %s is not whole: %s; use an earlier one' % (prefix, problem))
    return prefix


def files_of(prefix):
    """The files of a checkpoint, list of str; the index, by which it is found, is the last."""
    return sorted(glob.glob(glob.escape(prefix) + '.data-*')) + [prefix + '.index']


def remove(prefix):
    """Removes a checkpoint, index first: at no moment half a checkpoint can be found."""
    for path in reversed(files_of(prefix)):
        files.remove(path)


def keep_only(prefix, folder):
    """Copies a checkpoint and its model.json into a folder, where it replaces those kept before.

    At every moment the folder holds a whole checkpoint.

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


def write_state(directory):
    """Writes TensorFlow's `checkpoint` file, with relative names, so that it means `latest(directory)`.

    An Estimator restores what it names; after a kill, or when checkpoints were lost, that may be another one.
    """
    found = [os.path.basename(prefix) for prefix in prefixes(directory)]
    files.write_bytes(os.path.join(directory, 'checkpoint'), (
        'model_checkpoint_path: "%s"\n' % os.path.basename(latest(directory))
        + ''.join('all_model_checkpoint_paths: "%s"\n' % name for name in found)).encode())


def save_model_config(model_dir, config):
    """Writes the ModelConfig as `<model_dir>/model.json`, making the directory."""
    files.make_dir(model_dir)
    files.write_bytes(os.path.join(model_dir, MODEL_FILE), config.to_json().encode())


def load_model_config(path):
    """The ModelConfig saved beside the checkpoints of a model directory or of a prefix.

    Raises:
      UserError: naming the file when it is missing or is not a network's configuration.
    """
    directory = path if os.path.isdir(path) else os.path.dirname(path) or '.'
    name = os.path.join(directory, MODEL_FILE)
    try:
        with open(name) as file:
            return ModelConfig.from_json(file.read())
    except OSError:
        raise UserError('%s: cannot be read; it describes the network of the checkpoints beside it and is written by '
                        'edvr.train and edvr.import_weights' % name) from None
    except (json.JSONDecodeError, TypeError, UserError) as error:
        raise UserError('%s: not a valid description of a network: %s' % (name, error)) from None


def restore_map(prefix, variables, use_ema=True):
    """How to read variables from a checkpoint.

    Args:
      prefix: str, a checkpoint's prefix.
      variables: iterable of tf.Variable.
      use_ema: read the moving average of a variable where the checkpoint has it.
    Returns:
      dict, name in the checkpoint -> variable, for tf.train.Saver or tf.train.init_from_checkpoint.
    Raises:
      UserError: naming the first variable that the checkpoint lacks or has in another shape.
    """
    shapes = tf.train.NewCheckpointReader(prefix).get_variable_to_shape_map()
    result = {}
    for variable in variables:
        name = name_of(variable)
        if name not in shapes:
            raise UserError('checkpoint %s has no variable %s; its network is another one (compare %s)'
                            % (prefix, name, MODEL_FILE))
        if use_ema and name + EMA_SUFFIX in shapes:
            name += EMA_SUFFIX
        if list(shapes[name]) != variable.shape.as_list():
            raise UserError('checkpoint %s has %s with shape %s, the network wants %s; its network is another one '
                            '(compare %s)' % (prefix, name, list(shapes[name]), variable.shape.as_list(), MODEL_FILE))
        result[name] = variable
    return result
