"""Checks the files of a checkpoint: every tensor is compared with its checksum in the index."""
import contextlib
import os
import tempfile
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base import files
from data_tools.base.errors import UserError

# the errors that TensorFlow's two readers of checkpoints raise for damaged files, and that of files that vanish
_DAMAGE = (tf.errors.OpError, ValueError, RuntimeError, IndexError, OSError)

_MOST_KNOWN = 100
# state of the files -> defect: a run requests its latest checkpoint many times
_known: Dict[Any, Optional[str]] = {}


def defect(prefix: str, names: Optional[Sequence[str]] = None) -> Optional[str]:
    """Returns the defect of a checkpoint's files; None if they are complete.

    Every tensor is read once per process and state of the files: about a second per gigabyte.

    Args:
      prefix: of the checkpoint.
      names: the tensors that the checkpoint must have; None for those that it has. Give them if checkpoints are
        checked again and again: the list that TensorFlow 1 makes of them stays in memory.
    """
    state = _state(prefix) or prefix
    if state not in _known:
        if len(_known) == _MOST_KNOWN:
            _known.clear()
        _known[state] = _find_defect(prefix, names)
    return _known[state]


def names_in(prefix: str) -> List[str]:
    """Returns the sorted names of the tensors in a complete checkpoint."""
    with reader_of(prefix) as reader:
        return sorted(reader.get_variable_to_shape_map())


@contextlib.contextmanager
def reading(prefix: str) -> Iterator[None]:
    """Turns the errors of reading a checkpoint into a UserError that names it.

    They are those of a failing disk, or of a checkpoint that a training has removed since it was chosen.
    """
    try:
        yield
    except _DAMAGE as error:
        if not os.path.exists(prefix + '.index'):
            raise UserError('checkpoint %s was removed before it was read: a training keeps its last --keep_last; the '
                            'same command with its directory takes the newest one' % prefix) from error
        raise UserError('checkpoint %s cannot be read: %s' % (prefix, str(error).split('\n')[0])) from error


@contextlib.contextmanager
def reader_of(prefix: str) -> Iterator[Any]:
    """Yields TensorFlow's reader of a checkpoint. Raises UserError for errors of reading, see `reading`."""
    with reading(prefix), _reader(prefix) as reader:
        yield reader


@contextlib.contextmanager
def _reader(prefix):
    """Yields TensorFlow's reader on a copy of the index: it aborts the process if reading that fails."""
    with files.open_regular(prefix + '.index') as file:
        index = file.read()
    with tempfile.TemporaryDirectory(prefix='edvr-') as folder:
        held = os.path.join(folder, os.path.basename(prefix))
        for path in data_files(prefix):
            os.symlink(os.path.abspath(path), os.path.join(folder, os.path.basename(path)))
        with open(held + '.index', 'wb') as file:
            file.write(index)
        yield tf.train.NewCheckpointReader(held)


def data_files(prefix: str) -> List[str]:
    """Returns the files that hold the tensors, sorted."""
    # not glob: the fnmatch of Python keeps thousands of patterns, and each prefix is another one
    folder, start = os.path.split(prefix + '.data-')
    names = os.listdir(folder or '.') if os.path.isdir(folder or '.') else []
    return [os.path.join(folder, name) for name in sorted(names) if name.startswith(start)]


def _state(prefix):
    """Returns a key for the content of a checkpoint's files that does not change when they are renamed."""
    state = []
    for path in data_files(prefix) + [prefix + '.index']:
        with contextlib.suppress(OSError):   # there is none, or a training removes it now
            found = os.stat(path)
            state.append((path[len(prefix):], found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
    return tuple(state)


def _find_defect(prefix, names):
    paths = data_files(prefix)
    named = ', '.join(map(os.path.basename, paths)) or 'its data'
    for path in paths:
        try:
            files.open_regular(path).close()   # TensorFlow would wait for a FIFO
        except OSError as error:
            return '%s cannot be read (%s)' % (os.path.basename(path), error.strerror)
    try:
        with _reader(prefix) as reader:
            if names is None:
                names, promised = _contents(reader)
                held = sum(map(os.path.getsize, paths))
                if held < promised:
                    return '%s has %d bytes, the index states %d' % (named, held, promised)
            return _first_damaged(reader, names, named)
    except _DAMAGE as error:
        return '%s.index cannot be read (%s)' % (os.path.basename(prefix), str(error).split('\n')[0])


def _first_damaged(reader, names, named):
    for name in names:
        try:
            reader.get_tensor(name)
        except _DAMAGE as error:
            return '%s is damaged: %s does not fit its checksum in the index (%s)' % (
                named, name, str(error).split('\n')[0])
    return None


def _contents(reader):
    """Returns the sorted names of the tensors in a checkpoint, and the bytes that they take at least."""
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    # strings (a TensorFlow 2 checkpoint has one) have no fixed size
    return sorted(shapes), sum(int(np.prod(shape)) * tf.as_dtype(dtypes[name]).size for name, shape in shapes.items()
                               if tf.as_dtype(dtypes[name]) != tf.string)
