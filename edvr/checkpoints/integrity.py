"""Checks the files of a checkpoint: every tensor is compared with its checksum in the index."""
import glob
import os

import numpy as np
import tensorflow.compat.v1 as tf

# the errors that TensorFlow's two readers of checkpoints raise for damaged files
_DAMAGE = (tf.errors.OpError, ValueError, RuntimeError, IndexError)

_known = {}   # state of the files -> defect, because a run requests its latest checkpoint many times


def defect(prefix):
    """The defect of the checkpoint's files, str; None if they are sound.

    Every tensor is read once per process and state of the files: about a second per gigabyte.
    """
    state = _state(prefix) or prefix
    if state not in _known:
        _known[state] = _find_defect(prefix)
    return _known[state]


def data_files(prefix):
    """The files that hold the tensors, sorted list of str."""
    return sorted(glob.glob(glob.escape(prefix) + '.data-*'))


def _state(prefix):
    """A key for the content of a checkpoint's files that does not change when they are renamed."""
    state = []
    for path in data_files(prefix) + [prefix + '.index']:
        if os.path.exists(path):
            found = os.stat(path)
            state.append((path[len(prefix):], found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
    return tuple(state)


def _find_defect(prefix):
    try:
        reader = tf.train.NewCheckpointReader(prefix)
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    except _DAMAGE as error:
        return '%s.index cannot be read (%s)' % (os.path.basename(prefix), str(error).split('\n')[0])
    # strings (a TensorFlow 2 checkpoint has one) have no fixed size
    promised = sum(int(np.prod(shape)) * tf.as_dtype(dtypes[name]).size for name, shape in shapes.items()
                   if tf.as_dtype(dtypes[name]) != tf.string)
    held = sum(os.path.getsize(path) for path in data_files(prefix))
    names = ', '.join(map(os.path.basename, data_files(prefix))) or 'its data'
    if held < promised:
        return '%s has %d bytes, the index states %d' % (names, held, promised)
    for name in sorted(shapes):
        try:
            reader.get_tensor(name)
        except _DAMAGE as error:
            return '%s is damaged: %s does not fit its checksum in the index (%s)' % (
                names, name, str(error).split('\n')[0])
    return None
